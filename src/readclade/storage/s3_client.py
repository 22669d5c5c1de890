"""Calls of S3, by botocore: one client, retries that are bounded in time and told, and errors that say what to do.

Why not s3fs or obstore: docs/log/2026-11-29-s3-library.md. The endpoint, region and credentials are the standard ones
of AWS's tools (AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_PROFILE, AWS_ACCESS_KEY_ID, an instance's role, ...); nothing
here reads or prints a secret.
"""

import logging
import os
import threading
import time
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    ResponseStreamingError,
)
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_exponential, wait_random

from readclade.errors import InputError, StorageError

SCHEME = "s3://"
# How long a call is tried again while the service cannot be reached or says that it is busy.
_PATIENCE_VARIABLE = "READCLADE_S3_PATIENCE_S"
_DEFAULT_PATIENCE_S = 60.0
_BUSY = {"500", "502", "503", "504", "InternalError", "ServiceUnavailable", "SlowDown", "RequestTimeout", "Throttling"}
_REFUSED_CREDENTIALS = {
    "AuthFailure",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
_DENIED = {"AccessDenied", "AllAccessDisabled", "403", "Forbidden"}
_MISSING = {"404", "NoSuchKey", "NotFound"}
_log = logging.getLogger(__name__)


def split_url(url: str) -> tuple[str, str]:
    """Return bucket and key of s3://bucket/key.

    Raises:
        InputError: it has no bucket.
    """
    bucket, _, key = url.removeprefix(SCHEME).partition("/")
    if not url.startswith(SCHEME) or not bucket:
        raise InputError("is not a place on S3", path=url, remedy="write it as s3://bucket/key")
    return bucket, key


def get_client():
    """Return the client for the environment's endpoint and credentials; one for all threads of this process."""
    with _lock:
        return _make_client(tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith("AWS_"))))


_lock = threading.Lock()


@lru_cache(maxsize=4)
def _make_client(_environment):
    # Retries are done below, where they are bounded in time and told; botocore's own would multiply them.
    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=32,
        tcp_keepalive=True,
        user_agent_extra="readclade",
    )
    session = botocore.session.get_session()
    client = session.create_client("s3", config=config)
    if not urlsplit(client.meta.endpoint_url).hostname.endswith(("amazonaws.com", "amazonaws.com.cn")):
        # bucket.host has no address where the service is not Amazon's.
        client = session.create_client("s3", config=config.merge(Config(s3={"addressing_style": "path"})))
    return client


def get_patience() -> float:
    """Return for how many seconds a failing call is tried again (READCLADE_S3_PATIENCE_S, 60 by default)."""
    return float(os.environ.get(_PATIENCE_VARIABLE, _DEFAULT_PATIENCE_S))


def call(operation: str, url: str, patience: float | None = None, **arguments) -> dict[str, Any]:
    """Call an operation of S3; try again while the service is away or busy, for a bounded time.

    Args:
        operation: botocore's name of it, such as "put_object".
        url: what the call is about, for an error.
        patience: seconds; None for the environment's.

    Raises:
        InputError: with the URL and a remedy.
    """
    patience = get_patience() if patience is None else patience
    backoff = wait_exponential(0.25, max=8) + wait_random(0, 1)

    def get_left(state: RetryCallState) -> float:
        elapsed = state.seconds_since_start
        assert elapsed is not None  # an attempt has ended
        return patience - elapsed

    def tell(state: RetryCallState) -> None:
        if state.attempt_number > 2 and state.outcome is not None:  # shorter trouble is nothing to tell
            what = _describe(state.outcome.exception())
            _log.warning("%s: %s; trying again for %.0f s", url, what, get_left(state))

    retrying = Retrying(
        retry=retry_if_exception(is_transient),
        stop=stop_after_delay(patience),
        wait=lambda state: min(backoff(state), get_left(state)),
        before_sleep=tell,
        reraise=True,
    )
    started = time.monotonic()
    try:
        return retrying(lambda: getattr(get_client(), operation)(**arguments))
    except (BotoCoreError, ClientError) as error:
        raise explain(error, url, operation, time.monotonic() - started) from error


def is_transient(error: BaseException) -> bool:
    """Return whether the same call may succeed later: the service was away, busy, or cut the connection."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return _get_code(error) in _BUSY or status >= 500 or status == 429
    return isinstance(error, (ConnectionError, HTTPClientError, IncompleteReadError, ResponseStreamingError))


def explain(error: Exception, url: str, operation: str, seconds: float = 0) -> InputError:
    """Return the error that says what a person can do about botocore's."""
    if isinstance(error, (NoCredentialsError, PartialCredentialsError, ProfileNotFound)):
        return StorageError(
            f"cannot be used: {error}",
            path=url,
            remedy="set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role gives them",
        )
    endpoint = get_client().meta.endpoint_url
    if isinstance(error, ClientError):
        code = _get_code(error)
        bucket = split_url(url)[0]
        if code in _REFUSED_CREDENTIALS:
            return StorageError(
                f"{endpoint} refuses the credentials ({code})",
                path=url,
                remedy="check the access key and its secret, or log in again; `aws sts get-caller-identity` shows them",
            )
        if code == "NoSuchBucket":
            return StorageError(
                f"there is no bucket '{bucket}' at {endpoint}",
                path=url,
                remedy="correct the name, create the bucket, or set AWS_ENDPOINT_URL_S3 to the service that has it",
            )
        if code in _DENIED:
            verb = "read" if operation.startswith(("get", "head", "list")) else "written"
            return StorageError(
                f"may not be {verb} with these credentials ({operation}: {code})",
                path=url,
                remedy="use an identity whose policy allows it, or another bucket",
            )
        if code in _MISSING:
            return InputError("does not exist", path=url, remedy="correct the URL; keys are case-sensitive")
        if code in {"412", "PreconditionFailed"}:
            return InputError("was changed by someone else meanwhile", path=url, remedy="run the command again")
        if is_transient(error):
            return StorageError(
                f"{endpoint} failed for {seconds:.0f} s: {_describe(error)}",
                path=url,
                remedy="check that the service is well and has space left, then run the command again",
            )
        return StorageError(f"{operation} failed: {_describe(error)}", path=url, remedy="see what the service says")
    if is_transient(error):
        return StorageError(
            f"{endpoint} cannot be reached ({_describe(error)}; tried for {seconds:.0f} s)",
            path=url,
            remedy="check the network and AWS_ENDPOINT_URL_S3, then run the command again: what was done is kept",
        )
    return StorageError(f"{operation} failed: {error}", path=url, remedy="check the URL and the AWS settings")


def _get_code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _describe(error: BaseException | None) -> str:
    if isinstance(error, ClientError):
        return f"{_get_code(error)}: {error.response.get('Error', {}).get('Message', '')}"
    return str(error).partition("\n")[0]


def get_status(error: InputError) -> int | None:
    """Return the HTTP status of the answer that an error of `call` tells of, or None where there was none."""
    return getattr(error.__cause__, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode")
