"""Simulated reads: the same seed gives the same bytes, and errors and lengths are what was asked for."""

import numpy as np
import pytest

from benchmarks.communities import simulation
from readclade.errors import InputError, ReadcladeError


def make_genome(size_bp: int) -> bytes:
    return simulation.BASES[np.random.default_rng(7).integers(0, 4, size_bp)].tobytes()


def test_simulate_long_reads_same_seed_gives_same_bytes():
    genome = make_genome(20_000)
    once, again, other = (simulation.simulate_long_reads(genome, 3, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert once == again
    assert once != other
    assert sum(len(sequence) for sequence, _ in once) >= 3 * 0.98 * len(genome)


@pytest.mark.parametrize(("mean_bp", "error_rate"), [(5000, 0.05), (2000, 0.1), (10_000, 0.005)])
def test_describe_long_reads_gives_asked_length_and_error_rate(mean_bp, error_rate):
    look = simulation.describe_long_reads(mean_bp, error_rate)
    reads = simulation.simulate_long_reads(make_genome(300_000), 40, np.random.default_rng(1), look)
    assert np.mean([len(sequence) for sequence, _ in reads]) == pytest.approx(mean_bp, rel=0.06)
    errors = np.concatenate([np.frombuffer(qualities, np.uint8) for _, qualities in reads])
    assert np.mean(10 ** (-(errors - 33.0) / 10)) == pytest.approx(error_rate, rel=0.06)


@pytest.mark.parametrize(("shares", "growth"), [((1, 0, 0), 0), ((0, 1, 0), 0.05), ((0, 0, 1), -0.05)])
def test_add_errors_makes_each_kind_at_its_rate(shares, growth, monkeypatch):
    for name, share in zip(("SUBSTITUTED", "INSERTED", "DELETED"), shares, strict=True):
        monkeypatch.setattr(simulation, name, share)
    template = make_genome(100_000)
    read = simulation.add_errors(template, 0.05, np.random.default_rng(1))
    assert len(read) / len(template) - 1 == pytest.approx(growth, abs=0.003)
    if growth == 0:
        assert np.mean([a != b for a, b in zip(template, read, strict=True)]) == pytest.approx(0.05, abs=0.003)


def test_add_errors_keeps_n():
    read = simulation.add_errors(b"N" * 1000, 1, np.random.default_rng(1))
    assert 0 < read.count(b"N") < 1000


def test_simulate_pairs_too_long_reads_are_refused():
    with pytest.raises(ReadcladeError, match="reads of 300 bases"):
        simulation.simulate_pairs(make_genome(1000), 1, 1, read_bp=300)


def test_read_fasta_missing_file_names_file_and_remedy(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.fa\.gz: the file is missing\n  remedy: get it"):
        simulation.read_fasta(tmp_path / "nothing.fa.gz", "get it")
