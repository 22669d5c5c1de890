"""Objects on S3: found, listed, deleted, and written whole or not at all."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from readclade.errors import InputError
from readclade.storage.s3_client import SCHEME, call, get_status, split_url

_PART_BYTES = 16 << 20
_MOST_PARTS = 10_000  # of one multipart upload, S3's own limit
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ObjectInfo:
    """What a store tells of an object or file without reading it.

    Attributes:
        size: bytes.
        etag: changes with the content; of a local file, its time of modification.
        sha256: checksum that the uploader put beside the object; None where there is none.
    """

    size: int
    etag: str
    sha256: str | None = None


def find_object(url: str, patience: float | None = None) -> ObjectInfo | None:
    """Return what S3 tells of an object, or None where the bucket has none of this key.

    Raises:
        InputError: the bucket is missing, may not be read, or cannot be reached.
    """
    bucket, key = split_url(url)
    try:
        head = call("head_object", url, patience, Bucket=bucket, Key=key)
    except InputError as error:
        status = get_status(error)
        if status not in (400, 403, 404):
            raise
        # The answer to HEAD has no body that could tell a missing object from a missing bucket or wrong credentials.
        call("list_objects_v2", url, patience, Bucket=bucket, Prefix=key, MaxKeys=1)
        if status != 404:
            raise
        return None
    return ObjectInfo(head["ContentLength"], head["ETag"].strip('"'), head["Metadata"].get("sha256"))


def list_objects(
    prefix: str, patience: float | None = None, delimiter: str | None = None
) -> Iterator[tuple[str, ObjectInfo]]:
    """Yield the key below a prefix (relative to it), size and version of each object, a thousand in one call.

    Args:
        patience: seconds for which each call is tried again; None for the environment's.
        delimiter: keys that have it after the prefix are left out.
    """
    bucket, key = split_url(prefix)
    arguments = {"Bucket": bucket, "Prefix": key} | ({"Delimiter": delimiter} if delimiter else {})
    while True:
        page = call("list_objects_v2", prefix, patience, **arguments)
        for entry in page.get("Contents", ()):
            yield entry["Key"][len(key) :], ObjectInfo(entry["Size"], entry["ETag"].strip('"'))
        if not page.get("IsTruncated"):
            return
        arguments["ContinuationToken"] = page["NextContinuationToken"]


def delete_object(url: str) -> None:
    """Delete an object; one that does not exist is no error."""
    bucket, key = split_url(url)
    call("delete_object", url, Bucket=bucket, Key=key)


def put_bytes(url: str, data: bytes) -> None:
    """Write an object in one request, which S3 makes visible whole or not at all."""
    bucket, key = split_url(url)
    sha256 = hashlib.sha256(data).hexdigest()
    call("put_object", url, Bucket=bucket, Key=key, Body=data, Metadata={"sha256": sha256})


def upload_file(path: Path, url: str, sha256: str) -> None:
    """Write a file as one object by a multipart upload, which S3 makes visible when it is completed.

    Each part travels with a checksum that S3 compares; the object keeps the SHA-256 of the whole beside it.

    Args:
        sha256: checksum of the file, 64 hexadecimal digits.

    Raises:
        InputError: the upload failed; nothing of it is left, except where the service cannot be reached.
    """
    bucket, key = split_url(url)
    size = path.stat().st_size
    part_bytes = max(_PART_BYTES, -(-size // _MOST_PARTS))
    target: dict[str, Any] = {"Bucket": bucket, "Key": key}
    upload = call("create_multipart_upload", url, **target, Metadata={"sha256": sha256})["UploadId"]
    try:
        parts: list[dict[str, Any]] = []
        digest = hashlib.sha256()
        with path.open("rb") as file:
            # An empty file is one empty part: S3 completes no upload without any.
            while (block := file.read(part_bytes)) or not parts:
                digest.update(block)
                number = len(parts) + 1
                part = call("upload_part", url, **target, UploadId=upload, PartNumber=number, Body=block)
                parts.append({"PartNumber": number, "ETag": part["ETag"]})
        if digest.hexdigest() != sha256:
            raise InputError("changed while it was uploaded", path=path, remedy="run the command again")
        try:
            call("complete_multipart_upload", url, **target, UploadId=upload, MultipartUpload={"Parts": parts})
        except InputError:
            # The service may have completed it and died before it could say so: then the upload is gone.
            if not _is_there(url, size, sha256):
                raise
    except BaseException:
        _abort(bucket, key, upload, url)
        raise
    if not _is_there(url, size, sha256):
        raise InputError(
            "is not what was uploaded: its size or checksum differs",
            path=url,
            remedy="another program writes there too: stop it, and run the command again",
        )


def _is_there(url: str, size: int, sha256: str) -> bool:
    info = find_object(url)
    return info is not None and (info.size, info.sha256) == (size, sha256)


def _abort(bucket: str, key: str, upload: str, url: str) -> None:
    try:
        call("abort_multipart_upload", url, 5, Bucket=bucket, Key=key, UploadId=upload)
    except InputError as error:
        if "NoSuchUpload" not in error.message:
            _log.warning("%s: an upload could not be removed; the next run does it: %s", url, error.message)


def abort_uploads(prefix: str) -> int:
    """Remove the parts of uploads below a prefix that nobody will complete; return how many uploads there were."""
    bucket, key = split_url(prefix)
    arguments: dict[str, Any] = {"Bucket": bucket, "Prefix": key}
    count = 0
    while True:
        page = call("list_multipart_uploads", prefix, **arguments)
        for upload in page.get("Uploads", ()):
            _abort(bucket, upload["Key"], upload["UploadId"], f"{SCHEME}{bucket}/{upload['Key']}")
            count += 1
        if not page.get("IsTruncated"):
            return count
        arguments |= {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
