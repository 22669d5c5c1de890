"""Weights of networks: tensors read from a file, never code, and checked by name against what a network has."""

import pickle
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from readclade.errors import InputError

_AGAIN = "download the file again, or compare its SHA-256 with the model's page"
_LISTED = 5  # names in a message


def read_tensors(path: str | PathLike[str]) -> dict[str, torch.Tensor]:
    """Return a file's tensors by name, on the CPU.

    Args:
        path: .safetensors, or .bin, .pt or .pth as `torch.save` writes them.

    Raises:
        InputError: the file cannot be read, is truncated or damaged, or holds anything but tensors by name.
    """
    path = Path(path)
    if path.suffix not in (".safetensors", ".bin", ".pt", ".pth"):
        raise InputError(
            f"is no weights file by its name ('{path.suffix}')", path=path, remedy="give a .safetensors or .bin file"
        )
    try:
        with open(path, "rb") as file:
            start = file.read(64)
        if start.startswith(b"version https://git-lfs"):
            raise InputError(
                "is a Git LFS pointer, not the weights", path=path, remedy="fetch the file itself: git lfs pull"
            )
        # weights_only refuses every pickle that would run code.
        tensors = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path, remedy="check the path") from None
    except pickle.UnpicklingError as error:
        raise InputError(
            f"holds more than tensors, or is damaged ({_shorten(error)})", path=path, remedy=_AGAIN
        ) from None
    # torch.load has no error of its own for a damaged file.
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError, KeyError, IndexError, TypeError) as error:
        raise InputError(f"is truncated or damaged ({_shorten(error)})", path=path, remedy=_AGAIN) from None
    if not isinstance(tensors, dict) or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise InputError("holds something other than tensors by name", path=path, remedy="give the model's weights")
    return dict(tensors)


def check_tensors(
    tensors: Mapping[str, torch.Tensor],
    shapes: Mapping[str, torch.Size],
    path: str | PathLike[str],
    ignored: tuple[str, ...],
) -> dict[str, torch.Tensor]:
    """Return the tensors of a network as float32 under its own names.

    Args:
        tensors: by the names in the file, which may begin with `bert.`.
        shapes: of all the network's tensors.
        path: the file, for messages.
        ignored: beginnings of names that are left out.

    Raises:
        InputError: names that are missing, unexpected or there twice; other shapes; values that are no finite numbers.
    """
    found: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        key = name.removeprefix("bert.")
        if key.startswith(ignored):
            continue
        if key in found:
            raise InputError(f"holds '{key}' twice, with and without 'bert.'", path=path, remedy=_AGAIN)
        found[key] = tensor
    problems = []
    if missing := sorted(shapes.keys() - found.keys()):
        problems.append(f"lacks {_list(missing)}")
    if unexpected := sorted(found.keys() - shapes.keys()):
        problems.append(f"has unexpected {_list(unexpected)}")
    if problems:
        raise InputError(
            " and ".join(problems), path=path, remedy="give weights of DNABERT-2 or DNABERT-S and their own config.json"
        )
    wrong = [
        f"{key} {tuple(found[key].shape)} in place of {tuple(shape)}"
        for key, shape in shapes.items()
        if found[key].shape != shape
    ]
    if wrong:
        raise InputError(
            f"does not fit the configuration: {_list(wrong)}", path=path, remedy="give the weights' own config.json"
        )
    for key, tensor in found.items():
        if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
            raise InputError(f"'{key}' holds something other than finite numbers", path=path, remedy=_AGAIN)
    return {key: tensor.float().contiguous() for key, tensor in found.items()}


def _list(names: list[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _shorten(error: Exception) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0][:200]
