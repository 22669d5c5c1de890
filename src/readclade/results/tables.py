"""Files of a run that are read with their columns or keys checked; every one of them is made by a rule.

A file that is missing, or not of its form, is an `InputError` that names the file and the rule.
"""

import csv
import json
from pathlib import Path

from readclade.errors import InputError


def fail(message: str, path: Path, rule: str) -> InputError:
    """Return the error about a file that `rule` makes."""
    return InputError(message, path=path, remedy=f"run `{rule}` for this sample; deleting the file makes it run again")


def read_rows(path: Path, columns: tuple[str, ...], rule: str) -> list[dict[str, str]]:
    """Read a tab-separated table with a header that has at least `columns`.

    Raises:
        InputError: the table is missing or not of this form.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except OSError as error:
        raise fail(f"cannot be read: {error.strerror}", path, rule) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise fail(f"is not tab-separated text: {error}", path, rule) from None
    header = lines[0] if lines else []
    missing = [column for column in columns if column not in header]
    if missing:
        raise fail(f"has no column {missing[0]}", path, rule)
    for number, cells in enumerate(lines[1:], 2):
        if len(cells) != len(header):
            raise fail(f"line {number} has {len(cells)} cells instead of {len(header)}", path, rule)
    return [dict(zip(header, cells, strict=True)) for cells in lines[1:]]


def read_json(path: Path, keys: tuple[str, ...], rule: str) -> dict:
    """Read a JSON object that has at least `keys`.

    Raises:
        InputError: it is missing or not of this form.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise fail(f"cannot be read: {error.strerror}", path, rule) from None
    except ValueError as error:
        raise fail(f"is not JSON: {error}", path, rule) from None
    missing = [key for key in keys if not isinstance(value, dict) or key not in value]
    if missing:
        raise fail(f"has no '{missing[0]}'", path, rule)
    return value
