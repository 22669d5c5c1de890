"""Halves of long reads: what is embedded, and what it says of noise."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.communities.simulation import read_fasta
from readclade.clustering.groups import halves
from readclade.clustering.groups.halves import choose_half_embedder, measure_halves
from readclade.clustering.links.sequences import encode_sequences
from readclade.embedders.kmer import KmerEmbedder
from readclade.embedders.projection import fit_projection
from readclade.shards.manifest import Manifest


@pytest.fixture(scope="module")
def reads(repository) -> list[str]:
    """120 reads of 2 to 12 kb from all over a genome."""
    genome = b"".join(read_fasta(repository / "demo/genomes/Staphylococcus_aureus_N315.fa.gz", "").values()).decode()
    lengths = np.random.default_rng(0).integers(2000, 12_000, 120)
    begins = np.linspace(0, len(genome) - 12_000, 120).astype(int)
    return [genome[begin : begin + length] for begin, length in zip(begins, lengths, strict=True)]


@pytest.fixture(scope="module")
def manifest(reads) -> Manifest:
    projection = fit_projection(KmerEmbedder(4).embed(pa.array(reads)), 12, is_composition=True)
    description = {"name": "kmer", "revision": "1", "parameters": {"k": 4}, "projection": projection.to_json()}
    return Manifest("sample", "ont", description, 12, "0" * 64, ())


def encode(reads: list[str]):
    return encode_sequences([pa.table({"sequence": reads, "mate": [""] * len(reads)})])


def test_measure_halves_embeds_both_halves_as_shards_would(reads, manifest, monkeypatch):
    monkeypatch.setattr(halves, "_READS_AT_ONCE", 3)
    embed = choose_half_embedder(manifest)
    chosen = np.array([7, 0, 3, 100])
    found = measure_halves(encode(reads), chosen, 12, embed)
    for row, number in enumerate(chosen):
        middle = len(reads[number]) // 2
        first, second = embed(pa.array([reads[number][:middle], reads[number][middle:]])).astype(np.float64)
        assert np.array_equal(found[row], first - (first + second) / 2)


def test_halves_show_about_half_of_the_noise_of_fragments_as_long_as_their_read(repository, manifest):
    # The two halves of 16 kb are fragments of 8 kb: what they differ by is what reads of 8 kb foretell by their halves.
    genome = b"".join(read_fasta(repository / "demo/genomes/Staphylococcus_aureus_N315.fa.gz", "").values()).decode()
    embed = choose_half_embedder(manifest)
    stretches = [genome[begin : begin + 16_000] for begin in range(0, len(genome) - 16_000, 16_000)]
    reads = [half for stretch in stretches for half in (stretch[:8000], stretch[8000:])]
    foretold = measure_halves(encode(reads), np.arange(len(reads)), 12, embed)
    fragments = embed(pa.array(reads)).astype(np.float64).reshape(-1, 2, 12)
    differences = fragments[:, 0] - fragments[:, 1]
    # A fragment's own noise is half of that in a difference of two. Halves are nearer to each other than fragments.
    ratio = (foretold**2).mean() / ((differences**2).mean() / 2)
    assert 0.4 < ratio < 1


def test_measure_halves_leaves_out_what_is_too_short_or_unknown(reads, manifest):
    read = reads[0] * 2
    made = [read[:1999], read[:2000], "N" * 2000 + read[:2000], "", read[:2001]]
    found = measure_halves(encode(made), np.arange(5), 12, choose_half_embedder(manifest))
    assert np.isnan(found).all(axis=1).tolist() == [True, False, True, True, False]
    assert measure_halves(encode(made), np.zeros(0, np.int64), 12, choose_half_embedder(manifest)).shape == (0, 12)


@pytest.mark.parametrize(("name", "revision"), [("dnabert2", "1"), ("lshvec", "1"), ("kmer", "0")])
def test_halves_are_not_embedded_by_networks_or_other_revisions(name, revision, manifest):
    other = replace(manifest, embedder=manifest.embedder | {"name": name, "revision": revision})
    assert choose_half_embedder(other) is None
