"""Names for clusters of real reads: known species, other strains, an absent organism, and what has to be refused."""

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from readclade.embedders.projection import fit_projection
from readclade.embedders.protocol import get_embedder
from readclade.errors import InputError
from readclade.labelling.job import label_clusters
from readclade.labelling.references import index_references
from readclade.labelling.voters import MOST_UNITS, choose_units, count_fragments, pool_units
from readclade.reads.batch import Batch
from readclade.results import taxa
from readclade.results.cami import read_binning
from readclade.shards.manifest import Manifest
from readclade.shards.parquet import write_shard

ABSENT = "311400"  # Thermococcus kodakarensis, the organism that the demo's references lack
STRAINS = {"210", "666", "1280"}  # reads of another strain than the reference's


@dataclass(frozen=True)
class Sample:
    """Reads of the demo in shards, with the taxid and the number of bases of each."""

    folder: Path
    manifest: Manifest
    vectors: np.ndarray
    taxids: np.ndarray
    bases: np.ndarray

    @property
    def manifest_path(self) -> Path:
        return self.folder / "manifest.json"


def make_sample(folder: Path, name: str, reads, taxids: dict[str, str], shards: int) -> Sample:
    """Embed reads (name, sequence, mate or None) into shards, as the embed stage does."""
    embedder = get_embedder("kmer", {"k": 4})
    names, sequences, mates = (list(column) for column in zip(*reads, strict=True))
    arrow = [pa.array(names), pa.array(sequences), None if mates[0] is None else pa.array(mates)]
    projection = fit_projection(embedder.embed(arrow[1], arrow[2]), 32, True)
    bases = np.array([len(s) + len(m or "") for s, m in zip(sequences, mates, strict=True)])
    written, vectors = [], []
    for i, rows in enumerate(np.array_split(np.arange(len(names)), shards)):
        columns = [None if column is None else column.take(pa.array(rows)) for column in arrow]
        batch = Batch(int(rows[0]), *columns, np.zeros(len(rows), np.float32), int(bases[rows].sum()))
        vectors.append(projection.apply(embedder.embed(columns[1], columns[2])))
        written.append(write_shard(folder / f"shard-{i}.parquet", [(batch, vectors[-1])], 32))
    description = {"name": "kmer", "revision": embedder.revision, "parameters": {"k": 4}}
    manifest = Manifest(name, "ont", description | {"projection": projection.to_json()}, 32, "0" * 64, tuple(written))
    manifest.write(folder / "manifest.json")
    return Sample(folder, manifest, np.concatenate(vectors), np.array([taxids[n] for n in names]), bases)


@pytest.fixture(scope="module")
def long(repository, take_reads, tmp_path_factory) -> Sample:
    """All long reads of the demo."""
    taxids = read_binning(repository / "demo/truth/long.tsv", "long").taxids
    reads = [(name, sequence, None) for name, sequence, _ in take_reads("long.fastq.gz", 10_000)]
    return make_sample(tmp_path_factory.mktemp("long"), "long", reads, taxids, shards=3)


@pytest.fixture(scope="module")
def pairs(repository, take_reads, tmp_path_factory) -> Sample:
    """The first read pairs of the demo."""
    taxids = read_binning(repository / "demo/truth/pairs.tsv.gz", "pairs").taxids
    both = zip(take_reads("pairs_1.fastq.gz", 12_000), take_reads("pairs_2.fastq.gz", 12_000), strict=True)
    reads = [(first[0].removesuffix("/1"), first[1], second[1]) for first, second in both]
    return make_sample(tmp_path_factory.mktemp("pairs"), "pairs", reads, taxids, shards=2)


@pytest.fixture(scope="module")
def index(repository, tmp_path_factory) -> Callable[..., Path]:
    """Return a function that indexes those references of the demo that a condition on their rows keeps."""
    with open(repository / "demo/references.tsv", encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file, delimiter="\t"))

    def make(keep=lambda row: True, change=lambda row: row, more=()) -> Path:
        folder = tmp_path_factory.mktemp("index")
        rows = [change(dict(row)) for row in table if keep(row)] + list(more)
        lines = ["accession\tfasta\ttaxid\tlineage"]
        for row in rows:
            fasta = repository / "demo" / row["fasta"]
            lines.append("\t".join([row["accession"], str(fasta), row["taxid"], row["lineage"]]))
        (folder / "references.tsv").write_text("\n".join(lines) + "\n")
        index_references(folder / "references.tsv", "kmer", {"k": 4}, folder / "index.parquet")
        return folder / "index.parquet"

    return make


