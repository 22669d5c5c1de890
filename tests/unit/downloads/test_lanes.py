"""The lanes of a table become files: addresses, runs by accession, and what lies here already, side by side."""

import gzip
import hashlib
import json
import shutil

import pytest

from readclade.downloads.lanes import bring_lanes, get_path
from readclade.downloads.requests import Patience
from readclade.errors import InputError
from readclade.inputs.lanes import has_lost_files, read_lanes, write_lanes
from readclade.inputs.tables import INTERLEAVED, Lane
from readclade.reads.summary import summarise_reads
from readclade.storage.files import hash_file
from tests.replay_server import serve

QUICK = Patience(tries=3, timeout_s=5, pause_s=0.01)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, which makes the server's certificate")
    with serve(tmp_path_factory.mktemp("certificate")) as site:
        yield site


@pytest.fixture
def site(server, monkeypatch):
    monkeypatch.setenv("READCLADE_ENA_URL", f"{server.url}/ena/portal/api")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", server.authority)
    for part in (server.files, server.faults, server.reports, server.requests):
        part.clear()
    return server


def make_fastq(records) -> bytes:
    return gzip.compress("".join(f"@{name}\n{bases}\n+\n{quality}\n" for name, bases, quality in records).encode())


@pytest.fixture
def pairs(take_reads):
    """Return two files of mates, and the same pairs interleaved."""
    first, second = take_reads("pairs_1.fastq.gz", 60), take_reads("pairs_2.fastq.gz", 60)
    mixed = [record for pair in zip(first, second, strict=True) for record in pair]
    return [make_fastq(records) for records in (first, second, mixed)]


def bring(lanes, folder, platform="illumina"):
    table = bring_lanes(lanes, platform, folder, QUICK)
    write_lanes(folder / "lanes.json", "s", table)
    return read_lanes(folder / "lanes.json")


def test_bring_lanes_of_every_kind_give_the_reads_of_local_files(site, tmp_path, pairs, write_fastq, take_reads, lines):
    """Through download and fetch, each kind of lane must count the same reads as its files do here."""
    local = Lane(
        write_fastq(tmp_path / "1.fq", take_reads("pairs_1.fastq.gz", 60)),
        write_fastq(tmp_path / "2.fq", take_reads("pairs_2.fastq.gz", 60)),
    )
    site.files |= {"/a_1.fq.gz": pairs[0], "/a_2.fq.gz": pairs[1], "/both.fq.gz": pairs[2]}
    names = ("ERR1.fastq.gz", "ERR1_1.fastq.gz", "ERR1_2.fastq.gz")
    site.add_run("ERR1", "PAIRED", "ILLUMINA", dict(zip(names, (pairs[0], pairs[0], pairs[1]), strict=True)))
    site.add_run("ERR2", "PAIRED", "ILLUMINA", {"ERR2.fastq.gz": pairs[2]})
    checksum = hashlib.sha256(pairs[0]).hexdigest()
    lanes = [
        local,
        Lane(f"{site.url}/a_1.fq.gz#sha256={checksum}", f"{site.url}/a_2.fq.gz"),
        Lane(f"{site.url}/both.fq.gz", INTERLEAVED),
        Lane("ERR1", None),
        Lane("ERR2", INTERLEAVED),
        Lane(local.fq1, f"{site.url}/a_2.fq.gz#"),
    ]
    table = bring(lanes, tmp_path / "downloads")
    whole = summarise_reads("s", "illumina", [local], tmp_path / "local", 2000)
    results = [
        summarise_reads("s", "illumina", [lane], tmp_path / f"out{i}", 2000, origins=[table.origins[i]])
        for i, lane in enumerate(table.lanes)
    ]
    assert [(each.fragments, each.bases, each.gc.mean) for each in results] == [(60, whole.bases, whole.gc.mean)] * 6
    assert table.lanes[0] == local
    assert table.lanes[4].fq2 == INTERLEAVED
    assert [each.lanes[0].sha256 for each in results[1:5]] == [
        tuple(origin["sha256"] for origin in origins) for origins in table.origins[1:5]
    ]
    assert table.origins[3][0]["accession"] == "ERR1"
    assert table.origins[3][1]["md5"] == hashlib.md5(pairs[1]).hexdigest()
    assert any("leaves out" in line and "ERR1.fastq.gz" in line for line in lines)
    assert not any(path.endswith("/ERR1.fastq.gz") for path, _ in site.requests)
    assert not has_lost_files(tmp_path / "downloads/lanes.json")


