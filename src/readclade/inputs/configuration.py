"""The configuration, checked before anything runs: config/schemas/config.schema.yaml says what it may hold."""

import os
from collections.abc import Iterable
from os import PathLike

from readclade.errors import ConfigError
from readclade.inputs.schemas import Validator, describe, fill_defaults, load_schema, read_typed, suggest


def check_braces(paths: Iterable[str | PathLike[str]]) -> None:
    """Refuse paths that Snakemake would take for patterns.

    Raises:
        ConfigError: one has a brace.
    """
    for path in map(str, paths):
        if "{" in path or "}" in path:
            raise ConfigError(
                f"the path {path} has a brace, and Snakemake takes what stands in braces for a wildcard",
                remedy="rename it, or link to it from a path without braces (ln -s)",
            )


def check_genomes(path: str) -> None:
    """Refuse a configuration whose genomes to remove from the reads are not there; "" is none.

    Raises:
        ConfigError: `path` is no file.
    """
    if path and not os.path.isfile(path):
        raise ConfigError(
            f"config: cleaning.remove is '{path}', which is no file ({os.path.abspath(path)})",
            remedy="correct the path, absolute or relative to the working directory, or leave it empty",
        )


def check_config(config: dict, schema_path: str | PathLike[str] | None = None) -> dict:
    """Return a copy of the configuration in which every key that was left out has its default.

    Args:
        config: what the user gave; it is not changed.
        schema_path: JSON schema in YAML; None for the workflow's own.

    Raises:
        ConfigError: a key is unknown or a value is not allowed.
    """
    schema = load_schema("config", schema_path)
    filled = fill_defaults(schema, read_typed(schema, config))
    errors = sorted(Validator(schema).iter_errors(filled), key=lambda error: list(map(str, error.absolute_path)))
    if not errors:
        return filled
    error = errors[0]
    key = ".".join(map(str, error.absolute_path)) or "the configuration"
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        unknown = next(name for name in error.instance if name not in known)
        prefix = "".join(f"{part}." for part in error.absolute_path)
        raise ConfigError(
            f"config: unknown key '{prefix}{unknown}'",
            remedy=suggest(str(unknown), list(known), "config/README.md explains every key", prefix),
        )
    raise ConfigError(
        f"config: {key} is {error.instance!r}, which is not allowed",
        remedy=f"give {key} {describe(error.schema)}",
    )