@pytest.fixture
def label(tmp_path):
    """Return a function that labels given clusters of a sample; it returns the rows of taxa.tsv by cluster."""

    def run(sample: Sample, clusters, index: Path, groups=None, **options) -> list[dict[str, str]]:
        write_clusters(sample, np.asarray(clusters), tmp_path, groups)
        label_clusters(
            sample.manifest_path, tmp_path / "assignments.parquet", tmp_path / "clusters.h5", index, tmp_path, **options
        )
        with open(tmp_path / "taxa.tsv", encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter="\t"))

    return run


def write_clusters(sample: Sample, clusters: np.ndarray, folder: Path, groups=None, k: int | None = None) -> None:
    count = sample.manifest.fragments
    k = int(clusters.max(initial=-1)) + 1 if k is None else k
    columns = {
        "fragment": np.arange(count),
        "name": [f"{sample.manifest.sample}.{i}" for i in range(count)],
        "group": np.arange(count) if groups is None else groups,
        "cluster": clusters.astype(np.int32),
    }
    pq.write_table(pa.table(columns), folder / "assignments.parquet")
    with h5py.File(folder / "clusters.h5", "w") as file:
        file["sizes"] = np.bincount(clusters[clusters >= 0], minlength=k)
        file["bases"] = np.bincount(clusters[clusters >= 0], sample.bases[clusters >= 0], minlength=k).astype(np.int64)


def get_true_clusters(sample: Sample) -> tuple[list[str], np.ndarray]:
    taxids, clusters = np.unique(sample.taxids, return_inverse=True)
    return taxids.tolist(), clusters


@pytest.mark.parametrize("name", ["long", "pairs"])
def test_every_known_species_is_named_and_the_absent_one_is_not(name, request, index, label):
    sample = request.getfixturevalue(name)
    taxids, clusters = get_true_clusters(sample)
    rows = label(sample, clusters, index())
    assert {ABSENT, *STRAINS} < set(taxids)
    for taxid, row in zip(taxids, rows, strict=True):
        if taxid == ABSENT:
            assert (row["name"], row["taxid"], row["rank"], row["lineage"]) == ("unclassified", "", "", "")
            assert float(row["confidence"]) == 0
        else:
            assert (row["taxid"], row["rank"]) == (taxid, "species")
            assert row["lineage"].endswith(f"s__{row['name']}")
            assert 0.5 <= float(row["confidence"]) <= 1


@pytest.mark.parametrize("name", ["long", "pairs"])
def test_clusters_of_k_means_get_no_wrong_species(name, request, index, label):
    sample = request.getfixturevalue(name)
    points = PCA(16, whiten=True, random_state=0).fit_transform(sample.vectors)
    clusters = KMeans(12, n_init=4, random_state=0).fit(points).labels_
    rows = label(sample, clusters, index())
    right = 0
    for cluster, row in enumerate(rows):
        taxids, counts = np.unique(sample.taxids[clusters == cluster], return_counts=True)
        if row["taxid"]:
            assert row["taxid"] == taxids[counts.argmax()]
            right += 1
    assert right >= (9 if name == "long" else 5)  # clusters of single pairs are impure


@pytest.mark.parametrize("taxid", ["210", "1307", "4932", "39152"])
def test_a_species_taken_from_the_references_gets_no_species(taxid, long, index, label):
    taxids, clusters = get_true_clusters(long)
    row = label(long, clusters, index(lambda row: row["taxid"] != taxid))[taxids.index(taxid)]
    assert (row["name"], row["taxid"]) == ("unclassified", "")


def test_a_single_reference_names_its_own_cluster_only(long, index, label):
    taxids, clusters = get_true_clusters(long)
    rows = label(long, clusters, index(lambda row: row["taxid"] == "1280"))
    assert [row["taxid"] for row in rows] == ["1280" if taxid == "1280" else "" for taxid in taxids]


