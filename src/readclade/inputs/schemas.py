"""The JSON schemas in config/schemas/, their defaults, and what they allow in words a person reads."""

import contextlib
import copy
import difflib
import json
from functools import cache
from os import PathLike
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator, validators

_FOLDER = Path(__file__).parents[3] / "config" / "schemas"
# JSON has one kind of number, so 4.0 would pass for an integer and then fail as a size or a count.
Validator = validators.extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


def load_schema(name: str, path: str | PathLike[str] | None = None) -> dict:
    """Return the schema config/schemas/<name>.schema.yaml, or that in `path`; do not change it."""
    return _load_yaml(Path(path) if path else _FOLDER / f"{name}.schema.yaml")


@cache
def _load_yaml(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def fill_defaults(schema: dict, value):
    """Return a copy of a value with the defaults of the schema's properties put in at every depth."""
    value = copy.deepcopy(value)
    if not isinstance(value, dict):
        return value
    for name, part in schema.get("properties", {}).items():
        if name in value or "default" in part:
            value[name] = fill_defaults(part, value.get(name, part.get("default")))
    return value


def read_typed(schema: dict, value):
    """Return a copy of a value in which texts such as "12" are numbers or truth values where the schema wants those.

    Snakemake hands over the inner values of `--config clustering='{k: 12}'` as texts.
    """
    if isinstance(value, dict):
        return {name: read_typed(schema.get("properties", {}).get(name, {}), part) for name, part in value.items()}
    types = {part.get("type") for part in (schema, *schema.get("anyOf", ()))}
    if isinstance(value, str) and types & {"integer", "number", "boolean"}:
        with contextlib.suppress(ValueError):
            return json.loads(value, parse_constant=str)  # NaN stays a text, which is refused
    return value


def describe(schema: dict) -> str:
    """Say in words which values a schema allows."""
    if "anyOf" in schema:
        words = " or ".join(describe(part) for part in schema["anyOf"])
    elif "const" in schema:
        words = f"'{schema['const']}'"
    elif "enum" in schema:
        words = ("" if len(schema["enum"]) == 1 else "one of ") + ", ".join(map(str, schema["enum"]))
    else:
        kinds = {
            "integer": "a whole number",
            "number": "a number",
            "string": "a text that is not empty",
            "boolean": "true or false",
            "object": "keys and values of its own",
        }
        limits = [("minimum", "at least"), ("exclusiveMinimum", "more than"), ("maximum", "at most")]
        bounds = " and ".join(f"{text} {schema[key]}" for key, text in limits if key in schema)
        words = f"{kinds.get(schema.get('type', ''), 'a value')}{' of ' + bounds if bounds else ''}"
    return words + (f" ({schema['description']})" if "description" in schema else "")


def suggest(word: str, known: list[str], otherwise: str, prefix: str = "") -> str:
    """Return a remedy for an unknown word: the known one that is spelt nearly so, if any, then `otherwise`."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean '{prefix}{close[0]}'? {otherwise}" if close else otherwise
