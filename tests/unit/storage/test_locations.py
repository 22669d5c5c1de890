"""Storage: paths and a real S3 server behind one interface, and every way in which the latter can fail."""

import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from readclade.errors import InputError, StorageError
from readclade.storage import locations, s3, s3_reader


@pytest.fixture(params=["local", "s3"])
def folder(request, tmp_path):
    """Return a folder of either kind: one suite for both."""
    return str(tmp_path / "folder") if request.param == "local" else request.getfixturevalue("bucket") + "/folder"


@pytest.fixture
def use(s3_server, bucket, monkeypatch):
    """Return a function that changes the identity; nothing is tried for long."""
    monkeypatch.setenv("READCLADE_S3_PATIENCE_S", "2")

    def use(identity, **changes):
        for name, value in (s3_server.get_environment(identity) | changes).items():
            monkeypatch.setenv(name, value)

    return use


def list_uploads(s3_server, bucket):
    return s3_server.make_client().list_multipart_uploads(Bucket=bucket.removeprefix("s3://")).get("Uploads", [])


# ---- one suite for both kinds


def test_storage_writes_reads_lists_and_deletes(folder, tmp_path):
    location = locations.join(folder, "a b.txt")
    assert locations.find(location) is None
    assert locations.list_sizes(folder) == {}
    locations.prepare_folder(folder)
    locations.write_bytes(location, b"first")
    locations.write_bytes(location, b"second")
    assert locations.read_bytes(location) == b"second"
    assert locations.find(location).size == 6
    assert locations.list_sizes(folder) == {"a b.txt": 6}
    assert locations.get_sha256(location) == hashlib.sha256(b"second").hexdigest()
    assert locations.get_folder(location) == folder
    locations.write_bytes(locations.join(folder, "sub/deeper.txt"), b"")
    assert locations.list_sizes(folder) == {"a b.txt": 6}  # only what is right in it
    locations.delete(location)
    locations.delete(location)
    assert locations.find(location) is None


