"""The sums in docs/cloud-costs.md follow from the prices and from what the stacks can start."""

import re
from pathlib import Path

import pytest
import yaml

from infra.network.stack import ENDPOINTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/cloud-costs.md").read_text()


def find_price(row: str) -> float:
    """Return the last number of dollars in the row of the table whose text begins so."""
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {row}")]
    return float(re.search(r"\*{0,2}(\d+\.\d+)", line.split("|")[3])[1])


@pytest.fixture(scope="module")
def idle() -> float:
    lines = [line.split("|") for line in PAGE.splitlines() if re.match(r"\|[^|]+\| always", line)]
    assert len(lines) == 6
    return sum(float(line[3]) for line in lines)


def test_idle_is_the_sum_of_what_always_runs(idle):
    assert find_price("**idle, all of it**") == pytest.approx(idle, abs=0.005)
    assert f"{round(24 * idle)} a day, {round(730 * idle)} a month" in PAGE


def test_busy_is_idle_and_the_nodes(idle):
    assert find_price("**busy, phase 1**") == pytest.approx(idle + 4 * find_price("embedding: g4dn.xlarge"), abs=0.005)
    assert find_price("**busy, phase 2**") == pytest.approx(idle + 2 * find_price("clustering"), abs=0.005)


def test_most_is_what_the_queues_can_start():
    prices = {
        "g4dn.12xlarge": find_price("embedding on Slurm"),
        "hpc6a.48xlarge": find_price("clustering"),
        "r5.4xlarge": find_price("labels and reports"),
        "r5.24xlarge": find_price("labels of very large"),
    }
    queues = yaml.safe_load((ROOT / "infra/pcluster/cluster.yaml").read_text())["Scheduling"]["SlurmQueues"]
    nodes = [resource for queue in queues for resource in queue["ComputeResources"]]
    most = sum(node["MaxCount"] * prices[node["InstanceType"]] for node in nodes)
    assert find_price("**the most that") == pytest.approx(most, abs=0.005)


def test_endpoints_cost_a_cent_each():
    assert f"| {len(ENDPOINTS)} interface endpoints, one zone | always | {0.01 * len(ENDPOINTS):.3f} |" in PAGE
