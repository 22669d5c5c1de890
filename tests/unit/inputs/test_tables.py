"""The tables of samples and references: what is read from them, and every rule that a row can break."""

import pickle
from pathlib import Path

import pytest

from readclade.errors import InputError
from readclade.inputs import tables
from readclade.inputs.tables import Lane, Reference, Sample, is_remote, read_references, read_samples
from readclade.storage.locations import write_bytes
from readclade.taxonomy.lineage import RANKS

HEADER = "sample\tfq1\tfq2\tplatform\ttruth"
LINEAGE = "d__Bacteria;p__Bacillota;c__Bacilli;o__;f__;g__;s__Bacillus subtilis"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.fq", "b.fq", "c.fq", "d.fq", "truth.tsv", "other.tsv", "x.fa", "y.fa"):
        (tmp_path / name).touch()
    (tmp_path / "directory").mkdir()
    return tmp_path


def write_samples(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "samples.tsv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def write_references(folder: Path, *rows: str, header: str = "accession\tfasta\ttaxid\tlineage") -> Path:
    path = folder / "references.tsv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def assert_refused(read, path: Path, line: int | None, message: str, remedy: str):
    with pytest.raises(InputError) as caught:
        read(path)
    error = caught.value
    assert error.path == str(path)
    assert error.line == line
    assert message in error.message
    assert remedy in error.remedy
    place = f"{path}:{line}: " if line else f"{path}: "
    assert str(error) == f"{place}{error.message}\n  remedy: {error.remedy}"


def test_read_samples_pairs_and_long(folder):
    path = write_samples(folder, "pairs\ta.fq\tb.fq\tillumina\ttruth.tsv", "long\tc.fq\t\tont\t")
    samples = read_samples(path)
    assert list(samples) == ["pairs", "long"]
    assert samples["pairs"] == Sample(
        "pairs", "illumina", (Lane(f"{folder}/a.fq", f"{folder}/b.fq"),), f"{folder}/truth.tsv"
    )
    assert samples["long"] == Sample("long", "ont", (Lane(f"{folder}/c.fq", None),), None)


def test_read_samples_lanes_of_one_sample_keep_the_order_of_rows(folder):
    path = write_samples(
        folder, "s\tb.fq\t\tillumina", "t\tc.fq\t\tpacbio", "s\ta.fq\t\tillumina\ttruth.tsv", "s\td.fq\t\tillumina"
    )
    sample = read_samples(path)["s"]
    assert [Path(lane.fq1).name for lane in sample.lanes] == ["b.fq", "a.fq", "d.fq"]
    assert sample.truth == f"{folder}/truth.tsv"


def test_read_samples_interleaved(folder):
    path = write_samples(folder, "s\ta.fq\tinterleaved\tillumina\t")
    assert read_samples(path)["s"].lanes == (Lane(f"{folder}/a.fq", "interleaved"),)


def test_read_samples_optional_columns_left_out_and_others_in_any_order(folder):
    path = write_samples(folder, "ont\ts\ta.fq", header="platform\tsample\tfq1")
    assert read_samples(path) == {"s": Sample("s", "ont", (Lane(f"{folder}/a.fq", None),), None)}


def test_read_samples_absolute_paths_and_paths_beside_a_table_elsewhere(folder, monkeypatch):
    (folder / "tables").mkdir()
    path = write_samples(folder / "tables", f"s\t{folder}/a.fq\t../b.fq\tillumina")
    monkeypatch.chdir(folder)
    assert read_samples("tables/samples.tsv") == read_samples(path)
    assert read_samples(path)["s"].lanes == (Lane(f"{folder}/a.fq", f"{folder}/b.fq"),)


def test_read_samples_from_a_spreadsheet_with_bom_crlf_comments_blank_lines_and_trailing_tabs(folder):
    path = folder / "samples.tsv"
    rows = ["# mine", "", HEADER + "\t\t", " \t", "s\t a.fq \t\tont\t\t\t", "# the end"]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode() + b"\r\n")
    assert read_samples(path)["s"].lanes == (Lane(f"{folder}/a.fq", None),)


def test_read_samples_line_number_counts_comments_and_blank_lines(folder):
    path = write_samples(folder, "# a comment", "", "s\tmissing.fq\t\tont", header=HEADER)
    assert_refused(read_samples, path, 4, "fq1 'missing.fq' does not exist", "the table's own folder")


