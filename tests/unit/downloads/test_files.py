"""Files come whole over the network, whatever happens on the way: against a real server that breaks transfers."""

import gzip
import hashlib
import json
import random
import re
import shutil
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from readclade.downloads import files
from readclade.downloads.files import Source, fetch_file
from readclade.downloads.requests import Patience, fetch_text
from readclade.errors import InputError
from tests.replay_server import serve

DATA = gzip.compress(b"@read\nACGT\n+\nIIII\n" + random.Random(1).randbytes(3_000_000))
OTHER = gzip.compress(random.Random(2).randbytes(3_100_000))
MD5 = hashlib.md5(DATA).hexdigest()
SHA256 = hashlib.sha256(DATA).hexdigest()
QUICK = Patience(tries=3, timeout_s=1, pause_s=0.01, longest_pause_s=0.5)


@pytest.fixture
def site():
    with serve(None) as site:
        site.files["/a.fq.gz"] = DATA
        yield site


@pytest.fixture
def fetch(site, tmp_path, lines):
    """Return a function that fetches /a.fq.gz, and keeps what was logged in its attribute `lines`."""

    def fetch(patience=QUICK, **expected):
        return fetch_file(Source(f"{site.url}/a.fq.gz", **expected), tmp_path / "a.fq.gz", patience)

    fetch.lines = lines
    return fetch


def assert_whole(folder, record, data=DATA):
    assert (folder / "a.fq.gz").read_bytes() == data
    assert record["sha256"] == hashlib.sha256(data).hexdigest()
    assert record["md5"] == hashlib.md5(data).hexdigest()
    assert record["bytes"] == len(data)
    assert sorted(path.name for path in folder.iterdir()) == ["a.fq.gz", "a.fq.gz.json"]


def test_fetch_file_comes_whole_with_its_sums(site, fetch, tmp_path):
    record = fetch(md5=MD5, sha256=SHA256, size=len(DATA))
    assert_whole(tmp_path, record)
    assert record["url"] == f"{site.url}/a.fq.gz"
    assert json.loads((tmp_path / "a.fq.gz.json").read_text()) == record
    assert site.requests == [("/a.fq.gz", "")]


def test_fetch_file_that_is_here_asks_for_nothing(site, fetch):
    first = fetch()
    assert fetch(sha256=SHA256) == first
    assert len(site.requests) == 1
    assert "is here already" in fetch.lines[-1]


@pytest.mark.parametrize("change", ["shortened", "changed", "without record"])
def test_fetch_file_that_is_no_longer_whole_comes_again(site, fetch, tmp_path, change):
    fetch()
    path = tmp_path / "a.fq.gz"
    if change == "shortened":
        path.write_bytes(DATA[:-1])
    elif change == "changed":
        path.write_bytes(DATA[:-1] + b"?")
    else:
        (tmp_path / "a.fq.gz.json").unlink()
    assert_whole(tmp_path, fetch())
    assert len(site.requests) == 2


