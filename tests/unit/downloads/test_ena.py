"""Runs by accession: recorded answers of ENA, those that its service gives when it is out of order, and odd runs."""

from pathlib import Path

import pytest

from readclade.downloads.ena import get_report_url, resolve_run
from readclade.downloads.files import Source
from readclade.errors import InputError

RECORDED = Path(__file__).parents[2] / "data/ena"
FIELDS = ("run_accession", "library_layout", "instrument_platform", "fastq_ftp", "fastq_md5", "fastq_bytes")
HOST = "ftp.sra.ebi.ac.uk/vol1/fastq"


def make_report(*rows: tuple[str, ...], fields: tuple[str, ...] = FIELDS) -> str:
    return "".join("\t".join(row) + "\n" for row in (fields, *rows))


def make_row(layout: str = "PAIRED", platform: str = "ILLUMINA", *names: str) -> tuple[str, ...]:
    sums = ";".join(f"{i:032x}" for i in range(len(names)))
    sizes = ";".join(str(100 + i) for i in range(len(names)))
    return "ERR1", layout, platform, ";".join(f"{HOST}/ERR1/{name}.fastq.gz" for name in names), sums, sizes


def resolve(text: str, platform: str = "illumina", is_interleaved: bool = False, accession: str = "ERR1"):
    return resolve_run(accession, platform, is_interleaved, lambda url: text)


def get_names(files: tuple[Source, ...]) -> list[str]:
    return [file.url.rpartition("/")[2].removesuffix(".fastq.gz") for file in files]


def test_resolve_run_of_recorded_answer():
    urls = []

    def fetch(url):
        urls.append(url)
        return (RECORDED / "ERR2223563.tsv").read_text()

    run = resolve_run("ERR2223563", "illumina", False, fetch)
    assert urls == [
        "https://www.ebi.ac.uk/ena/portal/api/filereport?accession=ERR2223563&result=read_run&fields=run_accession,"
        "library_layout,instrument_platform,fastq_ftp,fastq_md5,fastq_bytes&format=tsv"
    ]
    folder = "https://ftp.sra.ebi.ac.uk/vol1/fastq/ERR222/003/ERR2223563"
    assert run.files == (
        Source(f"{folder}/ERR2223563_1.fastq.gz", "0e29c053bcd31072c8bed9eddece1cec", None, 1170312089),
        Source(f"{folder}/ERR2223563_2.fastq.gz", "5d848b65379c195fe158a5d7324b4a18", None, 1246298835),
    )
    assert run.unpaired == ()


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.tsv")), ids=lambda path: path.stem)
def test_resolve_run_of_every_recorded_pair(path):
    run = resolve(path.read_text(), accession=path.stem)
    assert get_names(run.files) == [f"{path.stem}_1", f"{path.stem}_2"]
    assert all(file.size and len(file.md5) == 32 for file in run.files)


def test_get_report_url_of_another_server(monkeypatch):
    monkeypatch.setenv("READCLADE_ENA_URL", "https://mirror.example.org/api/")
    assert get_report_url("ERR1").startswith("https://mirror.example.org/api/filereport?accession=ERR1&")


@pytest.mark.parametrize(
    ("layout", "names", "is_interleaved", "files", "unpaired"),
    [
        ("PAIRED", ["ERR1_1", "ERR1_2"], False, ["ERR1_1", "ERR1_2"], []),
        ("PAIRED", ["ERR1_2", "ERR1_1"], False, ["ERR1_1", "ERR1_2"], []),
        # The third file holds the reads that lost their mates.
        ("PAIRED", ["ERR1", "ERR1_1", "ERR1_2"], False, ["ERR1_1", "ERR1_2"], ["ERR1"]),
        ("SINGLE", ["ERR1"], False, ["ERR1"], []),
        ("SINGLE", ["ERR1_1"], False, ["ERR1_1"], []),
        ("PAIRED", ["ERR1"], True, ["ERR1"], []),
        ("SINGLE", ["ERR1"], True, ["ERR1"], []),
    ],
)
def test_resolve_run_chooses_files_by_layout(layout, names, is_interleaved, files, unpaired):
    run = resolve(make_report(make_row(layout, "ILLUMINA", *names)), is_interleaved=is_interleaved)
    assert get_names(run.files) == files
    assert get_names(run.unpaired) == unpaired


