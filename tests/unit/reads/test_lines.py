"""FASTQ in the forms that others write and read: the same records, at the same offsets."""

import gzip
import io

import pytest

from readclade.errors import InputError
from readclade.inputs.tables import INTERLEAVED, Lane
from readclade.reads.fragments import read_batches
from readclade.reads.lines import LineFilter
from readclade.reads.summary import summarise_reads

PLAIN = b"".join(b"@r%d x\nACGTAC\n+\nIIIIII\n" % i for i in range(50))


def read_all(data: bytes, size: int) -> bytes:
    stream = LineFilter(io.BytesIO(data), "reads")
    return b"".join(iter(lambda: stream.read(size), b""))


def read_back(plan, folder):
    batches = [batch for i in range(len(plan.shards)) for batch in read_batches(plan, i, folder)]
    return [row for batch in batches for row in zip(batch.names.to_pylist(), batch.sequences.to_pylist(), strict=True)]


FORMS = {
    "as it is": PLAIN,
    "one blank line at the end": PLAIN + b"\n",
    "three blank lines at the end": PLAIN + b"\n\n\n",
    "blanks in the last lines": PLAIN + b"  \n\t\n",
    "no last line end": PLAIN[:-1],
    "names behind +": PLAIN.replace(b"+\n", b"+r x\n"),
    "a blank behind +": PLAIN.replace(b"+\n", b"+ \n"),
    "some names behind +": PLAIN.replace(b"+\n", b"+other\n", 7),
    "carriage returns": PLAIN.replace(b"\n", b"\r\n"),
    "carriage returns and names behind +": PLAIN.replace(b"+\n", b"+r x\n").replace(b"\n", b"\r\n") + b"\r\n",
    "UTF-8 in comments": PLAIN.replace(b" x\n", " \u00e9\n".encode()),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("compression", ["plain", "gzip"])
def test_fastq_in_every_form_gives_the_same_records(tmp_path, compress, form, compression):
    path = tmp_path / "reads"
    path.write_bytes(compress(FORMS[form], compression))
    plan = summarise_reads("s", "ont", [Lane(str(path), None)], tmp_path, 60)
    assert len(plan.shards) == 5
    assert read_back(plan, tmp_path) == [(f"r{i}", "ACGTAC") for i in range(50)]


@pytest.mark.parametrize("size", [1, 7, 100, 1 << 20])
@pytest.mark.parametrize("form", FORMS)
def test_line_filter_gives_the_same_bytes_in_blocks_of_any_size(form, size):
    whole = read_all(FORMS[form], 1 << 20)
    assert read_all(FORMS[form], size) == whole
    if "carriage" not in form and "UTF" not in form:
        assert whole.rstrip(b"\n") == PLAIN.rstrip(b"\n")


def test_line_filter_keeps_blank_lines_that_are_reads():
    data = b"@a\n\n+\n\n@b\nA\n+b\nI\n@c\n\n+\n\n"
    assert read_all(data, 1 << 20) == data.replace(b"+b", b"+")


def test_blank_lines_between_records_are_refused_with_their_line(tmp_path):
    path = tmp_path / "reads"
    path.write_bytes(b"@a\nA\n+\nI\n\n@b\nA\n+\nI\n")
    with pytest.raises(InputError, match="is not valid FASTQ") as caught:
        summarise_reads("s", "ont", [Lane(str(path), None)], tmp_path, 1000)
    assert caught.value.line == 5


@pytest.mark.parametrize(("end", "bases"), [("U", "T"), ("u", "T"), (".", "N"), ("R", "N"), ("b", "N"), ("X", "N")])
def test_letters_of_every_alphabet_are_spelt_out(tmp_path, write_fastq, end, bases):
    lane = Lane(write_fastq(tmp_path / "reads", [("a", f"acgtnACG{end}", "I" * 9)]), None)
    plan = summarise_reads("s", "ont", [lane], tmp_path, 1000)
    assert read_back(plan, tmp_path) == [("a", f"ACGTNACG{bases}")]
    assert plan.unknown_bases == 1 + (bases == "N")


def test_lines_that_end_in_carriage_returns_alone_are_named(tmp_path):
    path = tmp_path / "reads"
    path.write_bytes((PLAIN * 40).replace(b"\n", b"\r"))
    with pytest.raises(InputError) as caught:
        summarise_reads("s", "ont", [Lane(str(path), None)], tmp_path, 1000)
    assert "carriage returns alone" in caught.value.message
    assert r"tr '\r' '\n'" in caught.value.remedy


def test_a_line_without_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    path = tmp_path / "reads.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"@a\n")
        for _ in range(200):
            file.write(b"A" * (1 << 20))
    with pytest.raises(InputError, match="a line has more than 64 million letters") as caught:
        summarise_reads("s", "ont", [Lane(str(path), None)], tmp_path, 1000)
    assert caught.value.line == 2


@pytest.mark.parametrize(
    ("data", "message", "remedy"),
    [
        (b"PK\x03\x04" + bytes(50), "is a zip archive", "unpack it"),
        (gzip.compress(gzip.compress(PLAIN)), "is compressed twice by gzip", "gzip -dc"),
        (b"CRAM\x03" + bytes(50), "is CRAM", "samtools fastq"),
        (b"@HD\tVN:1.6\n@SQ\tSN:c\tLN:5\n", "is SAM", "samtools fastq"),
        (b"\x89HDF\r\n" + bytes(50), "raw signal (FAST5)", "call its bases"),
        (b"\x8bPOD\r\n" + bytes(50), "raw signal (POD5)", "call its bases"),
        ("@a\nA\n+\nI\n".encode("utf-16"), "UTF-16", "plain text"),
        (b"<!DOCTYPE html>", "is a web page", "browser"),
        (bytes(257) + b"ustar" + bytes(300), "is a tar archive", "unpack it"),
    ],
)
def test_what_is_no_fastq_is_called_by_its_name(tmp_path, data, message, remedy):
    path = tmp_path / "reads"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        summarise_reads("s", "ont", [Lane(str(path), None)], tmp_path, 1000)
    assert message in caught.value.message
    assert remedy in caught.value.remedy


# ---- qualities


@pytest.mark.parametrize(
    ("first", "last", "is_old"),
    [("@", "h", True), (";", "h", True), ("B", "i", True), ("@", "]", False), ("!", "J", False), ("#", "~", False)],
)
@pytest.mark.parametrize("layout", ["single", "second mates"])
def test_qualities_that_count_from_64_are_refused_in_each_file(tmp_path, write_fastq, first, last, is_old, layout):
    old = write_fastq(tmp_path / "old", [("a", "ACGT", first + last * 3)])
    lane = Lane(old, None)
    if layout == "second mates":
        lane = Lane(write_fastq(tmp_path / "new", [("a", "AAGT", "#JJJ")]), old)
    if not is_old:
        assert summarise_reads("s", "illumina", [lane], tmp_path, 1000).fragments == 1
        return
    with pytest.raises(InputError, match="the Phred\\+64 form of old files") as caught:
        summarise_reads("s", "illumina", [lane], tmp_path, 1000)
    assert caught.value.path == old


# ---- one content twice


@pytest.mark.parametrize("kind", ["as second mates", "as a lane", "in another compression", "with other names"])
def test_the_same_reads_twice_are_refused(tmp_path, write_fastq, take_reads, kind):
    reads = take_reads("pairs_1.fastq.gz", 50)
    first = write_fastq(tmp_path / "first", [(f"r{i}", *read[1:]) for i, read in enumerate(reads)])
    names = "s" if kind == "with other names" else "r"
    again = [(f"{names}{i}", *read[1:]) for i, read in enumerate(reads)]
    second = write_fastq(tmp_path / "second", again, "gzip" if "compression" in kind else "plain")
    lanes = [Lane(first, second)] if "mates" in kind else [Lane(first, None), Lane(second, None)]
    with pytest.raises(InputError, match="holds the same reads as first") as caught:
        summarise_reads("s", "illumina", lanes, tmp_path, 1000)
    assert caught.value.path == second


@pytest.mark.parametrize("names", [("r{}/1", "r{}/2"), ("r{} 1:N:0:A", "r{} 2:N:0:A"), ("r{}", "r{}")])
def test_pairs_in_turn_that_pass_for_single_reads_are_told(tmp_path, write_fastq, take_reads, names):
    mates = zip(take_reads("pairs_1.fastq.gz", 20), take_reads("pairs_2.fastq.gz", 20), strict=True)
    records = [(names[side].format(i), *mate[1:]) for i, pair in enumerate(mates) for side, mate in enumerate(pair)]
    path = write_fastq(tmp_path / "reads", records)
    plan = summarise_reads("s", "illumina", [Lane(path, None)], tmp_path, 1000)
    assert "looks interleaved" in plan.warnings[0]
    plan = summarise_reads("s", "illumina", [Lane(path, INTERLEAVED)], tmp_path, 1000)
    assert (plan.fragments, plan.warnings) == (20, ())


def test_single_reads_do_not_look_interleaved(tmp_path, write_fastq, take_reads):
    path = write_fastq(tmp_path / "reads", take_reads("pairs_1.fastq.gz", 20))
    assert summarise_reads("s", "illumina", [Lane(path, None)], tmp_path, 1000).warnings == ()


def test_adapters_are_found_and_told_with_the_remedy(tmp_path, write_fastq, take_reads):
    reads = take_reads("pairs_1.fastq.gz", 100)
    records = [(name, bases[:100] + "CTGTCTCTTATACACATCT" + bases[119:], q) for name, bases, q in reads[:7]] + reads[7:]
    plan = summarise_reads("s", "illumina", [Lane(write_fastq(tmp_path / "reads", records), None)], tmp_path, 1 << 20)
    assert plan.artefacts == {"truseq": 0, "nextera": 7, "mgi": 0, "poly-g": 0}
    assert plan.warnings[0].startswith("nextera in 7.0 % of the reads: ")
    assert "cleaning.adapters" in plan.warnings[0]


def test_reads_of_no_known_base_are_refused(tmp_path, write_fastq):
    path = write_fastq(tmp_path / "reads", [("a", "NNNN", "!!!!"), ("b", "", "")])
    with pytest.raises(InputError, match="holds no known base in 2 reads"):
        summarise_reads("s", "illumina", [Lane(path, None)], tmp_path, 1000)
