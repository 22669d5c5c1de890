"""Requests over https: redirects to encrypted addresses only, and tries that end with an error a person understands."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin

import requests
import urllib3

from readclade.errors import InputError
from readclade.inputs.addresses import check_url, hide_query

_log = logging.getLogger(__name__)

_MOST_REDIRECTS = 10
_MOST_TEXT_BYTES = 10 << 20
_TRANSIENT = {408, 425, 429}  # and all from 500 on
_REDIRECTS = {301, 302, 303, 307, 308}


@dataclass(frozen=True)
class Patience:
    """Say how often and how long to wait: `tries` in a row without a new byte, times in seconds."""

    tries: int = 6
    timeout_s: float = 60
    pause_s: float = 1
    longest_pause_s: float = 300


PATIENCE = Patience()


class Broken(Exception):
    """A transfer that may succeed when it is tried again, after `wait` seconds if the server said so."""

    def __init__(self, message: str, wait: float | None = None):
        super().__init__(message)
        self.wait = wait


def fetch_text(url: str, patience: Patience = PATIENCE) -> str:
    """Return a short text from the network.

    Raises:
        InputError: it cannot be had.
    """

    def get() -> str:
        with open_url(url, {}, patience) as response:
            data = response.raw.read(_MOST_TEXT_BYTES, decode_content=True)
            if not data.strip():
                raise Broken("the answer is empty")  # ENA's way of being out of order
            return data.decode("utf-8", "replace")

    return persist(get, url, patience)


def persist(
    action: Callable,
    url: str,
    patience: Patience,
    measure: Callable[[], int] = lambda: 0,
):
    """Return what an action returns; repeat it where it broke, for as long as `measure` grows or tries are left."""
    failures, reached = 0, measure()
    while True:
        try:
            return action()
        except Broken as problem:
            size = measure()
            # A server that cannot go on from the middle starts again and again: only new ground counts as progress.
            failures = 1 if size > reached else failures + 1
            reached = max(reached, size)
            if failures >= patience.tries:
                raise InputError(
                    f"cannot be downloaded: {problem} ({failures} tries in a row)",
                    path=hide_query(url),
                    remedy="run again later: what has come is kept and goes on from there",
                ) from None
            wait = patience.pause_s * 2 ** (failures - 1) if problem.wait is None else problem.wait
            wait = min(wait, patience.longest_pause_s)
            _log.info(f"{hide_query(url)}: {problem}; trying again in {wait:g} s")
            time.sleep(wait)


@contextmanager
def open_url(url: str, headers: dict[str, str], patience: Patience) -> Iterator[requests.Response]:
    """Open a URL and follow redirects, to encrypted addresses only; turn every failure into one of two errors."""
    headers = {"User-Agent": "readclade", "Accept-Encoding": "identity", **headers}
    try:
        with requests.Session() as session:
            for _ in range(_MOST_REDIRECTS + 1):
                check_url(url)
                response = session.get(
                    url.partition("#")[0],
                    headers=headers,
                    stream=True,
                    allow_redirects=False,
                    timeout=patience.timeout_s,
                )
                if response.status_code not in _REDIRECTS or "Location" not in response.headers:
                    break
                response.close()
                url = urljoin(url, response.headers["Location"])
            else:
                raise InputError(
                    f"redirects more than {_MOST_REDIRECTS} times", path=hide_query(url), remedy="check the address"
                )
            with response:
                _check_status(response, url)
                yield response
    except requests.exceptions.SSLError as error:
        raise InputError(
            f"the server's certificate is not trusted: {error}",
            path=hide_query(url),
            remedy="check the address; where your network has a certificate authority of its own, name its file as "
            "REQUESTS_CA_BUNDLE",
        ) from None
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        raise Broken(_explain(error)) from None


def _explain(error: Exception) -> str:
    """Return the innermost reason of a chain of errors, which is the one that a person understands."""
    reason = getattr(error, "reason", None) or (error.args[0] if error.args else None)
    if isinstance(reason, Exception):
        return _explain(reason)
    return str(error) or type(error).__name__


def _check_status(response: requests.Response, url: str) -> None:
    status = response.status_code
    if status in (200, 206, 416):
        return
    answer = f"the server answers {status} {response.reason}"
    if status in _TRANSIENT or status >= 500:
        raise Broken(answer, _read_retry_after(response.headers.get("Retry-After")))
    remedies = {
        401: "the file wants a password: download it yourself and give its path",
        403: "the file may not be read by everyone: download it yourself and give its path",
        404: "correct the address",
        410: "the file was removed from there: find where it is now",
    }
    remedy = remedies.get(status, "try the address in a browser")
    raise InputError(f"cannot be downloaded: {answer}", path=hide_query(url), remedy=remedy)


def _read_retry_after(value: str | None) -> float | None:
    """Return the seconds that a server asks for, as a number or as a date (RFC 9110, section 10.2.3)."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