@pytest.mark.parametrize("fault", ["cut", "stall"])
def test_fetch_file_broken_transfer_goes_on_where_it_stopped(site, fetch, tmp_path, fault):
    site.faults["/a.fq.gz"] = [fault] * 5  # more than the tries: each brings something new
    assert_whole(tmp_path, fetch())
    begins = [0]
    for _ in range(5):
        begins.append(begins[-1] + (len(DATA) - begins[-1]) // 2)
    assert site.requests == [("/a.fq.gz", f"bytes={begin}-" if begin else "") for begin in begins]


def test_fetch_file_next_call_goes_on_where_the_last_one_gave_up(site, fetch, tmp_path):
    site.faults["/a.fq.gz"] = ["cut", "500", "500", "500"]
    with pytest.raises(InputError, match=r"the server answers 500 .*\(3 tries in a row\)") as caught:
        fetch()
    assert "goes on from there" in caught.value.remedy
    assert not (tmp_path / "a.fq.gz").exists()
    assert_whole(tmp_path, fetch())
    assert site.requests[-1][1] == f"bytes={len(DATA) // 2}-"


def test_fetch_file_file_that_changed_meanwhile_is_not_mixed(site, fetch, tmp_path):
    site.faults["/a.fq.gz"] = ["cut", "500", "500", "500"]
    with pytest.raises(InputError):
        fetch()
    site.files["/a.fq.gz"] = OTHER
    assert_whole(tmp_path, fetch(), OTHER)


@pytest.mark.parametrize(("validators", "has_ranges"), [("both", False), ("weak", True), ("none", True)])
def test_fetch_file_from_a_server_that_cannot_resume(site, fetch, tmp_path, validators, has_ranges):
    site.validators, site.has_ranges = validators, has_ranges
    site.faults["/a.fq.gz"] = ["cut", "cut"]
    assert_whole(tmp_path, fetch())
    assert [ranged for _, ranged in site.requests[1:]] == (["", ""] if has_ranges else [site.requests[1][1]] * 2)


def test_fetch_file_without_validator_resumes_where_a_checksum_proves_it(site, fetch, tmp_path):
    site.validators = "none"
    site.faults["/a.fq.gz"] = ["cut"]
    assert_whole(tmp_path, fetch(md5=MD5))
    assert site.requests[1][1].startswith("bytes=")


def test_fetch_file_from_a_server_that_never_gets_further_ends(site, fetch):
    site.has_ranges = False
    site.faults["/a.fq.gz"] = ["cut"] * 100
    with pytest.raises(InputError, match=r"cannot be downloaded: .*3 tries in a row"):
        fetch()
    assert len(site.requests) <= 4


def test_fetch_file_part_longer_than_the_file_begins_again(site, fetch, tmp_path):
    site.faults["/a.fq.gz"] = ["cut", "500", "500", "500"]
    with pytest.raises(InputError):
        fetch(md5=MD5)
    with open(tmp_path / "a.fq.gz.part", "ab") as part:
        part.write(bytes(len(DATA)))
    assert_whole(tmp_path, fetch(md5=MD5))


@pytest.mark.parametrize("expected", [{"md5": MD5}, {"sha256": SHA256}])
def test_fetch_file_wrong_bytes_once_come_again(site, fetch, tmp_path, expected):
    site.faults["/a.fq.gz"] = ["flip"]
    assert_whole(tmp_path, fetch(**expected))
    assert "once more from the beginning" in "".join(fetch.lines)


def test_fetch_file_wrong_bytes_twice_are_refused_and_not_kept(site, fetch, tmp_path):
    with pytest.raises(InputError, match=f"came twice with MD5 {MD5} in place of {'0' * 32}") as caught:
        fetch(md5="0" * 32)
    assert "compare the checksum" in caught.value.remedy
    assert not list(tmp_path.glob("*.part"))
    assert not (tmp_path / "a.fq.gz").exists()


def test_fetch_file_truncated_at_the_source_is_refused_before_it_comes(site, fetch, tmp_path):
    with pytest.raises(InputError, match=f"has {len(DATA):,} bytes at the server, but should have 99"):
        fetch(size=99)
    assert not (tmp_path / "a.fq.gz.part").exists()


def test_fetch_file_without_length(site, fetch, tmp_path):
    site.has_length = False
    assert_whole(tmp_path, fetch(size=len(DATA)))


@pytest.mark.parametrize(
    ("status", "remedy"),
    [("401", "wants a password"), ("403", "download it yourself"), ("404", "correct the address"), ("410", "removed")],
)
def test_fetch_file_refusal_of_the_server_is_not_tried_again(site, fetch, status, remedy):
    site.faults["/a.fq.gz"] = [status] * 9
    with pytest.raises(InputError, match=f"the server answers {status}") as caught:
        fetch()
    assert remedy in caught.value.remedy
    assert caught.value.path == f"{site.url}/a.fq.gz"
    assert len(site.requests) == 1


@pytest.mark.parametrize("status", ["408", "429", "500", "503"])
def test_fetch_file_passing_trouble_of_the_server_is_waited_for(site, fetch, tmp_path, status):
    site.faults["/a.fq.gz"] = [status] * 2
    assert_whole(tmp_path, fetch())


@pytest.mark.parametrize(
    ("value", "wait"),
    [("0", 0), ("7", 7), ("soon", 0.01), (format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True), 9)],
    ids=["at once", "seconds", "no time", "a date"],
)
def test_fetch_file_waits_as_long_as_the_server_asks(site, fetch, tmp_path, monkeypatch, value, wait):
    waits = []
    monkeypatch.setattr(files.time, "sleep", waits.append)
    site.faults["/a.fq.gz"] = [f"503 {value}"]
    assert_whole(tmp_path, fetch(Patience(pause_s=0.01, longest_pause_s=9)))
    assert waits == [wait]


def test_fetch_file_no_server_is_an_error_after_some_tries(tmp_path):
    with serve(None) as site:
        url = site.url
    with pytest.raises(InputError, match=r"cannot be downloaded: .*refused.*3 tries in a row"):
        fetch_file(Source(f"{url}/a.fq.gz"), tmp_path / "a.fq.gz", QUICK)