def test_strains_of_one_species_do_not_make_it_novel(long, index, label, repository):
    with open(repository / "demo/references.tsv", encoding="utf-8", newline="") as file:
        vibrio = next(row for row in csv.DictReader(file, delimiter="\t") if row["taxid"] == "666")
    strains = [
        vibrio | {"accession": "O395", "fasta": "sources/Vibrio_cholerae_O395.fa.gz"},
    ]
    taxids, clusters = get_true_clusters(long)
    rows = label(long, clusters, index(more=strains))
    assert rows[taxids.index("666")]["taxid"] == "666"
    # Strains with taxids of their own: the name holds, the taxid is open.
    rows = label(long, clusters, index(more=[strains[0] | {"taxid": "345073"}]))
    assert rows[taxids.index("666")]["name"] == "Vibrio cholerae"
    assert rows[taxids.index("666")]["taxid"] == ""


def test_a_reference_without_a_species_gives_its_lowest_name(long, index, label):
    def change(row):
        return row | {"lineage": row["lineage"].replace("s__Vibrio cholerae", "s__")}

    taxids, clusters = get_true_clusters(long)
    row = label(long, clusters, index(change=change))[taxids.index("666")]
    assert (row["name"], row["rank"], row["taxid"]) == ("Vibrio", "genus", "666")
    assert row["lineage"].endswith("g__Vibrio;s__")


def test_two_species_in_one_cluster_give_no_species(long, index, label):
    clusters = np.where(np.isin(long.taxids, ["145262", "210"]), 0, -1)
    (row,) = label(long, clusters, index())
    assert (row["taxid"], row["rank"] == "species") == ("", False)
    assert row["second_best"]


def make_genome(logits: np.ndarray, rng: np.random.Generator, kb: int = 100) -> str:
    """Return a genome of the Markov chain of order 3 that logits (64, 4) describe."""
    odds = np.exp(logits)
    limits = (odds / odds.sum(axis=1, keepdims=True)).cumsum(axis=1)
    state = rng.integers(0, 64, kb)
    letters = np.empty((kb, 1000), np.uint8)
    for i in range(1000):
        letters[:, i] = np.minimum((rng.random(kb)[:, None] > limits[state]).sum(axis=1), 3)
        state = (state * 4 + letters[:, i]) % 64
    return np.frombuffer(b"ACGT", np.uint8)[letters].tobytes().decode()


@pytest.mark.parametrize(("spread", "genera"), [(0.1, 6), (0.3, 0)])
def test_a_new_species_of_a_known_genus_gets_the_genus_or_nothing(spread, genera, tmp_path, label):
    rng = np.random.default_rng(1)
    lines, reads = ["accession\tfasta\ttaxid\tlineage"], []
    for genus in range(6):
        centre = rng.normal(0, 0.5, (64, 4))
        for species in range(4):
            genome = make_genome(centre + rng.normal(0, spread, (64, 4)), rng)
            if species == 3:
                pieces = [genome[i : i + 5000] for i in range(0, len(genome), 5000)]
                reads += [(f"{genus}.{i}", piece, None) for i, piece in enumerate(pieces)]
                continue
            (tmp_path / f"{genus}{species}.fa").write_text(f">x\n{genome}\n")
            lineage = f"d__B;p__P{genus};c__C{genus};o__O{genus};f__F{genus};g__G{genus};s__G{genus} {species}"
            lines.append(f"{genus}{species}\t{genus}{species}.fa\t{len(lines)}\t{lineage}")
    (tmp_path / "references.tsv").write_text("\n".join(lines) + "\n")
    index_references(tmp_path / "references.tsv", "kmer", {"k": 4}, tmp_path / "index.parquet")
    sample = make_sample(tmp_path, "s", reads, {name: name.split(".")[0] for name, _, _ in reads}, shards=1)
    rows = label(sample, get_true_clusters(sample)[1], tmp_path / "index.parquet")
    named = [row for row in rows if row["name"] != "unclassified"]
    assert {(row["rank"], row["taxid"]) for row in named} <= {("genus", "")}
    assert all(row["name"] == f"G{int(row['cluster'][1:]) - 1}" for row in named)
    assert len(named) == genera


