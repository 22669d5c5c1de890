"""The comparison of embedders reads its arguments; tests/workflow runs it on the demo."""

import sys
from pathlib import Path

import pytest

from readclade.errors import ConfigError

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
from compare_embedders import parse_embedder


def test_parse_embedder_reads_names_and_parameters():
    assert parse_embedder("kmer") == ("kmer", {})
    assert parse_embedder("kmer:k=5") == ("kmer", {"k": 5})
    assert parse_embedder("lshvec:model=a/b.safetensors,x=1") == ("lshvec", {"model": "a/b.safetensors", "x": 1})


def test_parse_embedder_refuses_a_parameter_without_a_value():
    with pytest.raises(ConfigError, match="'k5' in 'kmer:k5' is no parameter") as caught:
        parse_embedder("kmer:k5")
    assert "name:parameter=value" in caught.value.remedy