@pytest.mark.parametrize(
    "name", ["a/b", "..", "a..b", "two words", "a;b", "$HOME", "a*", "-x", ".hidden", "a'b", "é", "a" * 101]
)
def test_read_samples_refuses_name(folder, name):
    path = write_samples(folder, f"{name}\ta.fq\t\tont")
    assert_refused(read_samples, path, 2, f"sample '{name}' is not allowed", "made of letters, digits")


def test_read_samples_refuses_name_of_the_summary(folder):
    path = write_samples(folder, "summary.tsv\ta.fq\t\tont\t")
    assert_refused(read_samples, path, 2, "is the name of a result of the workflow", "rename it")


def test_read_samples_refuses_name_of_a_result(folder):
    path = write_samples(folder, "report.html\ta.fq\t\tont")
    assert_refused(read_samples, path, 2, "'report.html' is the name of a result", "rename it")


@pytest.mark.parametrize("name", ["s", "S_1.a-b", "2024-01", "a" * 100])
def test_read_samples_takes_name(folder, name):
    assert list(read_samples(write_samples(folder, f"{name}\ta.fq\t\tont"))) == [name]


@pytest.mark.parametrize(
    ("row", "message", "remedy"),
    [
        ("s\ta.fq\t\tnanopore", "platform 'nanopore' is not allowed", "one of illumina, ont, pacbio"),
        ("s\ta.fq", "the row has no platform", "fill it in"),
        ("\ta.fq\t\tont", "the row has no sample", "fill it in"),
        ("s\t\tb.fq\tillumina", "the row has no fq1", "fill it in"),
        ("s\ta.fq\t\tont\ttruth.tsv\tmore", "6 cells, but the header has 5", "remove what is too much"),
        ("s\ta.fq\tb.fq\tont", "platform ont, whose reads have no mates", "leave fq2 empty"),
        ("s\ta.fq\tinterleaved\tpacbio", "platform pacbio, whose reads have no mates", "leave fq2 empty"),
        ("s\tdirectory\t\tont", "fq1 'directory' is not a file", "correct the path"),
        ("s\ta.fq\tz.fq\tillumina", "fq2 'z.fq' does not exist", "correct the path"),
        ("s\ta.fq\t\tont\tz.tsv", "truth 'z.tsv' does not exist", "correct the path"),
        ("s\tinterleaved\t\tillumina", "fq1 'interleaved' does not exist", "correct the path"),
        ("s\ta.fq\ta.fq\tillumina", "fq2 'a.fq' is already listed in line 2", "only once"),
        ("s\thttp://example.org/a.fq\t\tont", "fq1 'http://example.org/a.fq' is not encrypted", "write https://"),
        ("s\tftp://example.org/a.fq\t\tont", "has the scheme ftp://, which is not read", "give an https:// address"),
        ("s\thttps://me:word@x.org/a.fq\t\tont", "'https://...@x.org' holds a user name", "give its path"),
        ("s\thttps://example.org\t\tont", "names no file of a server", "write https://HOST/PATH"),
        ("s\thttps://example.org:99999/a\t\tont", "'https://example.org:99999/a' is no address", "correct it"),
        ("s\thttps://x.org/a?key=secret#sha1=ab\t\tont", "'https://x.org/a?...' has '#sha1=ab', which", "#md5= and 32"),
        ("s\thttps://x.org/a#md5=12\t\tont", "has '#md5=12', which is no checksum", "#sha256= and 64"),
        ("s\tERR1\ta.fq\tillumina", "fq1 'ERR1' and fq2 'a.fq' name a run and a file of mates", "leave fq2 empty"),
        ("s\ta.fq\tERR1\tillumina", "fq1 'a.fq' and fq2 'ERR1' name a run", "leave fq2 empty"),
        ("s\tPRJEB1787\t\tillumina", "is the accession of a study, sample or experiment", "browser/view/PRJEB1787"),
        ("s\tSRX12\t\tillumina", "is the accession of a study", "give each run its own row"),
        ("s\ta.fq\t\tillumina\ts3://bucket/b.tsv", "truth 's3://bucket/b.tsv' is remote", "download it"),
    ],
)
def test_read_samples_refuses_row(folder, row, message, remedy):
    assert_refused(read_samples, write_samples(folder, row), 2, message, remedy)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("t\ta.fq\t\tont", "fq1 'a.fq' is already listed in line 2"),
        ("t\t./directory/../a.fq\t\tont", "is already listed in line 2"),
        ("t\tlink.fq\t\tont", "fq1 'link.fq' is already listed in line 2"),
        ("s\tb.fq\t\tpacbio", "platform of this lane of sample 's' is 'pacbio', but 'ont' from line 2 on"),
        ("s\tb.fq\t\tont\tother.tsv", "truth of this lane of sample 's'"),
    ],
)
def test_read_samples_refuses_second_row(folder, second, message):
    (folder / "link.fq").symlink_to(folder / "a.fq")
    path = write_samples(folder, "s\ta.fq\t\tont\ttruth.tsv", second)
    assert_refused(read_samples, path, 3, message, "")


