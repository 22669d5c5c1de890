"""The one rule for identifiers: what a fragment is called, from its FASTQ file to every table.

A fragment's name is its FASTQ name up to the first blank. Short reads lose /1 and /2, and pairs whatever else tells
their mates apart; long reads have no mates and lose nothing. A `@` or `#` in front, which would begin a header or a
comment of a table, and bytes beyond ASCII are written as % and two hexadecimal digits. A name that an earlier fragment
of the sample has is followed by ~ and the fragment's number.
"""

import re
from collections.abc import Container
from urllib.parse import quote

# What stands behind the name of a first or second mate: /1, .1, _1, _R1 at the end; /1 and more; a comment of CASAVA
# whose blank became another letter; a word for the direction.
_MATE = re.compile(
    r"(?:[_./-](?P<word>forward|reverse)(?:/[12])?|/(?P<slash>[12])(?:[^0-9A-Za-z].*)?"
    r"|[_:./](?P<casava>[12]):[YN]:[0-9]+(?::.*)?|[_./:-]?R?(?<![0-9])(?P<end>[12]))$",
    re.IGNORECASE,
)
_WORDS = {"forward": 1, "reverse": 2}
_FIRST = re.compile(r"^[@#]")


def escape(name: str) -> str:
    """Return a name as tables hold it: nothing in it begins a header or a comment, and all of it is ASCII."""
    if not name.isascii():
        name = quote(name, safe="".join(map(chr, range(33, 127))))
    return _FIRST.sub(lambda match: f"%{ord(match[0]):02X}", name)


def split_mate(name: str) -> tuple[str, int]:
    """Return a name without what says which mate it is, and which it is; 0 where nothing says so."""
    match = _MATE.search(name)
    if match is None or not match.start():
        return name, 0
    number = _WORDS.get((match["word"] or "").lower()) or int(match["slash"] or match["casava"] or match["end"])
    return name[: match.start()], number


def get_name(name: str, mate: str | None, platform: str) -> str:
    """Return the name of a fragment, given those of its mates up to the first blank; None for a single read."""
    if mate is not None and name != mate:
        return escape(split_mate(name)[0])
    return escape(name[:-2] if platform == "illumina" and name.endswith(("/1", "/2")) else name)


def get_mate_number(header: str) -> int:
    """Return 1 or 2 where a whole FASTQ name says for sure which mate it is: r/1, r 1:N:0:ACGT; else 0."""
    name, _, comment = header.partition(" ")
    if _has_slash(name):
        return split_mate(name)[1]
    return int(comment[0]) if re.match(r"[12]:[YN]:[0-9]", comment) else 0


def are_mates(name: str, mate: str) -> bool:
    """Return whether two names, up to the first blank, are those of a first and a second mate."""
    if name == mate:
        return True
    (first, number), (second, other) = split_mate(name), split_mate(mate)
    return first == second and (number, other) == (1, 2)


def number(name: str, fragment: int, repeated: Container[int]) -> str:
    """Return the name of a fragment, given its plain one and the fragments whose plain name an earlier one has."""
    return f"{name}~{fragment}" if fragment in repeated else name


def _has_slash(name: str) -> bool:
    match = _MATE.search(name)
    return match is not None and match["slash"] is not None