@pytest.mark.parametrize(
    ("layout", "names", "is_interleaved", "message"),
    [
        ("PAIRED", ["ERR1"], False, "is PAIRED, but has 1 file, so that"),
        ("PAIRED", ["ERR1_1", "ERR1_3"], False, "is PAIRED, but has 2 files"),
        ("SINGLE", ["ERR1_1", "ERR1_2"], False, "is SINGLE, but has 2 files"),
        ("", ["ERR1"], False, "is without a layout, but has 1 file"),
        ("PAIRED", ["ERR1_1", "ERR1_2"], True, "is interleaved in the table, but has 2 files"),
    ],
)
def test_resolve_run_with_other_files_than_its_layout_is_refused(layout, names, is_interleaved, message):
    with pytest.raises(InputError, match=message) as caught:
        resolve(make_report(make_row(layout, "ILLUMINA", *names)), is_interleaved=is_interleaved)
    for i, name in enumerate(names):
        assert f"https://{HOST}/ERR1/{name}.fastq.gz#md5={i:032x}" in caught.value.remedy


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ("ILLUMINA", "illumina"),
        ("DNBSEQ", "illumina"),
        ("OXFORD_NANOPORE", "ont"),
        ("PACBIO_SMRT", "pacbio"),
    ],
)
def test_resolve_run_compares_the_platform(there, here):
    text = make_report(make_row("SINGLE", there, "ERR1"))
    assert len(resolve(text, here).files) == 1
    for other in {"illumina", "ont", "pacbio"} - {here}:
        with pytest.raises(
            InputError, match=f"sequenced on {there}, but its platform in the table is {other}"
        ) as error:
            resolve(text, other)
        assert error.value.remedy == f"write {here} there"


@pytest.mark.parametrize("platform", ["ION_TORRENT", "LS454", ""])
def test_resolve_run_of_another_platform_is_refused(platform):
    with pytest.raises(InputError, match=f"sequenced on {platform or 'an unknown platform'}") as caught:
        resolve(make_report(make_row("SINGLE", platform, "ERR1")))
    assert "https addresses" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ("", "is no file report: it begins with ''", "out of order"),
        ("<html>Sorry</html>", "is no file report: it begins with '<html>Sorry", "out of order"),
        (make_report(), "ENA knows no run ERR1", "browser/view/ERR1"),
        # Of a run with controlled access, ENA leaves the columns with the addresses out.
        (make_report(fields=FIELDS[:3]), "is no file report", "controlled access"),
        (make_report(make_row()[:3]), "is no file report", "out of order"),
        (make_report(make_row("SINGLE")), "ENA has no FASTQ files of run ERR1", "fasterq-dump"),
        (make_report((*make_row("SINGLE", "ILLUMINA", "ERR1")[:4], "", "5")), "does not state size and MD5", "later"),
        (make_report((*make_row("SINGLE", "ILLUMINA", "ERR1")[:4], "abc", "5")), "does not state", "later"),
        (make_report((*make_row("SINGLE", "ILLUMINA", "ERR1")[:5], "many")), "does not state", "later"),
        (
            make_report((*make_row("PAIRED", "ILLUMINA", "a_1", "a_2")[:4], f";{1:032x}", "5;6")),
            "does not state",
            "later",
        ),
        (
            make_report((*make_row("PAIRED", "ILLUMINA", "a_1", "a_2")[:4], f"{1:032x}", "5;6")),
            "does not state",
            "later",
        ),
        (make_report(("ERR2", *make_row("SINGLE", "ILLUMINA", "ERR2")[1:])), "answers about run ERR2", "later"),
    ],
)
def test_resolve_run_answer_that_cannot_be_used(text, message, remedy):
    with pytest.raises(InputError, match=message) as caught:
        resolve(text)
    assert remedy in caught.value.remedy
    assert caught.value.path.endswith("format=tsv")


def test_resolve_run_several_runs_are_listed():
    rows = [(f"ERR{i}", *make_row("SINGLE", "ILLUMINA", "ERR1")[1:]) for i in range(1, 13)]
    with pytest.raises(InputError, match="PRJEB1 stands for 12 runs") as caught:
        resolve(make_report(*rows), accession="PRJEB1")
    assert "ERR1, ERR2, ERR3" in caught.value.remedy
    assert caught.value.remedy.endswith("ERR10, ...")