def test_bring_lanes_again_downloads_only_what_changed(site, tmp_path, pairs):
    site.files |= {"/a.fq.gz": pairs[0], "/b.fq.gz": pairs[1], "/c.fq.gz": pairs[2]}
    site.add_run("ERR1", "SINGLE", "ILLUMINA", {"ERR1.fastq.gz": pairs[0]})
    lanes = [Lane(f"{site.url}/a.fq.gz", None), Lane(f"{site.url}/b.fq.gz", None), Lane("ERR1", None)]
    bring(lanes, tmp_path)
    site.requests.clear()
    bring(lanes, tmp_path)
    assert [path for path, _ in site.requests] == ["/ena/portal/api/filereport"]
    site.requests.clear()
    lanes[1] = Lane(f"{site.url}/c.fq.gz", None)
    table = bring([lanes[1], lanes[0]], tmp_path)
    assert [path for path, _ in site.requests] == ["/c.fq.gz"]
    assert [hash_file(lane.fq1) for lane in table.lanes] == [hashlib.sha256(pairs[i]).hexdigest() for i in (2, 0)]


def test_bring_lanes_broken_transfer_of_a_run_is_finished(site, tmp_path, pairs):
    site.add_run("ERR1", "PAIRED", "ILLUMINA", {"ERR1_1.fastq.gz": pairs[0], "ERR1_2.fastq.gz": pairs[1]})
    for path in site.files:
        site.faults[path] = ["cut", "503 0", "cut"]
    site.faults["/ena/portal/api/filereport"] = ["500"]
    table = bring([Lane("ERR1", None)], tmp_path)
    assert [hash_file(path) for path in table.lanes[0].paths] == [
        hashlib.sha256(part).hexdigest() for part in pairs[:2]
    ]


def test_bring_lanes_run_whose_file_is_not_the_one_of_the_report_is_refused(site, tmp_path, pairs):
    site.add_run("ERR1", "SINGLE", "ILLUMINA", {"ERR1.fastq.gz": pairs[0]})
    path = next(iter(site.files))
    site.files[path] = pairs[0][:-1] + b"?"
    with pytest.raises(InputError, match="came twice with MD5"):
        bring([Lane("ERR1", None)], tmp_path)
    assert not (tmp_path / "lanes.json").exists()


def test_bring_lanes_of_files_with_one_name_are_kept_apart(site, tmp_path, pairs):
    site.files |= {"/x/reads.fq.gz": pairs[0], "/y/reads.fq.gz": pairs[1]}
    table = bring([Lane(f"{site.url}/{folder}/reads.fq.gz", None) for folder in "xy"], tmp_path)
    assert [hash_file(lane.fq1) for lane in table.lanes] == [hashlib.sha256(part).hexdigest() for part in pairs[:2]]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://x.org/a/b.fq.gz?x=1", "b.fq.gz"),
        ("https://x.org/a%2Fb%20c.fq", "b_c.fq"),
        ("https://x.org/..%2f..%2fetc%2fpasswd", "passwd"),
        ("https://x.org/a/", "reads"),
        ("https://x.org/" + "n" * 300 + ".fq", "n" * 97 + ".fq"),
    ],
)
def test_get_path_is_harmless(tmp_path, url, name):
    path = get_path(tmp_path, url)
    assert path.parent == tmp_path
    assert path.name[9:] == name
    assert path == get_path(tmp_path, url + "#md5=" + "0" * 32)


@pytest.mark.parametrize("loss", ["deleted", "shortened", "no list"])
def test_has_lost_files_sees_what_is_gone(site, tmp_path, pairs, loss):
    site.files["/a.fq.gz"] = pairs[0]
    table = bring([Lane(f"{site.url}/a.fq.gz", None)], tmp_path)
    path = tmp_path / "lanes.json"
    assert not has_lost_files(path)
    if loss == "deleted":
        shutil.os.unlink(table.lanes[0].fq1)
    elif loss == "shortened":
        shutil.os.truncate(table.lanes[0].fq1, 5)
    else:
        path.write_text(json.dumps([]))
    assert has_lost_files(path)


@pytest.mark.parametrize("content", ["", "{}", '{"lanes": [{"fq1": 3}]}', "[]"])
def test_read_lanes_of_another_form_is_refused(tmp_path, content):
    (tmp_path / "lanes.json").write_text(content)
    with pytest.raises(InputError, match="cannot be read") as caught:
        read_lanes(tmp_path / "lanes.json")
    assert "the next run makes it again" in caught.value.remedy


def test_summarise_reads_file_that_changed_since_its_download_is_refused(site, tmp_path, pairs):
    site.files["/a.fq.gz"] = pairs[0]
    table = bring([Lane(f"{site.url}/a.fq.gz", None)], tmp_path / "d")
    shutil.copy(write_other(tmp_path, pairs[1]), table.lanes[0].fq1)
    with pytest.raises(InputError, match="is not the file that was downloaded") as caught:
        summarise_reads("s", "illumina", table.lanes, tmp_path / "out", 2000, origins=table.origins)
    assert "remove it" in caught.value.remedy


def write_other(folder, data):
    (folder / "other").write_bytes(data)
    return folder / "other"