def test_storage_uploads_and_downloads_whole(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(s3, "_PART_BYTES", 5 << 20)
    data = os.urandom((11 << 20) + 3)  # three parts on S3
    source = tmp_path / "source"
    source.write_bytes(data)
    location = locations.join(folder, "copy")
    checksum = locations.upload_file(source, location)
    assert checksum == hashlib.sha256(data).hexdigest()
    assert locations.download_file(location, tmp_path / "back", checksum) == checksum
    assert (tmp_path / "back").read_bytes() == data
    with pytest.raises(InputError, match="has the checksum"):
        locations.download_file(location, tmp_path / "other", "0" * 64)
    assert not (tmp_path / "other").exists()
    assert not list(tmp_path.glob(".*"))


def test_storage_empty_file(folder, tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    location = locations.join(folder, "empty")
    locations.upload_file(tmp_path / "empty", location)
    assert locations.read_bytes(location) == b""
    assert locations.list_sizes(folder) == {"empty": 0}
    assert locations.download_file(location, tmp_path / "back") == locations.get_sha256(location)
    assert (tmp_path / "back").read_bytes() == b""


def test_download_file_missing_is_named_and_leaves_nothing(folder, tmp_path):
    location = locations.join(folder, "missing")
    with pytest.raises(InputError, match="does not exist") as caught:
        locations.download_file(location, tmp_path / "back/file")
    assert caught.value.path == location
    assert list((tmp_path / "back").iterdir()) == []


def test_open_read_seeks(folder, monkeypatch):
    monkeypatch.setattr(s3_reader, "_BLOCK_BYTES", 1000)
    data = os.urandom(5500)
    location = locations.join(folder, "data")
    locations.write_bytes(location, data)
    with locations.open_read(location) as file:
        assert file.read(10) == data[:10]
        assert file.seek(-20, 2) == 5480
        assert file.read() == data[-20:]
        assert file.read() == b""
        file.seek(2990)
        assert file.read(2000) == data[2990:4990]  # over two blocks
        file.seek(0)
        assert file.read() == data
        assert file.tell() == 5500


def test_open_read_missing_file(folder):
    with pytest.raises((InputError, FileNotFoundError)):
        locations.open_read(locations.join(folder, "missing"))


# ---- S3 only


def test_list_sizes_of_more_than_a_page(bucket, monkeypatch):
    for number in range(5):
        locations.write_bytes(f"{bucket}/many/{number}", b"x" * number)
    call = s3.call
    monkeypatch.setattr(s3, "call", lambda *a, **k: call(*a, **(k | {"MaxKeys": 2})))
    assert locations.list_sizes(f"{bucket}/many") == {str(number): number for number in range(5)}


@pytest.fixture
def calls(monkeypatch):
    """Return the names of the operations of S3 that are asked for from now on."""
    names, call = [], s3.call

    def note(operation, *arguments, **options):
        names.append(operation)
        return call(operation, *arguments, **options)

    monkeypatch.setattr(s3, "call", note)
    return names


def test_lookup_finds_the_files_of_a_prefix_by_one_listing(bucket, tmp_path, calls):
    for name in ("a/1.fq", "a/2.fq", "a/b/3.fq", "top.fq"):
        locations.write_bytes(f"{bucket}/{name}", name.encode())
    (tmp_path / "local.fq").write_bytes(b"here")
    names = ["a/1.fq", "a/2.fq", "a/missing.fq", "a/b/3.fq", "top.fq", "a"]
    expected = [locations.find(f"{bucket}/{name}") for name in names]
    calls.clear()
    lookup = locations.Lookup(2)
    found = [lookup.find(f"{bucket}/{name}") for name in names]
    assert calls == ["list_objects_v2"] * 3  # a/, a/b/ and the bucket's own
    assert [info and (info.size, info.etag) for info in found] == [info and (info.size, info.etag) for info in expected]
    assert [info is None for info in found] == [False, False, True, False, False, True]
    assert lookup.find(str(tmp_path / "local.fq")) == locations.find(tmp_path / "local.fq")


def test_lookup_asks_for_each_file_where_a_prefix_holds_very_many(bucket, monkeypatch, calls):
    monkeypatch.setattr(locations, "_MOST_LISTED", 2)
    for name in "123":
        locations.write_bytes(f"{bucket}/{name}.fq", b"data")
    calls.clear()
    lookup = locations.Lookup(2)
    assert lookup.find(f"{bucket}/3.fq").size == 4
    assert lookup.find(f"{bucket}/1.fq").size == 4
    assert calls == ["list_objects_v2", "head_object", "head_object"]


def test_lookup_by_who_may_read_and_not_list(bucket, use, calls):
    locations.write_bytes(f"{bucket}/1.fq", b"data")
    use("getter")
    calls.clear()
    assert locations.Lookup(2).find(f"{bucket}/1.fq").size == 4
    assert calls == ["list_objects_v2", "head_object"]


def test_upload_file_checksum_that_is_not_the_files_leaves_nothing(bucket, s3_server, tmp_path):
    (tmp_path / "file").write_bytes(b"data")
    with pytest.raises(InputError, match="changed while it was uploaded"):
        locations.upload_file(tmp_path / "file", f"{bucket}/file", "0" * 64)
    assert locations.list_sizes(bucket) == {}
    assert not list_uploads(s3_server, bucket)


def test_prepare_folder_removes_uploads_that_nobody_completes(bucket, s3_server):
    client = s3_server.make_client()
    for key in ("folder/a", "folder/b", "other/c"):
        target = {"Bucket": bucket.removeprefix("s3://"), "Key": key}
        upload = client.create_multipart_upload(**target)["UploadId"]
        client.upload_part(**target, UploadId=upload, PartNumber=1, Body=b"x")
    locations.prepare_folder(f"{bucket}/folder")
    assert [upload["Key"] for upload in list_uploads(s3_server, bucket)] == ["other/c"]


def test_open_read_object_that_changes_meanwhile_is_refused(bucket, monkeypatch):
    monkeypatch.setattr(s3_reader, "_BLOCK_BYTES", 1000)
    locations.write_bytes(f"{bucket}/data", b"a" * 5000)
    with locations.open_read(f"{bucket}/data") as file:
        file.raw.read(500)
        locations.write_bytes(f"{bucket}/data", b"b" * 5000)
        file.raw.seek(4000)
        with pytest.raises(InputError, match="was changed by someone else"):
            file.raw.read(500)
        assert "was changed" in locations.get_read_error(file).message


@pytest.mark.parametrize("identity", ["stranger", "secret", "nobody"])
def test_wrong_credentials_are_named(bucket, use, tmp_path, monkeypatch, identity):
    (tmp_path / "file").write_bytes(b"data")
    if identity == "stranger":
        use("stranger")
    elif identity == "secret":
        use("admin", AWS_SECRET_ACCESS_KEY="wrong")
    else:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
    message = "Unable to locate credentials" if identity == "nobody" else "refuses the credentials"
    for function, *arguments in (
        (locations.find, f"{bucket}/file"),
        (locations.open_read, f"{bucket}/file"),
        (locations.list_sizes, bucket),
        (locations.write_bytes, f"{bucket}/file", b""),
        (locations.upload_file, tmp_path / "file", f"{bucket}/file"),
        (locations.prepare_folder, bucket),
    ):
        with pytest.raises(InputError, match=message) as caught:
            function(*arguments)
        assert caught.value.path.startswith(bucket)
        assert "AWS" in caught.value.remedy or "access key" in caught.value.remedy
        assert "wrong" not in str(caught.value)  # no secret in a message


def test_read_only_bucket_is_named(bucket, use, tmp_path):
    locations.write_bytes(f"{bucket}/file", b"data")
    use("reader")
    assert locations.read_bytes(f"{bucket}/file") == b"data"
    for function, *arguments in (
        (locations.write_bytes, f"{bucket}/new", b""),
        (locations.upload_file, __file__, f"{bucket}/new"),
        (locations.delete, f"{bucket}/file"),
    ):
        with pytest.raises(InputError, match="may not be written with these credentials") as caught:
            function(*arguments)
        assert "policy" in caught.value.remedy
    assert locations.list_sizes(bucket) == {"file": 4}


def test_missing_bucket_is_named(bucket, use, tmp_path):
    use("admin")
    missing = f"{bucket}-not"
    for function, *arguments in (
        (locations.find, f"{missing}/file"),
        (locations.list_sizes, missing),
        (locations.write_bytes, f"{missing}/file", b""),
        (locations.upload_file, __file__, f"{missing}/file"),
        (locations.prepare_folder, missing),
    ):
        with pytest.raises(InputError, match=f"there is no bucket '{missing.removeprefix('s3://')}'"):
            function(*arguments)


@pytest.mark.parametrize("url", ["s3://", "s3:///key"])
def test_url_without_a_bucket_is_refused(url):
    with pytest.raises(InputError, match="is not a place on S3"):
        locations.find(url)


def test_endpoint_that_nobody_listens_on_is_named_in_bounded_time(bucket, use):
    use("admin", AWS_ENDPOINT_URL_S3="http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9 cannot be reached .*tried for [2-9] s") as caught:
        locations.find(f"{bucket}/file")
    assert "AWS_ENDPOINT_URL_S3" in caught.value.remedy
    assert time.monotonic() - started < 60


def test_server_killed_in_an_upload_and_started_again_completes_it(bucket, s3_server, tmp_path, monkeypatch):
    monkeypatch.setattr(s3, "_PART_BYTES", 5 << 20)
    monkeypatch.setenv("READCLADE_S3_PATIENCE_S", "240")
    data = os.urandom(24 << 20)
    (tmp_path / "file").write_bytes(data)
    call, parts, restart = s3.call, [], threading.Thread(target=s3_server.start)

    def kill_before_the_third_part(operation, *arguments, **options):
        if operation == "upload_part":
            parts.append(options["PartNumber"])
            if len(parts) == 3:
                s3_server.kill()
                restart.start()
        return call(operation, *arguments, **options)

    monkeypatch.setattr(s3, "call", kill_before_the_third_part)
    checksum = locations.upload_file(tmp_path / "file", f"{bucket}/file")
    restart.join()
    assert parts == [1, 2, 3, 4, 5]
    assert locations.get_sha256(f"{bucket}/file") == checksum
    assert locations.find(f"{bucket}/file").sha256 == checksum
    assert not list_uploads(s3_server, bucket)


def test_server_killed_in_an_upload_for_good_leaves_no_object(bucket, s3_server, tmp_path, monkeypatch, use):
    use("admin")
    (tmp_path / "file").write_bytes(b"data")
    call = s3.call

    def kill_before_completion(operation, *arguments, **options):
        if operation == "complete_multipart_upload":
            s3_server.kill()
        return call(operation, *arguments, **options)

    monkeypatch.setattr(s3, "call", kill_before_completion)
    try:
        with pytest.raises(InputError, match="cannot be reached"):
            locations.upload_file(tmp_path / "file", f"{bucket}/file")
    finally:
        s3_server.start()
    assert locations.find(f"{bucket}/file") is None
    assert len(list_uploads(s3_server, bucket)) == 1
    locations.prepare_folder(bucket)
    assert not list_uploads(s3_server, bucket)


def test_upload_whose_completion_was_not_heard_counts_as_done(bucket, tmp_path, monkeypatch):
    """The server completes an upload and dies before it answers: the same call again finds no such upload."""
    (tmp_path / "file").write_bytes(b"data")
    call = s3.call

    def complete_twice(operation, *arguments, **options):
        if operation == "complete_multipart_upload":
            call(operation, *arguments, **options)
        return call(operation, *arguments, **options)

    monkeypatch.setattr(s3, "call", complete_twice)
    locations.upload_file(tmp_path / "file", f"{bucket}/file")
    assert locations.read_bytes(f"{bucket}/file") == b"data"


def test_read_goes_on_after_the_server_was_killed(bucket, s3_server, monkeypatch):
    monkeypatch.setattr(s3_reader, "_BLOCK_BYTES", 1 << 20)
    monkeypatch.setenv("READCLADE_S3_PATIENCE_S", "240")
    data = os.urandom(6 << 20)
    locations.write_bytes(f"{bucket}/data", data)
    with locations.open_read(f"{bucket}/data") as file:
        first = file.read(1 << 20)
        s3_server.kill()
        restart = threading.Thread(target=s3_server.start)
        restart.start()
        assert first + file.read() == data
        restart.join()


@pytest.mark.parametrize("changed", [False, True])
def test_download_cut_in_an_answer_goes_on_from_there_with_the_same_version(bucket, s3_server, monkeypatch, changed):
    monkeypatch.setenv("READCLADE_S3_PATIENCE_S", "240")
    data, asked = os.urandom(48 << 20), []
    locations.write_bytes(f"{bucket}/data", data)
    call = s3_reader.call
    monkeypatch.setattr(s3_reader, "call", lambda *a, **k: asked.append((a[0], k.get("Range"))) or call(*a, **k))
    blocks = s3_reader.read_blocks(f"{bucket}/data", 1 << 20)
    first = next(blocks)
    s3_server.kill()
    s3_server.start()
    if changed:
        locations.write_bytes(f"{bucket}/data", data[::-1])
        with pytest.raises(InputError, match="was changed by someone else"):
            list(blocks)
    else:
        assert first + b"".join(blocks) == data
    assert [operation for operation, _ in asked] == ["get_object"] * 2
    assert asked[0][1] is None
    begin, end = map(int, asked[1][1].removeprefix("bytes=").split("-"))
    assert len(first) <= begin < end == len(data) - 1


def test_small_object_that_is_replaced_again_and_again_is_read_as_one_version(bucket):
    versions = [bytes([letter]) * 100_000 for letter in b"ab"]
    locations.write_bytes(f"{bucket}/data", versions[0])
    stop = threading.Event()

    def replace():
        for number in count():
            locations.write_bytes(f"{bucket}/data", versions[number % 2])
            if stop.is_set():
                return

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(replace)
        try:
            read = [locations.read_bytes(f"{bucket}/data") for _ in range(100)]
        finally:
            stop.set()
        writer.result()
    assert set(read) == set(versions)


def test_small_object_that_is_replaced_while_its_answer_is_cut_is_read_anew(bucket, s3_server, monkeypatch):
    data, read_blocks = os.urandom(48 << 20), s3_reader.read_blocks
    locations.write_bytes(f"{bucket}/data", data)

    def cut(url, size):
        blocks = read_blocks(url, size)
        yield next(blocks)
        monkeypatch.setattr(s3_reader, "read_blocks", read_blocks)
        s3_server.kill()
        s3_server.start()
        locations.write_bytes(url, data[::-1])
        yield from blocks

    monkeypatch.setattr(s3_reader, "read_blocks", cut)
    assert locations.read_bytes(f"{bucket}/data") == data[::-1]
    with pytest.raises(InputError, match="does not exist"):
        locations.read_bytes(f"{bucket}/none")


def test_download_cut_for_good_is_told_in_bounded_time(bucket, s3_server, tmp_path, use):
    use("admin")
    locations.write_bytes(f"{bucket}/data", os.urandom(48 << 20))
    blocks = s3_reader.read_blocks(f"{bucket}/data", 1 << 20)
    next(blocks)
    s3_server.kill()
    try:
        with pytest.raises(StorageError, match=r"cannot be reached .*tried for [2-9] s"):
            list(blocks)
    finally:
        s3_server.start()
