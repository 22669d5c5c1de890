"""The one rule for identifiers, and names that occur again."""

import pytest

from readclade.inputs.tables import INTERLEAVED, Lane
from readclade.reads import repeats
from readclade.reads.fragments import read_batches
from readclade.reads.names import are_mates, escape, get_name
from readclade.reads.repeats import NameBook
from readclade.reads.summary import summarise_reads
from readclade.results.binning import open_binning
from readclade.results.cami import read_binning


@pytest.mark.parametrize(
    ("name", "mate", "expected"),
    [
        ("a", "a", "a"),
        ("a/1", "a/2", "a"),
        ("a.1", "a.2", "a"),
        ("SRR1.7.1", "SRR1.7.2", "SRR1.7"),
        ("SRR1.1", "SRR1.1", "SRR1.1"),
        ("a#CGATGT/1;1", "a#CGATGT/2;1", "a#CGATGT"),
        ("F:1:7:7_1:N:0:ACGT", "F:1:7:7_2:N:0:ACGT", "F:1:7:7"),
        ("a_forward/1", "a_reverse/2", "a"),
        ("a_R1", "a_R2", "a"),
        ("@a/1", "@a/2", "%40a"),
    ],
)
def test_get_name_of_a_pair_lacks_what_tells_mates_apart(name, mate, expected):
    assert are_mates(name, mate)
    assert get_name(name, mate, "illumina") == expected


@pytest.mark.parametrize(
    ("name", "platform", "expected"),
    [
        ("a", "illumina", "a"),
        ("a/1", "illumina", "a"),
        ("a/2", "illumina", "a"),
        ("a/3", "illumina", "a/3"),
        ("SRR1.1.1", "illumina", "SRR1.1.1"),
        ("movie/1", "pacbio", "movie/1"),
        ("movie/2/ccs", "pacbio", "movie/2/ccs"),
        ("read/2", "ont", "read/2"),
        ("#a", "ont", "%23a"),
        ("@@a", "ont", "%40@a"),
        ("a@b#c", "ont", "a@b#c"),
        ("r\xe9", "ont", "r%C3%A9"),
        ("100%", "ont", "100%"),
    ],
)
def test_get_name_of_a_single_read(name, platform, expected):
    assert get_name(name, None, platform) == expected
    assert escape(expected) == expected


@pytest.mark.parametrize("block", [1 << 24, 3])
def test_name_book_finds_what_occurs_again(tmp_path, monkeypatch, block):
    monkeypatch.setattr(repeats, "_BLOCK_NAMES", block)
    book = NameBook(tmp_path)
    book.add(["a", "b", "a", "a", "c"])
    book.add([])
    book.add(["d", "b", "", "e"])
    assert book.find_repeated() == ((2, 2), (6, 1))
    assert not list(tmp_path.iterdir())
    assert NameBook(tmp_path).find_repeated() == ()


NAMES = {
    "ont": ["@r1", "#r2", "movie/1", "movie/2", "d", "d", "d", "@d", "r\u00e9", "a b", "a c", "100%", "%40r1"],
    "illumina": ["@r1/1", "#r2/1", "x/1", "x/2", "d 1:N:0:A", "d 2:N:0:A", "d"],
}


@pytest.mark.parametrize("platform", NAMES)
@pytest.mark.parametrize("layout", ["single", INTERLEAVED])
def test_every_fragment_has_one_row_that_is_read_back(tmp_path, platform, layout):
    names = NAMES[platform] if layout == "single" else [name.split()[0].split("/")[0] for name in NAMES[platform]]
    text = "".join(f"@{name}\nACGTA\n+\nIIIII\n" * (1 if layout == "single" else 2) for name in names)
    path = tmp_path / "reads.fq"
    path.write_text(text, encoding="utf-8")
    lane = Lane(str(path), None if layout == "single" else INTERLEAVED)
    plan = summarise_reads("s", platform, [lane], tmp_path, 12)
    batches = [batch for i in range(len(plan.shards)) for batch in read_batches(plan, i, tmp_path)]
    found = [name for batch in batches for name in batch.names.to_pylist()]
    assert len(found) == len(set(found)) == len(names) == plan.fragments
    assert all(name.isascii() and name[0] not in "@#" for name in found)
    with open_binning(tmp_path / "binning.tsv", "s") as add:
        add(found, range(len(found)))
    assert list(read_binning(tmp_path / "binning.tsv", "s").bins.items()) == [
        (name, f"c{i + 1}") for i, name in enumerate(found)
    ]
    repeated = sum(count for _, count in plan.repeated)
    assert (repeated > 0) == any("fragments have a name" in warning for warning in plan.warnings)


def test_read_binning_of_others_takes_names_that_begin_like_headers(tmp_path):
    path = tmp_path / "truth.tsv"
    path.write_text("@Version:0.9.1\n@SampleID:s\n@@SEQUENCEID\tBINID\n@r0\tg1\nr1\tg2\n@SampleID:t\n")
    assert read_binning(path, "s").bins == {"%40r0": "g1", "r1": "g2"}
