"""An object on S3, of one version from its beginning to its end: in blocks in order, or as a stream that seeks."""

import io
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from readclade.errors import InputError
from readclade.storage.s3 import ObjectInfo, find_object
from readclade.storage.s3_client import call, explain, get_patience, get_status, is_transient, split_url

# A ranged read takes the first number of bytes, and ever more while reading goes on in order, up to the second.
_FIRST_BYTES, _BLOCK_BYTES = 64 << 10, 8 << 20


def read_blocks(
    url: str, block_bytes: int, begin: int = 0, end: int | None = None, etag: str | None = None
) -> Iterator[bytes]:
    """Yield an object from one offset to another in blocks, by one request.

    Where the answer breaks off, another request goes on from there, with the same version (If-Match).

    Args:
        block_bytes: size of a block, the last one may be shorter.
        end: offset of the first byte that is not wanted; None for all bytes.
        etag: the version that it must be, None for any.

    Raises:
        InputError: it cannot be read, or nothing comes for as long as a failing call is tried again.
    """
    bucket, key = split_url(url)
    failing_since = None
    while end is None or begin < end:
        version: dict[str, Any] = {"IfMatch": f'"{etag}"'} if etag else {}
        # An empty object has no range: the whole is asked for without one.
        part: dict[str, Any] = {"Range": f"bytes={begin}-{'' if end is None else end - 1}"} if begin or end else {}
        answer = call("get_object", url, Bucket=bucket, Key=key, **part, **version)
        etag = answer["ETag"].strip('"')
        end = begin + answer["ContentLength"]
        try:
            with closing(answer["Body"]) as body:
                while block := body.read(block_bytes):
                    begin += len(block)
                    failing_since = None
                    yield block
        except (BotoCoreError, ClientError) as error:  # cut in the middle of the body
            failing_since = failing_since or time.monotonic()
            seconds = time.monotonic() - failing_since
            if seconds > get_patience() or not is_transient(error):
                raise explain(error, url, "get_object", seconds) from error
            time.sleep(0.5)


def read_object(url: str) -> bytes:
    """Return the content of a small object, of one version, even where others replace it meanwhile.

    Raises:
        InputError: it cannot be read.
    """
    while True:
        try:
            return b"".join(read_blocks(url, _BLOCK_BYTES))
        except InputError as error:
            if get_status(error) != 412:
                raise  # else the answer broke off, and there is another version to begin with


class ObjectReader(io.RawIOBase):
    """An object as a seekable stream; blocks are read ahead while they are read in order.

    Every block must be of the version that was opened (If-Match), so that no read mixes two versions.

    Attributes:
        error: what went wrong last; a library between this stream and the caller may hide it.
        stop: offset in bytes beyond which nothing is read ahead.
    """

    def __init__(self, url: str, etag: str | None = None):
        """Open an object; `etag` is the version that it must be, None for any."""
        super().__init__()
        info = find_object(url)
        if info is None:
            raise InputError("does not exist", path=url, remedy="correct the URL; keys are case-sensitive")
        if etag is not None and info.etag != etag:
            raise InputError(
                f"has changed: its ETag is {info.etag}, expected {etag}", path=url, remedy="run the workflow again"
            )
        self.error: InputError | None = None
        self.stop = info.size
        self._length = _FIRST_BYTES
        self._url = url
        self._info = info
        self._position = 0
        self._begin, self._block = 0, b""
        self._ahead: tuple[int, Future[bytes]] | None = None  # the block that begins there
        self._pool = ThreadPoolExecutor(1)

    @property
    def info(self) -> ObjectInfo:
        """What S3 told of the version that was opened."""
        return self._info

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position; nothing is read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._info.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer) -> int:
        """Read into a buffer; return the number of bytes, 0 at the end."""
        if self._position >= self._info.size:
            return 0
        offset = self._position - self._begin
        if not 0 <= offset < len(self._block):
            self._block, self._begin = self._load(self._position), self._position
            offset = 0
        data = self._block[offset : offset + len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _load(self, begin: int) -> bytes:
        """Return the block that begins at an offset; start on the one after it where reading goes on in order."""
        in_order = self._block and begin == self._begin + len(self._block)
        self._length = min(4 * self._length, _BLOCK_BYTES) if in_order else min(_FIRST_BYTES, _BLOCK_BYTES)
        ahead, self._ahead = self._ahead, None
        try:
            block = ahead[1].result() if ahead and ahead[0] == begin else self._fetch(begin, self._length)
        except InputError as error:
            self.error = error
            raise
        after = begin + len(block)
        if in_order and after < self.stop:
            self._ahead = after, self._pool.submit(self._fetch, after, min(4 * self._length, _BLOCK_BYTES))
        return block

    def _fetch(self, begin: int, length: int) -> bytes:
        end = min(begin + length, self.stop if begin < self.stop else self._info.size)
        return b"".join(read_blocks(self._url, length, begin, end, self._info.etag))

    def close(self) -> None:
        """Forget the blocks."""
        if not self.closed:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._block = b""
        super().close()