def test_read_samples_truth_shared_by_samples(folder):
    path = write_samples(folder, "s\ta.fq\t\tont\ttruth.tsv", "t\tb.fq\t\tont\ttruth.tsv")
    assert {sample.truth for sample in read_samples(path).values()} == {f"{folder}/truth.tsv"}


@pytest.mark.parametrize(
    ("header", "message", "remedy"),
    [
        ("sample\tfq1\tfastq2\tplatform", "unknown column 'fastq2'", "separated by tabs"),
        ("sample\tfq1\tplatfrom", "unknown column 'platfrom'", "did you mean 'platform'?"),
        ("sample,fq1,fq2,platform", "unknown column 'sample,fq1,fq2,platform'", "separated by tabs"),
        ("sample\tfq1\t\tplatform", "unknown column ''", "separated by tabs"),
        ("sample\tfq1\tfq1\tplatform", "column 'fq1' appears 2 times", "keep one"),
        ("sample\tfq1\tfq2", "there is no column 'platform'", "separated by tabs"),
    ],
)
def test_read_samples_refuses_header(folder, header, message, remedy):
    assert_refused(read_samples, write_samples(folder, "s\ta.fq", header=header), 1, message, remedy)


def test_read_samples_without_rows(folder):
    assert_refused(read_samples, write_samples(folder), None, "the table of samples has no rows", "config/samples.tsv")
    (folder / "samples.tsv").write_text("")
    assert_refused(read_samples, folder / "samples.tsv", None, "has no rows", "config/samples.tsv")


def test_read_samples_table_that_cannot_be_read(folder):
    assert_refused(read_samples, folder / "none.tsv", None, "the table of samples does not exist", "'samples'")
    assert_refused(read_samples, folder / "directory", None, "cannot be read", "may read")
    (folder / "samples.tsv").write_bytes((HEADER + "\n").encode("utf-16"))
    assert_refused(read_samples, folder / "samples.tsv", None, "is not UTF-8 text", "in UTF-8")


def test_read_references_good_rows(folder):
    path = write_references(folder, f"X.1\tx.fa\t1423\t{LINEAGE}", f"Y.1\ty.fa\t1\t{LINEAGE.replace(';', '; ')}")
    names = ("Bacteria", "Bacillota", "Bacilli", "", "", "", "Bacillus subtilis")
    assert read_references(path) == [
        Reference("X.1", f"{folder}/x.fa", 1423, names),
        Reference("Y.1", f"{folder}/y.fa", 1, names),
    ]
    assert len(names) == len(RANKS)


