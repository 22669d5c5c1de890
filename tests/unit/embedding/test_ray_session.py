"""What goes wrong between this process and Ray is told as what a person can mend."""

import tempfile

import pytest

from readclade.embedding import ray_session
from readclade.embedding.ray_session import running_ray
from readclade.errors import ConfigError, ReadcladeError


def test_running_ray_lost_connection_is_not_told_as_an_error_of_the_disk(lines):
    with pytest.raises(ReadcladeError, match="cut off") as caught, running_ray(1, None):
        raise ConnectionError("cut off")
    assert caught.value.message.startswith("Ray does not answer")
    assert "check that the cluster runs" in caught.value.remedy
    assert lines[0].startswith("Ray is ready")


def test_running_ray_in_a_long_folder_for_temporary_files(tmp_path, monkeypatch, lines):
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert ray_session._choose_folder() == "/tmp/ray"
    with running_ray(1, None):
        assert lines[0].startswith("Ray is ready")


def test_running_ray_without_a_short_folder_says_so(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/" + 60 * "x")
    monkeypatch.setattr(ray_session.os, "access", lambda *_: False)
    with pytest.raises(ConfigError, match="too long for Ray's sockets") as caught:
        ray_session._choose_folder()
    assert "TMPDIR" in caught.value.remedy
