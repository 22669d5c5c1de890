"""k-mer frequencies against a count in plain Python."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from readclade.embedders.kmer import KmerEmbedder, get_canonical_index
from readclade.letters import get_letters

COMPLEMENT = str.maketrans("ACGT", "TGCA")


def reverse_complement(sequence: str) -> str:
    return sequence.translate(COMPLEMENT)[::-1]


def get_canonical_kmers(k: int) -> list[str]:
    kmers = [""]
    for _ in range(k):
        kmers = [kmer + letter for kmer in kmers for letter in "ACGT"]
    return sorted({min(kmer, reverse_complement(kmer)) for kmer in kmers})


def count_naively(reads: list[str], k: int) -> np.ndarray:
    counts = Counter()
    for read in reads:
        for begin in range(len(read) - k + 1):
            kmer = read[begin : begin + k]
            if set(kmer) <= set("ACGT"):
                counts[min(kmer, reverse_complement(kmer))] += 1
    total = sum(counts.values())
    return np.array([counts[kmer] / total if total else np.nan for kmer in get_canonical_kmers(k)])


@pytest.mark.parametrize(("k", "columns"), [(1, 2), (2, 10), (3, 32), (4, 136), (5, 512)])
def test_get_canonical_index_pairs_reverse_complements(k, columns):
    index = get_canonical_index(k)
    assert index.shape == (4**k,)
    assert set(index) == set(range(columns))
    for code in range(4**k):
        kmer = "".join("ACGT"[code >> 2 * place & 3] for place in reversed(range(k)))
        partner = sum(
            "ACGT".index(letter) << 2 * place for place, letter in enumerate(reversed(reverse_complement(kmer)))
        )
        assert index[code] == index[partner]


@pytest.mark.parametrize("k", [4, 5])
def test_embed_equals_a_naive_count(take_reads, k):
    reads = [sequence for _, sequence, _ in take_reads("long.fastq.gz", 4)]
    reads += [sequence for _, sequence, _ in take_reads("pairs_1.fastq.gz", 10)]
    reads += ["ACGTNACGTTGCANNNTTTTTTTN", "N" + "ACGTA" * 2, "ACGTA"]
    vectors = KmerEmbedder(k).embed(pa.array(reads))
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, [count_naively([read], k) for read in reads], rtol=1e-6)


@pytest.mark.parametrize("k", [4, 5])
def test_embed_pair_adds_the_counts_of_both_mates(take_reads, k):
    reads = [sequence for _, sequence, _ in take_reads("pairs_1.fastq.gz", 20)]
    mates = [sequence for _, sequence, _ in take_reads("pairs_2.fastq.gz", 20)]
    mates[3], mates[4], mates[5] = "", "ACG", mates[5][:40]  # unequal lengths: counts are added, not means
    vectors = KmerEmbedder(k).embed(pa.array(reads), pa.array(mates))
    expected = [count_naively(pair, k) for pair in zip(reads, mates, strict=True)]
    np.testing.assert_allclose(vectors, expected, rtol=1e-6)


def test_embed_only_the_mate_says_something():
    vectors = KmerEmbedder(4).embed(pa.array(["NNNNNN", "AC"]), pa.array(["ACGTTA", "GT"]))
    np.testing.assert_allclose(vectors[0], count_naively(["ACGTTA"], 4), rtol=1e-6)
    assert np.isnan(vectors[1]).all()  # the mates are not joined to a k-mer


def test_embed_lower_case_equals_upper_case(take_reads):
    reads = [sequence for _, sequence, _ in take_reads("pairs_1.fastq.gz", 5)]
    embedder = KmerEmbedder()
    lower = embedder.embed(pa.array([read.lower() for read in reads]))
    np.testing.assert_array_equal(lower, embedder.embed(pa.array(reads)))


@pytest.mark.parametrize("k", [4, 5])
def test_embed_more_than_16_bits_of_one_kmer(k):
    vector = KmerEmbedder(k).embed(pa.array(["A" * 200_000 + "C" * 200_000]))[0]
    np.testing.assert_allclose(vector, count_naively(["A" * 200_000 + "C" * 200_000], k), rtol=1e-6)


@pytest.mark.parametrize(
    ("strings", "begin", "end"),
    [(["AC", "", "GTT"], 0, 3), (["AC", "", "GTT"], 1, 3), (["AC", "", "GTT"], 2, 2), (["", ""], 0, 2), ([], 0, 0)],
)
def test_get_letters_gives_the_bytes_of_each_string(strings, begin, end):
    letters, offsets = get_letters(pa.array(strings, pa.string())[begin:end])
    assert len(offsets) == end - begin + 1
    assert offsets.dtype == np.int32
    found = [bytes(letters[a:b]).decode() for a, b in pairwise(offsets)]
    assert found == strings[begin:end]
