"""CAMI's formats: what is read, what is refused, and what is written as a strict reader of the format takes it."""

import gzip
import re

import pytest

from readclade.errors import InputError
from readclade.results.cami import read_binning, write_profile
from readclade.taxonomy.lineage import Taxon

VIBRIO = ("Bacteria", "Pseudomonadota", "Gammaproteobacteria", "Vibrionales", "Vibrionaceae", "Vibrio", "V. cholerae")
LAMBDA = ("Viruses", "Uroviricota", "Caudoviricetes", "", "", "Lambdavirus", "L. lambda")
HEAD = "@Version:0.9.1\n@SampleID:s\n@@SEQUENCEID\tBINID\tTAXID\t_LENGTH\n"
RANKS = ["superkingdom", "phylum", "class", "order", "family", "genus", "species"]


def parse_profile(text: str):
    """Return the rows of a CAMI profile; fail where it departs from the format by as much as a blank."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert re.fullmatch(r"@SampleID:\S+", lines[0])
    assert lines[1] == "@Version:0.9.1"
    assert lines[2] == f"@Ranks:{'|'.join(RANKS)}"
    assert lines[3] == "@@TAXID\tRANK\tTAXPATH\tTAXPATHSN\tPERCENTAGE"
    rows = []
    for line in lines[4:]:
        taxid, rank, path, names, percentage = line.split("\t")
        depth = RANKS.index(rank) + 1
        assert len(path.split("|")) == len(names.split("|")) == depth
        assert path.split("|")[-1] == taxid != ""
        assert [bool(a) for a in path.split("|")] == [bool(b) for b in names.split("|")]
        assert 0 < float(percentage) <= 100
        rows.append((taxid, rank, path, names, float(percentage)))
    assert len({row[0] for row in rows}) == len(rows)
    for rank in RANKS:
        assert sum(row[4] for row in rows if row[1] == rank) <= 100.0001
    return rows


def write(tmp_path, text):
    path = tmp_path / "truth.tsv"
    path.write_text(text)
    return path


def test_read_binning_takes_plain_and_gzip(tmp_path):
    text = HEAD + "r1\tG1\t7\t300\nr2\tG 2\t\t300\n"
    (tmp_path / "truth.tsv.gz").write_bytes(gzip.compress(text.encode()))
    for path in (write(tmp_path, text), tmp_path / "truth.tsv.gz"):
        binning = read_binning(path, "s")
        assert binning.bins == {"r1": "G1", "r2": "G 2"}
        assert binning.taxids == {"r1": "7", "r2": ""}


def test_read_binning_takes_lengths_and_lineages_where_there_are_any(tmp_path):
    lineage = "d__Bacteria;p__;c__;o__;f__;g__Vibrio;s__Vibrio cholerae"
    text = f"@SampleID:s\n@@SEQUENCEID\tBINID\t_LENGTH\tLINEAGE\nr1\tG1\t300\t{lineage}\nr2\tG2\t\t\n"
    binning = read_binning(write(tmp_path, text), "s")
    assert binning.lengths == {"r1": 300}
    assert binning.lineages == {"r1": ("Bacteria", "", "", "", "", "Vibrio", "Vibrio cholerae")}
    assert read_binning(write(tmp_path, "@SampleID:s\n@@SEQUENCEID\tBINID\nr1\tG1\n"), "s").lineages == {}


def test_read_binning_without_a_sample_takes_the_only_section(tmp_path):
    path = write(tmp_path, HEAD + "r1\tG1\t7\t300\n")
    assert read_binning(path, None).bins == {"r1": "G1"}
    write(tmp_path, path.read_text() + HEAD.replace(":s", ":t") + "r1\tG2\t8\t300\n")
    with pytest.raises(InputError, match="there is not one sample; the samples are: 's', 't'"):
        read_binning(path, None)


@pytest.mark.parametrize(
    "text",
    [
        "@@SEQUENCEID\tBINID\nr1\tG1\n",
        "# a comment\n@VERSION:0.9.1\n@SAMPLEID:s\n\n@@sequenceid\tbinid\tlength\nr1\tG1\t10\n",
        "@Version:0.9.1\r\n@SampleID:another name\r\n@@SEQUENCEID\tBINID\r\nr1\tG1\r\n",
        "@SampleID:s\n@@LENGTH\tBINID\tSEQUENCEID\n10\tG1\tr1\n",
        "@SampleID:s\n@@SEQUENCEID\tTAXID\nr1\tG1\n",
    ],
)
def test_read_binning_takes_what_the_format_allows(text, tmp_path):
    assert read_binning(write(tmp_path, text), "s").bins == {"r1": "G1"}


def test_read_binning_takes_the_section_of_the_sample(tmp_path):
    text = HEAD + "r1\tG1\t7\t300\n" + HEAD.replace(":s", ":t") + "r1\tG2\t8\t300\n" + HEAD + "r2\tG3\t9\t300\n"
    path = write(tmp_path, text)
    assert read_binning(path, "s").bins == {"r1": "G1", "r2": "G3"}
    assert read_binning(path, "t").taxids == {"r1": "8"}
    with pytest.raises(InputError, match="no section of sample 'u'; the samples are: 's', 't'"):
        read_binning(path, "u")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (HEAD + "r1\tG\t7\t1\nr2\tG\t7\t1\nr1\tG\t7\t1\n", 6, "sequence 'r1' is there twice"),
        (HEAD + "r1\tG\t7\n", 4, "the row has 3 cells, but the header has 4 columns"),
        ("@SampleID:s\nr1\tG\n", 2, "a row before the line @@SEQUENCEID"),
        ("@SampleID:s\n@@SEQUENCEID\tLENGTH\n", 2, "the columns lack SEQUENCEID, or both BINID and TAXID"),
        ("@SampleID:s\n@@READ\tBINID\n", 2, "the columns lack SEQUENCEID"),
        ("@SampleID:s\n@@SEQUENCEID\tBINID\tBINID\n", 2, "a column appears twice"),
        ("", None, "no section of sample 's'; the samples are: none"),
        (HEAD + "r1\tG\t7\tlong\n", 4, "length 'long' is no whole number"),
        ("@@SEQUENCEID\tBINID\tLINEAGE\nr1\tG\td__B;p__\n", 2, "lineage 'd__B;p__' has 2 ranks instead of 7"),
        ("read\tgenome\n", 1, "a row before the line @@SEQUENCEID"),
    ],
)
def test_read_binning_refuses(text, line, message, tmp_path):
    with pytest.raises(InputError) as caught:
        read_binning(write(tmp_path, text), "s")
    assert message in caught.value.message
    assert caught.value.line == line
    assert caught.value.path == str(tmp_path / "truth.tsv")
    assert caught.value.remedy


def test_read_binning_refuses_damaged_files(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_binning(tmp_path / "none.tsv", "s")
    path = tmp_path / "truth.tsv.gz"
    path.write_bytes(gzip.compress(HEAD.encode() * 1000)[:-20])
    with pytest.raises(InputError, match="truncated or damaged"):
        read_binning(path, "s")
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        read_binning(path, "s")


def test_write_profile_sums_up_every_rank(tmp_path):
    shares = {Taxon(VIBRIO): 40.0, Taxon(VIBRIO[:6]): 10.0, Taxon(LAMBDA): 25.0}
    write_profile(tmp_path / "profile.tsv", "s", shares, {Taxon(VIBRIO): "666"})
    rows = {row[0]: row for row in parse_profile((tmp_path / "profile.tsv").read_text())}
    assert rows["666"][1:] == (
        "species",
        "d__Bacteria|p__Pseudomonadota|c__Gammaproteobacteria|o__Vibrionales|f__Vibrionaceae|g__Vibrio|666",
        "|".join(VIBRIO),
        40.0,
    )
    assert rows["g__Vibrio"][4] == rows["d__Bacteria"][4] == 50.0
    assert rows["s__L. lambda"][2] == "d__Viruses|p__Uroviricota|c__Caudoviricetes|||g__Lambdavirus|s__L. lambda"
    assert len(rows) == 7 + 5


def test_write_profile_of_nothing_is_still_a_profile(tmp_path):
    write_profile(tmp_path / "profile.tsv", "s", {}, {})
    assert parse_profile((tmp_path / "profile.tsv").read_text()) == []