@pytest.mark.parametrize(
    ("row", "message", "remedy"),
    [
        ("X.1\tx.fa\t1423", "the row has no lineage", "d__;p__;c__;o__;f__;g__;s__"),
        ("X.1\tx.fa\t1423\td__;p__;c__;o__;f__;g__;s__", "names no rank at all", "a rank may stay empty"),
        ("X.1\tx.fa\t1423\td__Bacteria;p__Bacillota", "has 2 ranks instead of 7", "write it as"),
        ("X.1\tx.fa\t1423\t" + LINEAGE + ";t__x", "has 8 ranks instead of 7", "leave out 't__x'"),
        ("X.1\tx.fa\t1423\t" + LINEAGE.replace("p__", "c__"), "'c__Bacillota' where the phylum must stand", "write it"),
        ("X.1\tx.fa\t1423\tBacteria;;;;;;", "'Bacteria' where the domain must stand", "write it as"),
        (f"X.1\tx.fa\t0\t{LINEAGE}", "taxid '0' is not allowed", "a positive whole number"),
        (f"X.1\tx.fa\t-5\t{LINEAGE}", "taxid '-5' is not allowed", "a positive whole number"),
        (f"X.1\tx.fa\t12.0\t{LINEAGE}", "taxid '12.0' is not allowed", "a positive whole number"),
        (f"X.1\tx.fa\t\t{LINEAGE}", "the row has no taxid", "fill it in"),
        (f"X 1\tx.fa\t1\t{LINEAGE}", "accession 'X 1' is not allowed", "without blanks"),
        (f"X.1\tz.fa\t1\t{LINEAGE}", "fasta 'z.fa' does not exist", "correct the path"),
        (f"X.1\thttps://example.org/x.fa\t1\t{LINEAGE}", "is remote", "download it"),
    ],
)
def test_read_references_refuses_row(folder, row, message, remedy):
    assert_refused(read_references, write_references(folder, row), 2, message, remedy)


@pytest.mark.parametrize(
    ("second", "message"),
    [("X.1\ty.fa", "accession 'X.1' is already in line 2"), ("Y.1\tx.fa", "fasta 'x.fa' is already listed in line 2")],
)
def test_read_references_refuses_second_row(folder, second, message):
    path = write_references(folder, f"X.1\tx.fa\t1\t{LINEAGE}", f"{second}\t1\t{LINEAGE}")
    assert_refused(read_references, path, 3, message, "")


def test_read_references_refuses_unknown_column_and_missing_one(folder):
    path = write_references(folder, header="accession\tfasta\ttaxid\tlinage")
    assert_refused(read_references, path, 1, "unknown column 'linage'", "did you mean 'lineage'?")
    path = write_references(folder, header="accession\tfasta\ttaxid")
    assert_refused(read_references, path, 1, "there is no column 'lineage'", "separated by tabs")


@pytest.mark.parametrize(
    ("entry", "remote"),
    [
        ("https://x.org/a.fq", True),
        ("s3://bucket/a", True),
        ("ERR1", True),
        ("DRR000001", True),
        ("SRR12", True),
        ("SRR12.fastq.gz", False),
        ("./SRR12", False),
        ("/data/s3/a.fq", False),
        ("c:/a.fq", False),
    ],
)
def test_is_remote(entry, remote):
    assert is_remote(entry) is remote


def test_read_samples_keeps_addresses_and_accessions_as_they_stand(folder):
    checksum = "#md5=" + "0" * 32
    path = write_samples(
        folder,
        f"s\thttps://x.org/a_1.fq{checksum}\thttps://x.org/a_2.fq\tillumina",
        "s\tERR12\t\tillumina",
        "s\tERR13\tinterleaved\tillumina",
        "s\thttps://x.org/b.fq\tinterleaved\tillumina",
        "s\ta.fq\thttp://127.0.0.1:8000/b.fq\tillumina",
    )
    assert read_samples(path)["s"].lanes == (
        Lane(f"https://x.org/a_1.fq{checksum}", "https://x.org/a_2.fq"),
        Lane("ERR12", None),
        Lane("ERR13", "interleaved"),
        Lane("https://x.org/b.fq", "interleaved"),
        Lane(str(folder / "a.fq"), "http://127.0.0.1:8000/b.fq"),
    )


@pytest.mark.parametrize("entry", ["ERR12", "https://x.org/a.fq"])
def test_read_samples_refuses_a_remote_entry_listed_twice(folder, entry):
    second = entry + ("#md5=" + "0" * 32 if "://" in entry else "")
    path = write_samples(folder, f"s\t{entry}\t\tont", f"t\t{second}\t\tont")
    assert_refused(read_samples, path, 3, "is already listed in line 2", "only once")


def test_read_samples_takes_a_file_that_is_called_like_a_study(folder):
    (folder / "PRJEB1787").touch()
    assert read_samples(write_samples(folder, "s\tPRJEB1787\t\tont"))["s"].lanes[0].fq1 == str(folder / "PRJEB1787")


def test_input_error_survives_a_process_border():
    error = pickle.loads(pickle.dumps(InputError("wrong", path="a.tsv", line=3, remedy="mend it")))
    assert str(error) == "a.tsv:3: wrong\n  remedy: mend it"


