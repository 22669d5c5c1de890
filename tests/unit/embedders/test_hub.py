"""Models are downloaded whole or not at all: against a server of this test's own."""

import hashlib
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from readclade.embedders.hub import MODELS, ModelFile, PublishedModel, find_model
from readclade.errors import InputError

CONTENT = {"config.json": b"{}", "tokenizer.json": b"[]" * 9, "pytorch_model.bin": bytes(range(256)) * 9000}
MODEL = PublishedModel(
    "someone/some-model",
    "0" * 40,
    tuple(ModelFile(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in CONTENT.items()),
)


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT below the model's revision; `faults` says how often a file fails, and in what way."""

    def __init__(self, faults, asked, *arguments):
        self._faults, self._asked = faults, asked
        super().__init__(*arguments)

    def do_GET(self):
        self._asked.append(self.path)
        prefix, _, name = self.path.rpartition("/")
        if prefix.startswith("/store"):  # where the hub keeps large files
            prefix = prefix.removeprefix("/store")
        elif name.endswith(".bin"):
            self.send_response(302)
            self.send_header("Location", f"/store{self.path}")
            self.end_headers()
            return
        if prefix != f"/{MODEL.repository}/resolve/{MODEL.revision}" or name not in CONTENT:
            self.send_error(404)
            return
        fault, times = self._faults.get(name, ("", 0))
        self._faults[name] = (fault, times - 1)
        data = CONTENT[name]
        if times > 0 and fault.isdigit():
            self.send_error(int(fault))
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if times > 0:
            data = data[:-7] if fault == "truncated" else data[:-1] + b"!"
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    """Return (faults, asked) of a server that stands in for the hub."""
    faults, asked = {}, []
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, faults, asked)) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{running.server_port}/")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield faults, asked
        running.shutdown()


def test_find_model_downloads_once(server, tmp_path):
    paths = find_model(MODEL, cache=tmp_path)
    assert {path.name: path.read_bytes() for path in paths} == CONTENT
    assert {path.parent for path in paths} == {tmp_path / "someone--some-model" / MODEL.revision}
    assert len(server[1]) == 4  # three files, one of them redirected
    assert find_model(MODEL, cache=tmp_path) == paths
    assert len(server[1]) == 4


@pytest.mark.parametrize("damage", [b"", b"{", b"[]"])
def test_find_model_mends_a_damaged_cache(server, tmp_path, damage):
    config = find_model(MODEL, cache=tmp_path)[0]
    config.write_bytes(damage)
    find_model(MODEL, cache=tmp_path)
    assert config.read_bytes() == CONTENT["config.json"]


@pytest.mark.parametrize("fault", ["truncated", "503"])
def test_find_model_tries_again(server, tmp_path, fault):
    server[0]["pytorch_model.bin"] = (fault, 2)
    assert find_model(MODEL, cache=tmp_path)[2].read_bytes() == CONTENT["pytorch_model.bin"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("truncated", r"cannot be downloaded: .*\(received 2303993 bytes, expected 2304000\)"),
        ("wrong", "has SHA-256 [0-9a-f]{64} in place of [0-9a-f]{64}"),
        ("503", "the server answers 503"),
        ("404", "the server answers 404"),
    ],
)
def test_find_model_keeps_nothing_that_is_not_whole(server, tmp_path, fault, words):
    server[0]["pytorch_model.bin"] = (fault, 99)
    with pytest.raises(InputError, match=words) as caught:
        find_model(MODEL, cache=tmp_path)
    assert caught.value.path.endswith(f"/someone/some-model/resolve/{MODEL.revision}/pytorch_model.bin")
    assert caught.value.remedy
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["config.json", "tokenizer.json"]


def test_find_model_without_a_hub_says_what_to_bring_where(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the port "discard": nobody listens
    with pytest.raises(InputError, match=r"cannot be downloaded: .*refused") as caught:
        find_model(MODEL, cache=tmp_path)
    for file in MODEL.files:
        assert f"http://127.0.0.1:9/someone/some-model/resolve/{MODEL.revision}/{file.name}" in caught.value.remedy
        assert file.sha256 in caught.value.remedy
    assert str(tmp_path / "someone--some-model" / MODEL.revision) in caught.value.remedy


def test_find_model_in_a_folder_of_the_users_own(server, tmp_path):
    with pytest.raises(InputError, match=r"lacks config.json, tokenizer.json, model.safetensors or pytorch_model.bin"):
        find_model(MODEL, tmp_path)
    for name, data in CONTENT.items():
        (tmp_path / name).write_bytes(data + b"mine")
    assert find_model(MODEL, tmp_path) == [tmp_path / name for name in CONTENT]
    (tmp_path / "model.safetensors").touch()
    assert find_model(MODEL, tmp_path)[2].name == "model.safetensors"
    assert not server[1]


def test_models_are_pinned_to_a_commit_on_the_hub(monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    for model in MODELS.values():
        assert len(model.revision) == 40
        assert [file.name for file in model.files] == ["config.json", "tokenizer.json", "pytorch_model.bin"]
        assert all(len(bytes.fromhex(file.sha256)) == 32 for file in model.files)
    url = MODELS["dnabert-s"].get_url(MODELS["dnabert-s"].files[0])
    assert url == f"https://huggingface.co/zhihan1996/DNABERT-S/resolve/{MODELS['dnabert-s'].revision}/config.json"


def test_pinned_tokenizer_is_the_one_of_the_tests(repository):
    data = (repository / "tests/data/dnabert2/tokenizer.json").read_bytes()
    pinned = MODELS["dnabert2"].files[1]
    assert (len(data), hashlib.sha256(data).hexdigest()) == (pinned.size, pinned.sha256)