def test_fetch_file_more_than_the_disk_holds_is_refused_before_it_comes(site, fetch, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage._replace(free=1_500_000))
    with pytest.raises(InputError, match=r"3.0 MB are still to come, but only 1.5 MB are free") as caught:
        fetch()
    assert caught.value.path == str(tmp_path)
    assert not list(tmp_path.iterdir())


def test_fetch_file_full_disk_is_told(fetch, tmp_path):
    (tmp_path / "a.fq.gz.part").symlink_to("/dev/full")  # which refuses every byte, as a full disk does
    with pytest.raises(InputError, match="cannot be written: No space left on device") as caught:
        fetch()
    assert caught.value.path == str(tmp_path / "a.fq.gz.part")
    assert "make room there" in caught.value.remedy


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><title>Log in</title>", b">a\nACGT\n", b""])
def test_fetch_file_something_else_than_reads_is_refused(site, fetch, tmp_path, content):
    site.files["/a.fq.gz"] = content
    with pytest.raises(InputError, match="is not FASTQ: it begins with" if content else "is empty") as caught:
        fetch()
    assert "login page" in caught.value.remedy
    assert not (tmp_path / "a.fq.gz").exists()
    assert not (tmp_path / "a.fq.gz.part").exists()


def test_fetch_file_query_is_used_and_never_shown(site, tmp_path, capsys, lines):
    site.faults["/a.fq.gz"] = ["500"]
    record = fetch_file(Source(f"{site.url}/a.fq.gz?signature=secret"), tmp_path / "a.fq.gz", QUICK)
    assert record["url"] == f"{site.url}/a.fq.gz?..."
    assert lines
    assert "secret" not in "".join(lines)
    assert not [path for path in tmp_path.glob("*.json") if "secret" in path.read_text()]


def test_fetch_file_redirect_is_followed(site, fetch, tmp_path):
    site.files["/store/a"] = DATA
    site.faults["/a.fq.gz"] = ["302 /store/a"]
    assert_whole(tmp_path, fetch())
    assert [path for path, _ in site.requests] == ["/a.fq.gz", "/store/a"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("http://example.org/a.fq.gz", "is not encrypted"),
        ("ftp://example.org/a.fq.gz", "has the scheme ftp"),
        ("/a.fq.gz", "redirects more than 10 times"),
    ],
)
def test_fetch_file_redirect_that_is_not_followed(site, fetch, target, message):
    site.faults["/a.fq.gz"] = [f"302 {target}"] * 99
    with pytest.raises(InputError, match=message):
        fetch()


def test_fetch_file_tells_how_far_it_is(site, fetch, monkeypatch):
    clock = iter(range(0, 10_000_000, 6))
    monkeypatch.setattr(files.time, "monotonic", lambda: next(clock))
    fetch()
    progress = re.compile(r"a\.fq\.gz: ([0-9.]+) ([kM]B) of 3\.0 MB, [0-9.]+ [kM]?B a second, .* s left")
    told = [match for line in fetch.lines if (match := progress.fullmatch(line))]
    assert len(told) >= 2
    sizes = [float(match[1]) * {"k": 1e3, "M": 1e6}[match[2][0]] for match in told]
    assert sizes == sorted(sizes)
    assert sizes[-1] == 3.0e6


def test_fetch_text_empty_answer_is_tried_again(site):
    site.reports["ERR1"] = " \n"
    with pytest.raises(InputError, match="the answer is empty"):
        fetch_text(f"{site.url}/filereport?accession=ERR1", QUICK)
    assert len(site.requests) == 3


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, which makes the server's certificate")
    with serve(tmp_path_factory.mktemp("certificate")) as site:
        site.files["/a.fq.gz"] = DATA
        yield site


def test_fetch_file_over_https_with_a_trusted_certificate(secure, tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", secure.authority)
    source = Source(f"{secure.url}/a.fq.gz")
    assert_whole(tmp_path, fetch_file(source, tmp_path / "a.fq.gz", QUICK))


def test_fetch_file_over_https_with_an_unknown_certificate_is_refused(secure, tmp_path, monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    with pytest.raises(InputError, match="certificate is not trusted") as caught:
        fetch_file(Source(f"{secure.url}/a.fq.gz"), tmp_path / "a.fq.gz", QUICK)
    assert "REQUESTS_CA_BUNDLE" in caught.value.remedy
    assert not list(tmp_path.iterdir())
