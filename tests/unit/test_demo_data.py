"""The demo's files agree with one another, and are what the demo's README says of them."""

import csv
import gzip
import importlib.util
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

DEMO = Path(__file__).parents[2] / "demo"
RANKS = ["d", "p", "c", "o", "f", "g", "s"]
MAX_BYTES = 15_000_000
ABSENT = "Thermococcus_kodakarensis"
OTHER_STRAIN = ["Helicobacter_pylori", "Staphylococcus_aureus", "Vibrio_cholerae"]


@pytest.fixture(scope="module")
def make_community():
    spec = importlib.util.spec_from_file_location("make_community", DEMO / "make_community.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def organisms(make_community):
    return {organism.name: organism for organism in make_community.read_community(DEMO / "community.tsv")}


def read_text(path: Path) -> str:
    return (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode("ascii")


def read_table(name: str) -> list[dict[str, str]]:
    with (DEMO / name).open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def get_sample(name: str) -> dict[str, str]:
    (sample,) = (row for row in read_table("samples.tsv") if row["sample"] == name)
    return sample


def read_truth(sample: str) -> list[list[str]]:
    return [line.split("\t") for line in read_text(DEMO / get_sample(sample)["truth"]).splitlines()[3:]]


def read_fastqs(sample: str) -> list[list[tuple[str, str, str]]]:
    """Return (name, sequence, qualities) of each read, per FASTQ file of the sample."""
    row = get_sample(sample)
    files = []
    for fastq in filter(None, (row["fq1"], row["fq2"])):
        lines = read_text(DEMO / fastq).splitlines()
        assert len(lines) % 4 == 0
        assert all(line.startswith("@") for line in lines[::4])
        assert set(lines[2::4]) == {"+"}
        files.append([(name[1:], *rest) for name, *rest in zip(lines[::4], lines[1::4], lines[3::4], strict=True)])
    return files


def read_slice(path: Path) -> tuple[str, str]:
    """Return the place (accession:start-end) and the sequence of the one record in a FASTA."""
    header, *lines = read_text(path).splitlines()
    assert header.startswith(">")
    assert not any(line.startswith(">") for line in lines)
    return header[1:].split()[0], "".join(lines)


def test_samples_table():
    samples = read_table("samples.tsv")
    assert list(samples[0]) == ["sample", "fq1", "fq2", "platform", "truth"]
    assert [(s["sample"], s["platform"], bool(s["fq2"])) for s in samples] == [
        ("pairs", "illumina", True),
        ("long", "ont", False),
    ]
    for row in samples:
        assert all((DEMO / row[column]).is_file() for column in ("fq1", "fq2", "truth") if row[column])


def test_references_table_names_real_files_taxids_and_lineages():
    references = read_table("references.tsv")
    assert list(references[0]) == ["accession", "fasta", "taxid", "lineage"]
    assert len({row["accession"] for row in references}) == len(references) == 11
    for row in references:
        assert int(row["taxid"]) > 0
        assert [rank.split("__")[0] for rank in row["lineage"].split(";")] == RANKS
        assert not row["lineage"].endswith("s__")
        place, sequence = read_slice(DEMO / row["fasta"])
        assert place.startswith(row["accession"] + ":")
        assert set(sequence) <= set("ACGTN")


def test_slices_are_where_the_community_says(organisms, make_community):
    for piece, name in make_community.get_slice_paths(list(organisms.values())).items():
        place, sequence = read_slice(DEMO / name)
        assert place == f"{piece.accession}:{piece.start}-{piece.end}"
        assert len(sequence) == piece.end - piece.start + 1


def test_absent_organism_is_sampled_but_no_reference(organisms):
    assert [name for name, organism in organisms.items() if organism.reference is None] == [ABSENT]
    absent = organisms[ABSENT]
    assert absent.taxid not in {row["taxid"] for row in read_table("references.tsv")}
    assert absent.lineage not in {row["lineage"] for row in read_table("references.tsv")}
    for sample in ("pairs", "long"):
        bases = Counter()
        for _, bin_id, _, length in read_truth(sample):
            bases[bin_id] += int(length)
        assert ABSENT in [name for name, _ in bases.most_common(3)]


def test_other_strains_reads_are_from_another_accession(organisms):
    differing = [n for n, o in organisms.items() if o.reference and o.reads.accession != o.reference.accession]
    assert sorted(differing) == OTHER_STRAIN


@pytest.mark.parametrize("sample", ["pairs", "long"])
def test_truth_names_each_read_once_with_its_length(sample, organisms):
    head = read_text(DEMO / get_sample(sample)["truth"]).splitlines()[:3]
    assert head == ["@Version:0.9.1", f"@SampleID:{sample}", "@@SEQUENCEID\tBINID\tTAXID\t_LENGTH"]
    length_of = Counter()
    for reads in read_fastqs(sample):
        for name, sequence, _ in reads:
            length_of[name.split()[0].removesuffix("/1").removesuffix("/2")] += len(sequence)
    truth = read_truth(sample)
    assert len(truth) == len({row[0] for row in truth})
    assert {row[0]: int(row[3]) for row in truth} == dict(length_of)
    assert {(row[1], row[2]) for row in truth} == {(name, organism.taxid) for name, organism in organisms.items()}


@pytest.mark.parametrize(("sample", "fragments", "mean_depth"), [("pairs", 63_559, 6.3), ("long", 2_216, 3.7)])
def test_depth_is_as_the_community_says(sample, fragments, mean_depth, organisms):
    truth = read_truth(sample)
    assert len(truth) == fragments
    bases = defaultdict(int)
    for _, bin_id, _, length in truth:
        bases[bin_id] += int(length)
    genome_bp = {name: o.reads.end - o.reads.start + 1 for name, o in organisms.items()}
    for name, organism in organisms.items():
        # The last long read may reach beyond the depth that was asked for.
        assert bases[name] / genome_bp[name] == pytest.approx(getattr(organism, f"{sample}_x"), rel=0.02)
    assert sum(bases.values()) / sum(genome_bp.values()) == pytest.approx(mean_depth, abs=0.05)


def test_pairs_are_in_step():
    firsts, seconds = read_fastqs("pairs")
    assert [name.removesuffix("/1") for name, _, _ in firsts] == [name.removesuffix("/2") for name, _, _ in seconds]
    for name, sequence, qualities in firsts + seconds:
        assert name[-2:] in ("/1", "/2")
        assert len(sequence) == len(qualities) == 150
        assert set(sequence) <= set("ACGTN")
        assert set(qualities) <= set("#-8F")


def test_long_reads_have_stated_lengths_and_qualities():
    (reads,) = read_fastqs("long")
    assert np.mean([len(sequence) for _, sequence, _ in reads]) == pytest.approx(5050, rel=0.02)
    for _, sequence, qualities in reads:
        assert len(sequence) == len(qualities)
        assert set(sequence) <= set("ACGTN")
        assert set(qualities) in ({"-"}, {"."}, {"/"})


def test_reads_are_shuffled():
    for sample in ("pairs", "long"):
        bins = [row[1] for row in read_truth(sample)]
        neighbours = np.mean([a == b for a, b in pairwise(bins)])
        assert neighbours < 0.2


def test_demo_is_small():
    files = [path for path in DEMO.rglob("*") if path.is_file()]
    written_by_runs = {"run", "__pycache__", ".snakemake"}
    shipped = [path for path in files if not written_by_runs & set(path.relative_to(DEMO).parts)]
    assert sum(path.stat().st_size for path in shipped) <= MAX_BYTES


def test_gzip_members_hold_no_time_and_no_name():
    for path in [*DEMO.glob("genomes/*.gz"), *DEMO.glob("sources/*.gz"), *DEMO.glob("reads/*.gz")]:
        with path.open("rb") as file:
            head = file.read(8)
        assert head[3] == 0, path  # flags: no name
        assert head[4:] == bytes(4), path


def test_cut_slices_short_record_names_what_is_wanted(organisms, make_community, tmp_path):
    organism = organisms["Lambdavirus_lambda"]
    make_community.write_gzip(tmp_path / f"{organism.reads.genome}.fa.gz", b">NC_001416.1 a part\nACGT\n")
    with pytest.raises(SystemExit, match=r"does not reach NC_001416\.1:48502"):
        make_community.cut_slices([organism], tmp_path, tmp_path / "out")
