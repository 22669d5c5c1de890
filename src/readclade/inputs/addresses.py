"""Entries of a table that are no path: https addresses, S3 objects, and accessions of ENA and SRA.

Here is only what can be said of an entry without a network; `downloads` and `ena` do the rest.
"""

import re
from urllib.parse import urlsplit

from readclade.errors import InputError

_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
_DIGITS = {"md5": 32, "sha256": 64}
_RUN = re.compile(r"[SED]RR[0-9]+")
# Studies, samples, experiments, analyses and submissions: none of them says which run is meant.
_OTHER_ACCESSION = re.compile(r"PRJ[A-Z]{1,2}[0-9]+|[SED]R[APSXZ][0-9]+|SAM[A-Z]{1,2}[0-9]+")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://.*")


def is_remote(entry: str) -> bool:
    """Tell whether an entry is a URL or an ENA/SRA run accession rather than a path."""
    return _SCHEME.fullmatch(entry) is not None or is_run(entry)


def is_run(entry: str) -> bool:
    """Tell whether an entry is the accession of one run at ENA, SRA or DDBJ."""
    return _RUN.fullmatch(entry) is not None


def is_other_accession(entry: str) -> bool:
    """Tell whether an entry is an accession of something that may have many runs, such as a study."""
    return _OTHER_ACCESSION.fullmatch(entry) is not None


def is_downloaded(entry: str) -> bool:
    """Tell whether an entry is brought here before it is read; paths and S3 objects are read where they lie."""
    return is_run(entry) or entry.lower().startswith(("https://", "http://"))


def split_checksum(url: str) -> tuple[str, dict[str, str]]:
    """Return a URL without its fragment, and the checksum that the fragment states: {"md5": ...}, {"sha256": ...}, {}.

    Raises:
        InputError: the fragment is no checksum; the place is the caller's to add.
    """
    address, _, fragment = url.partition("#")
    if not fragment:
        return address, {}
    name, _, digest = fragment.partition("=")
    if name not in _DIGITS or not re.fullmatch(rf"[0-9a-fA-F]{{{_DIGITS[name]}}}", digest):
        raise InputError(
            f"'{hide_query(url)}' has '#{fragment}', which is no checksum",
            remedy="end it with #md5= and 32 hexadecimal digits, with #sha256= and 64, or without '#'",
        )
    return address, {name: digest.lower()}


def check_url(url: str) -> None:
    """Refuse an address that is not fetched: not encrypted, with a password in it, or with an unknown fragment.

    Raises:
        InputError: the place is the caller's to add.
    """
    shown = hide_query(url)
    try:
        parts = urlsplit(url)
        host, user, port = parts.hostname, parts.username, parts.port
    except ValueError as error:
        raise InputError(f"'{shown}' is no address: {error}", remedy="correct it") from None
    scheme = parts.scheme.lower()
    if scheme == "http" and host not in _LOCAL_HOSTS:
        raise InputError(
            f"'{shown}' is not encrypted, so that anyone on the way could change the reads",
            remedy="write https://, or download the file and give its path",
        )
    if scheme not in ("http", "https"):
        raise InputError(
            f"'{shown}' has the scheme {scheme}://, which is not read",
            remedy="give an https:// address (ENA serves its ftp files under the same path by https), or download the "
            "file and give its path",
        )
    if user is not None:
        raise InputError(
            f"'{scheme}://...@{host}' holds a user name or password, which would end up in logs and reports",
            remedy="download the file and give its path",
        )
    if not host or len(parts.path) < 2 or re.search(r"\s", url) or (port is not None and not 0 < port < 65536):
        raise InputError(f"'{shown}' names no file of a server", remedy="write https://HOST/PATH")
    split_checksum(url)


def hide_query(url: str) -> str:
    """Return a URL as logs and reports may show it: a query can hold a signature that gives access."""
    address = url.partition("#")[0]
    base, mark, _ = address.partition("?")
    return f"{base}?..." if mark else base
