"""What `reads.json` holds, and how files are compared with it."""

import json

import pytest

from readclade.errors import InputError
from readclade.inputs.tables import Lane
from readclade.reads.plan import check_lane, load_reads
from readclade.reads.summary import summarise_reads


@pytest.fixture
def path(tmp_path):
    """Return a FASTQ file of one read."""
    path = tmp_path / "reads.fastq"
    path.write_text("@a\nACGT\n+\nIIII\n")
    return path


@pytest.mark.parametrize("has_origins", [False, True])
@pytest.mark.parametrize("is_cleaned", [False, True])
def test_plan_is_the_same_after_a_file(path, tmp_path, has_origins, is_cleaned):
    cleaning = {"counts": {"reads_in": 2}, "tools": {"cutadapt": "1"}} if is_cleaned else None
    origins = [[{"path": str(path)}]] if has_origins else None
    lanes = [Lane(str(path), None)]
    plan = summarise_reads("s", "ont", lanes, tmp_path / "out", 1000, origins=origins, cleaning=cleaning)
    assert load_reads(tmp_path / "out/reads.json") == plan
    text = (tmp_path / "out/reads.json").read_text()
    assert plan.to_json() == text
    # The order of the entries, and which ones there are, are those of the file.
    value = json.loads(text)
    names = ["sample", "platform", "fragments", "reads", "bases", "lengths", "gc", "unknown_bases", "qualities"]
    names += ["artefacts", "warnings", "repeated"]
    assert list(value) == [*names, "lanes", *(["cleaning"] if is_cleaned else []), "shards"]
    names = ["fq1", "fq2", "sha256", "etags", "fragments", "reads", "bases", "indexes"]
    assert list(value["lanes"][0]) == [*names, *(["origins"] if has_origins else [])]
    shard = {"lane": 0, "first_fragment": 0, "fragments": 1, "bases": 4, "begin": [0], "end": [15]}
    assert value["shards"] == [shard]
    assert list(value["shards"][0]) == list(shard)
    assert text == json.dumps(value, indent=1) + "\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [('"shards"', '"shrads"', "it has no 'shards'"), ('"end"', '"ned"', "'ned'"), ('"sample"', '"smaple"', "'smaple'")],
)
def test_load_reads_refuses_what_is_no_plan(path, tmp_path, old, new, message):
    summarise_reads("s", "ont", [Lane(str(path), None)], tmp_path, 1000)
    summary = tmp_path / "reads.json"
    summary.write_text(summary.read_text().replace(old, new))
    with pytest.raises(InputError, match=f"cannot be read: .*{message}") as caught:
        load_reads(summary)
    assert caught.value.remedy == "run `fetch` for this sample"


def test_check_lane_refuses_a_file_of_the_same_size_with_other_content(path, tmp_path):
    lane = summarise_reads("s", "ont", [Lane(str(path), None)], tmp_path / "out", 1000).lanes[0]
    check_lane(lane)
    path.write_text("@a\nACGA\n+\nIIII\n")
    with pytest.raises(InputError, match="its checksum changed") as caught:
        check_lane(lane)
    assert caught.value.path == str(path)
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        check_lane(lane)