# ---- reads on S3


def test_read_samples_takes_objects_that_exist(folder, bucket):
    write_bytes(f"{bucket}/reads/a.fq", b"@r\n")
    path = write_samples(folder, f"s\t{bucket}/reads/a.fq\t\tont")
    assert read_samples(path)["s"].lanes == (Lane(f"{bucket}/reads/a.fq", None),)
    path = write_samples(folder, f"s\t{bucket}/reads/a.fq\t\tont", f"t\t{bucket}/reads/a.fq\t\tont")
    assert_refused(read_samples, path, 3, "is already listed in line 2", "only once")
    path = write_samples(folder, f"s\ta.fq\t{bucket}/reads/b.fq\tillumina")
    assert_refused(read_samples, path, 2, f"fq2 '{bucket}/reads/b.fq' does not exist", "case-sensitive")
    path = write_samples(folder, f"s\t{bucket}x/reads/b.fq\t\tont")
    assert_refused(read_samples, path, 2, "there is no bucket", "correct the name")
    path = write_samples(folder, "s\ts3:///b.fq\t\tont")
    assert_refused(read_samples, path, 2, "is not a place on S3", "s3://bucket/key")


def test_read_samples_store_that_does_not_answer_is_told_in_bounded_time(folder, bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setattr(tables, "PARSE_PATIENCE_S", 1)
    path = write_samples(folder, f"s\t{bucket}/reads/a.fq\t\tont")
    assert_refused(read_samples, path, 2, "cannot be reached", "AWS_ENDPOINT_URL_S3")


# ---- what people write all the same


@pytest.mark.parametrize("word", ["NA", "n/a", "None", "null", "-", "."])
@pytest.mark.parametrize("column", [2, 4])
def test_read_samples_word_for_nothing_is_told_to_be_left_out(folder, word, column):
    cells = ["s", "a.fq", "", "illumina", ""]
    cells[column] = word
    path = write_samples(folder, "\t".join(cells))
    assert_refused(read_samples, path, 2, f"is '{word}', and there is no such file", "leave a cell empty")


@pytest.mark.parametrize("quote", ['"', "'"])
def test_tables_with_quotation_marks_are_refused_with_the_way_out(folder, quote):
    path = write_samples(folder, f"s\t{quote}a.fq{quote}\t\tont\t")
    assert_refused(read_samples, path, 2, "stands in quotation marks", "without quotation marks")
    path = write_samples(folder, "s\ta.fq\t\tont\t", header=f"{quote}sample{quote}\tfq1\tfq2\tplatform\ttruth")
    assert_refused(read_samples, path, 1, "stands in quotation marks", "without quotation marks")


def test_read_references_lineage_with_a_rank_of_others_names_it(folder):
    path = write_references(folder, f"x\tx.fa\t1\t{LINEAGE};t__strain 168")
    assert_refused(read_references, path, 2, "has 8 ranks instead of 7", "leave out 't__strain 168'")
    path = write_references(folder, f"x\tx.fa\t1\t{LINEAGE.replace('p__', 'k__Bacillati;p__')}")
    assert_refused(read_references, path, 2, "has 8 ranks instead of 7", "leave out 'k__Bacillati'")


def test_read_references_one_species_with_two_lineages(folder):
    other = LINEAGE.replace("Bacillota", "Firmicutes")
    path = write_references(folder, f"x\tx.fa\t1\t{LINEAGE}", f"y\ty.fa\t1\t{other}")
    assert_refused(
        read_references, path, 3, "p__Bacillota;c__Bacilli;o__;f__;g__;s__Bacillus subtilis in line 2", "one"
    )
    unnamed = "d__Bacteria;p__Bacillota;c__;o__;f__;g__;s__", "d__Bacteria;p__Firmicutes;c__;o__;f__;g__;s__"
    path = write_references(folder, f"x\tx.fa\t1\t{unnamed[0]}", f"y\ty.fa\t1\t{unnamed[1]}")
    assert len(read_references(path)) == 2


def test_read_references_several_genomes_in_one_file(folder):
    path = write_references(folder, f"x\tx.fa\t1\t{LINEAGE}", f"y\tx.fa\t1\t{LINEAGE}")
    assert_refused(read_references, path, 3, "is already listed in line 2", "split a file that holds several")
