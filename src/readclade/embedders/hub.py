"""Published models: which files of which revision, and how they come onto this machine.

Only configuration, tokenizer and weights are fetched, never code, and a file whose SHA-256 is not the pinned one is
never seen under its name.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from readclade.errors import InputError
from readclade.storage.files import hash_file, replace_when_done

HUB = "hub"  # in the configuration: the pinned model, downloaded
_ENDPOINT = "https://huggingface.co"
_TRIES = 3
WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class ModelFile:
    """A file of a published model: its name, size in bytes and SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class PublishedModel:
    """A repository on the hub at one commit, and the files of it that are used."""

    repository: str
    revision: str
    files: tuple[ModelFile, ...]

    def get_url(self, file: ModelFile) -> str:
        """Return where a file is downloaded from; HF_ENDPOINT names a mirror, as in the hub's own tools."""
        endpoint = os.environ.get("HF_ENDPOINT") or _ENDPOINT
        return f"{endpoint.rstrip('/')}/{self.repository}/resolve/{self.revision}/{file.name}"


# The sums of the weights are those under which the hub stores them (Git LFS).
MODELS = {
    "dnabert2": PublishedModel(
        "zhihan1996/DNABERT-2-117M",
        "7bce263b15377fc15361f52cfab88f8b586abda0",
        (
            ModelFile("config.json", 904, "ba9bdafaff0cc3e30556927474d4a179519a9864012bed2628e9f1bc23c84bfd"),
            ModelFile("tokenizer.json", 167_908, "5d178e8ce2ba55df97fff197f4b30f40133b95d7096be398c2df6b526c5d8cd3"),
            ModelFile(
                "pytorch_model.bin", 468_354_983, "7ff39ec77a484dd01070a41bfd6e95cdd7247bec80fe357ab43a4be33687aeba"
            ),
        ),
    ),
    "dnabert-s": PublishedModel(
        "zhihan1996/DNABERT-S",
        "00e47f96cdea35e4b6f5df89e5419cbe47d490c6",
        (
            ModelFile("config.json", 1_025, "d54c142114563aa34ef7c2b54ccc921d08e50cd7c3cd69c439d5e0d2bbcfcdee"),
            ModelFile("tokenizer.json", 168_203, "667f5a0e6e9630f7052b004784dda7c7aeba395cc4ca3c01b11b02e6aa29d7b1"),
            ModelFile(
                "pytorch_model.bin", 468_320_053, "f3cfc3d0541859df64759e758cc4bc40fe1d5760799a7d098a9f9f09501c1e5f"
            ),
        ),
    ),
}


def get_cache() -> Path:
    """Return the folder that downloaded models are kept in."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "readclade"


def find_model(
    model: PublishedModel, folder: str | os.PathLike[str] | None = None, cache: Path | None = None
) -> list[Path]:
    """Return the paths of a model's configuration, tokenizer and weights, downloaded where they are missing.

    Args:
        model: what to download.
        folder: holds config.json, tokenizer.json and model.safetensors or pytorch_model.bin, which may be the user's
            own; then nothing is downloaded, and nothing compared with the pinned sums.
        cache: where downloads are kept; by default in the user's cache folder.

    Raises:
        InputError: the folder lacks a file, or a file cannot be downloaded whole.
    """
    if folder is not None:
        return _find_local(Path(folder))
    store = (cache or get_cache()) / model.repository.replace("/", "--") / model.revision
    paths = []
    for file in model.files:
        path = store / file.name
        if not (path.is_file() and path.stat().st_size == file.size and hash_file(path) == file.sha256):
            _download(model, file, path)
        paths.append(path)
    return paths


def find_named(embedder: str, weights: str) -> list[Path]:
    """Return the files of the model in a folder of the user's own; none for the hub's, or an embedder without a model.

    Args:
        embedder: name in the configuration.
        weights: a folder, or hub.

    Raises:
        InputError: the folder lacks a file.
    """
    return _find_local(Path(weights)) if embedder in MODELS and weights != HUB else []


def _find_local(folder: Path) -> list[Path]:
    weights = [folder / name for name in WEIGHTS if (folder / name).is_file()]
    missing = [name for name in ("config.json", "tokenizer.json") if not (folder / name).is_file()]
    missing += [] if weights else [" or ".join(WEIGHTS)]
    if missing:
        raise InputError(
            f"lacks {', '.join(missing)}",
            path=folder,
            remedy="name the folder that holds the model's configuration, tokenizer and weights",
        )
    return [folder / "config.json", folder / "tokenizer.json", weights[0]]


def _download(model: PublishedModel, file: ModelFile, path: Path) -> None:
    """Fetch one file to its place in the cache; the hub's client goes on where a connection breaks.

    Not by its `hf_hub_download`, which asks more of a mirror than files, and looks into caches of the user's.
    """
    # Imported here: who takes no network does without it.
    from huggingface_hub.errors import HfHubHTTPError, HTTPError
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import disable_progress_bars

    def fetch() -> None:
        with open(temporary, "wb") as out:
            http_get(url, out)

    def may_pass(error: BaseException) -> bool:
        return error.response.status_code >= 500 if isinstance(error, HfHubHTTPError) else isinstance(error, HTTPError)

    disable_progress_bars()
    url = model.get_url(file)
    with replace_when_done(path) as temporary:
        try:
            retry = retry_if_exception(may_pass)
            Retrying(retry=retry, stop=stop_after_attempt(_TRIES), wait=wait_fixed(1), reraise=True)(fetch)
        except HfHubHTTPError as error:
            answer = f"the server answers {error.response.status_code} {error.response.reason_phrase}"
            raise _fail(model, url, answer, path) from None
        except (HTTPError, ConnectionError) as error:  # the latter where the hub is switched off by HF_HUB_OFFLINE
            raise _fail(model, url, str(error), path) from None
        digest = hash_file(temporary)
        if digest != file.sha256:
            raise InputError(
                f"has SHA-256 {digest} in place of {file.sha256}, so it was not kept",
                path=url,
                remedy="try again; where a proxy or mirror stands between, look at what it delivers",
            )


def _fail(model: PublishedModel, url: str, reason: str, path: Path) -> InputError:
    wanted = "".join(f"\n    {model.get_url(file)}  {file.size} bytes, SHA-256 {file.sha256}" for file in model.files)
    return InputError(
        f"cannot be downloaded: {reason}",
        path=url,
        remedy=f"download these files on another machine and put them into {path.parent}, or into a folder of your own"
        f" that you name as the embedder's weights:{wanted}",
    )