def test_outputs_agree_with_each_other(long, index, label, tmp_path):
    taxids, clusters = get_true_clusters(long)
    rows = label(long, clusters, index())
    assert (tmp_path / "taxa.tsv").read_text().splitlines()[0].split("\t") == list(taxa.COLUMNS)
    assert [row["cluster"] for row in rows] == [f"c{i + 1}" for i in range(len(taxids))]
    assert sum(int(row["size"]) for row in rows) == long.manifest.fragments
    assert sum(int(row["bases"]) for row in rows) == long.manifest.bases
    binning = read_binning(tmp_path / "binning.tsv", "long")
    assert list(binning.bins.values()) == [f"c{cluster + 1}" for cluster in clusters]
    assert list(binning.taxids.values()) == [rows[cluster]["taxid"] for cluster in clusters]
    profile = (tmp_path / "profile.tsv").read_text().splitlines()
    shares = {line.split("\t")[0]: float(line.split("\t")[4]) for line in profile if "\tspecies\t" in line}
    expected = {row["taxid"]: 100 * int(row["bases"]) / long.manifest.bases for row in rows if row["taxid"]}
    assert shares == pytest.approx(expected, abs=1e-4)


def test_labels_are_the_same_every_time(pairs, index, label, tmp_path):
    clusters = get_true_clusters(pairs)[1]
    references = index()
    first = label(pairs, clusters, references)
    assert label(pairs, clusters, references) == first


def test_everything_unassigned_gives_tables_without_rows(long, index, label, tmp_path):
    assert label(long, np.full(long.manifest.fragments, -1), index()) == []
    assert read_binning(tmp_path / "binning.tsv", "long").bins == {}


def test_an_empty_cluster_is_unclassified(long, index, tmp_path):
    clusters = get_true_clusters(long)[1]
    write_clusters(long, clusters, tmp_path, k=14)
    labels = label_clusters(
        long.manifest_path, tmp_path / "assignments.parquet", tmp_path / "clusters.h5", index(), tmp_path
    )
    assert len(labels) == 14
    assert labels[13].taxon is None


def test_one_short_fragment_is_too_little_to_name(pairs, index, label):
    references = index()
    for fragment in range(5):
        clusters = np.full(pairs.manifest.fragments, -1)
        clusters[fragment] = 0
        (row,) = label(pairs, clusters, references)
        assert (row["name"], row["size"]) == ("unclassified", "1")


def test_fragments_without_an_embedding_do_not_vote(index, label, tmp_path):
    reads = [("a", "ACG", None), ("b", "NNNNNNNN", None), ("c", "", None)]
    (tmp_path / "shards").mkdir()
    sample = make_sample(tmp_path / "shards", "s", reads, dict.fromkeys("abc", "1"), shards=1)
    (row,) = label(sample, [0, 0, 0], index())
    assert (row["name"], row["size"], row["second_best"]) == ("unclassified", "3", "")


def test_references_shorter_than_a_window_work(long, label, tmp_path):
    for i in range(3):
        sequence = "".join(np.random.default_rng(i).choice(list("ACGT"), 400 + i))
        (tmp_path / f"{i}.fa").write_text(f">x\n{sequence}\n")
    lines = [f"R{i}\t{i}.fa\t{i + 1}\td__X;p__;c__;o__;f__;g__;s__S{i}" for i in range(3)]
    (tmp_path / "references.tsv").write_text("\n".join(["accession\tfasta\ttaxid\tlineage", *lines]) + "\n")
    index_references(tmp_path / "references.tsv", "kmer", {"k": 4}, tmp_path / "index.parquet")
    rows = label(long, get_true_clusters(long)[1], tmp_path / "index.parquet")
    assert {row["name"] for row in rows} == {"unclassified"}


def test_an_index_of_another_embedder_is_refused(long, index, label, tmp_path):
    references = index()
    index_references(references.with_name("references.tsv"), "kmer", {"k": 5}, tmp_path / "five.parquet")
    with pytest.raises(InputError, match=r"made by an embedder with parameters \{'k': 5\}") as caught:
        label(long, get_true_clusters(long)[1], tmp_path / "five.parquet")
    assert caught.value.path == str(tmp_path / "five.parquet")
    assert not (tmp_path / "taxa.tsv").exists()


