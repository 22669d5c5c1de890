"""The whole chain through Slurm, S3 and Ray gives what one machine gives, at the places that the profile names."""

import hashlib
import json

import pytest

from readclade.shards.manifest import read_manifest

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
STAGES = {"fetch", "embed", "stage", "cluster", "index_references", "label", "evaluate", "report", "sync_results"}


def test_results_are_those_of_a_plain_run(chain, plain):
    assert chain.read_results("pairs") == plain


def test_every_stage_ran_as_a_job_of_slurm(slurm, chain):
    jobs = slurm.list_jobs("COMPLETED")
    assert {comment.removeprefix("rule_").partition("_wildcards")[0] for _, comment, _ in jobs} >= STAGES


def test_shards_are_on_s3_and_were_made_by_a_job_on_ray(chain, head, store, bucket):
    path = chain.directory / "shards/pairs/manifest.json"
    manifest = read_manifest(path)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert manifest.location == f"{bucket}/{chain.profile.parent.name}/shards/pairs"
    client, prefix = store.make_client(), manifest.location.removeprefix(f"{bucket}/")
    for shard in manifest.shards:
        body = client.get_object(Bucket=bucket.removeprefix("s3://"), Key=f"{prefix}/{shard.file}")["Body"].read()
        assert hashlib.sha256(body).hexdigest() == shard.sha256
    [job] = [job for job in head.list_jobs() if job["metadata"]["readclade_store"] == manifest.location]
    assert job["status"] == "SUCCEEDED"


def test_staged_shards_are_gone_at_the_end(chain):
    assert not (chain.directory / "staged/pairs").exists()


def test_results_are_on_s3_with_a_receipt(chain, store, bucket):
    client, prefix = store.make_client(), f"{chain.profile.parent.name}/results"

    def read(name: str) -> bytes:
        return client.get_object(Bucket=bucket.removeprefix("s3://"), Key=f"{prefix}/{name}")["Body"].read()

    receipt = json.loads(read("receipt.json"))
    assert receipt == json.loads((chain.directory / "synced/receipt.json").read_text())
    results = chain.directory / "results"
    names = {path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file()}
    assert {file["path"] for file in receipt["files"]} == names
    for file in receipt["files"]:
        assert hashlib.sha256(read(file["path"])).hexdigest() == file["sha256"]
        assert read(file["path"]) == (results / file["path"]).read_bytes()


def test_second_run_has_nothing_to_do(chain):
    assert chain.run() == 0
    assert "Nothing to be done" in chain.read_output()