def test_files_that_do_not_belong_together_are_refused(long, pairs, index, label, tmp_path):
    clusters = get_true_clusters(long)[1]
    label(long, clusters, index())
    arguments = [tmp_path / "assignments.parquet", tmp_path / "clusters.h5", index(), tmp_path]
    with pytest.raises(InputError, match=r"for each of the 12,000 fragments of sample 'pairs'"):
        label_clusters(pairs.manifest_path, *arguments)
    with h5py.File(tmp_path / "clusters.h5", "a") as file:
        file["sizes"][0] += 1
    with pytest.raises(InputError, match="sizes of its 12 clusters are not those of"):
        label_clusters(long.manifest_path, *arguments)
    (tmp_path / "clusters.h5").write_text("text")
    with pytest.raises(InputError, match="cannot be read") as caught:
        label_clusters(long.manifest_path, *arguments)
    assert "run `cluster`" in caught.value.remedy
    (tmp_path / "assignments.parquet").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        count_fragments(tmp_path / "assignments.parquet")


def test_a_damaged_shard_is_refused_by_name(long, index, label, tmp_path):
    folder = tmp_path / "shards"
    shutil.copytree(long.folder, folder)
    path = folder / long.manifest.shards[1].file
    path.write_bytes(path.read_bytes()[:-1])
    damaged = replace(long, folder=folder)
    with pytest.raises(InputError, match="is damaged") as caught:
        label(damaged, get_true_clusters(long)[1], index())
    assert caught.value.path == str(path)


def test_choose_units_draws_the_same_groups_whatever_their_order(tmp_path):
    groups = np.arange(5 * MOST_UNITS)
    clusters = np.where(groups % 5, 0, 1).astype(np.int32)
    for order in (groups, groups[::-1]):
        columns = {"group": groups[order], "cluster": clusters[order]}
        pq.write_table(pa.table(columns), tmp_path / f"{order[0]}.parquet")
    first, second = (choose_units(tmp_path / f"{name}.parquet") for name in (0, groups[-1]))
    np.testing.assert_array_equal(first, second)
    assert np.bincount(first[:, 0]).tolist() == [MOST_UNITS, MOST_UNITS]
    assert abs(first[first[:, 0] == 0, 1].mean() / groups.mean() - 1) < 0.1


def test_pool_units_averages_groups_across_shards_by_their_bases(long, tmp_path):
    groups = np.arange(long.manifest.fragments) // 1000 * 1000  # three groups, none of them within one shard
    write_clusters(long, np.zeros(len(groups), np.int64), tmp_path, groups)
    path = tmp_path / "assignments.parquet"
    units = pool_units(long.manifest, long.folder, path, choose_units(path))
    assert units.bases.tolist() == [long.bases[groups == group].sum() for group in np.unique(groups)]
    for vector, group in zip(units.vectors, np.unique(groups), strict=True):
        mine = groups == group
        np.testing.assert_allclose(vector, np.average(long.vectors[mine], axis=0, weights=long.bases[mine]))


def test_script_labels_and_refuses(long, index, tmp_path, repository):
    clusters = get_true_clusters(long)[1]
    write_clusters(long, clusters, tmp_path)
    arguments = {
        "manifest": long.manifest_path,
        "assignments": tmp_path / "assignments.parquet",
        "clusters": tmp_path / "clusters.h5",
        "references": index(),
        "out": tmp_path / "out",
    }
    command = [sys.executable, repository / "scripts/label_clusters.py", *(f"--{k}={v}" for k, v in arguments.items())]
    environment = os.environ | {"PYTHONPATH": str(repository / "src")}

    def run(*more):
        return subprocess.run([*command, *more], env=environment, capture_output=True, text=True, check=False)

    done = run()
    assert done.returncode == 0, done.stderr
    assert "11 of 12 clusters have a name" in done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"taxa.tsv", "binning.tsv", "profile.tsv"}
    done = run("--support", "0")
    assert done.returncode == 2
    assert "--support 0.0 cannot be used" in done.stderr
    done = run(f"--references={tmp_path / 'none'}")
    assert done.returncode == 1
    assert "run `index_references`" in done.stderr
