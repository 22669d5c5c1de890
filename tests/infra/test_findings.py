"""The templates have no finding of cfn-lint or checkov that is not argued for, and no argument outlives its finding."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from infra.app import make_stacks

ROOT = Path(__file__).parents[2]
Finding = tuple[str, str, str]  # tool, rule, stack.LogicalId


@pytest.fixture(scope="module")
def build(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    for stack in make_stacks():
        stack.write(folder)
    return folder


def run_json(*command: str | Path) -> list | dict:
    """Return what a linter says; its exit status only tells whether it found anything."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        raise AssertionError(f"{command[0]} failed: {done.stdout}{done.stderr}") from None


def find_with_cfn_lint(folder: Path) -> set[Finding]:
    """Return what cfn-lint finds, its hints and warnings included."""
    command = [Path(sys.executable).parent / "cfn-lint", "--format", "json", "--include-checks", "I"]
    findings = run_json(*command, "--regions", "us-east-2", "--", *sorted(folder.glob("*.template.json")))
    return {
        (
            "cfn-lint",
            finding["Rule"]["Id"],
            Path(finding["Filename"]).name.split(".")[0] + "." + str((finding["Location"]["Path"] or ["", ""])[1]),
        )
        for finding in findings
    }


def find_with_checkov(folder: Path) -> set[Finding]:
    """Return what checkov finds; without an account of its maker it knows no severity, so all counts."""
    command = [ROOT / ".venv-checkov/bin/python", "-m", "checkov.main", "--framework", "cloudformation"]
    report = run_json(*command, "--skip-download", "--quiet", "--output", "json", "--directory", folder)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 50
    return {
        (
            "checkov",
            finding["check_id"],
            finding["file_path"].strip("/").split(".")[0] + "." + finding["resource"].split(".")[-1],
        )
        for finding in report["results"]["failed_checks"]
    }


@pytest.fixture(scope="module")
def accepted() -> set[Finding]:
    entries = yaml.safe_load((ROOT / "infra/accepted-findings.yaml").read_text())
    for entry in entries:
        assert set(entry) == {"tool", "id", "resource", "reason"}
        assert len(entry["reason"].split()) >= 8, f"{entry}: say why"
    return {(entry["tool"], entry["id"], entry["resource"]) for entry in entries}


@pytest.mark.parametrize(
    ("tool", "find"), [("cfn-lint", find_with_cfn_lint), ("checkov", find_with_checkov)], ids=["cfn-lint", "checkov"]
)
def test_every_finding_is_argued_for_and_no_more(build, accepted, tool, find):
    assert find(build) == {entry for entry in accepted if entry[0] == tool}


@pytest.mark.parametrize(
    ("find", "rule"), [(find_with_cfn_lint, "E3003"), (find_with_checkov, "CKV_AWS_21")], ids=["cfn-lint", "checkov"]
)
def test_linters_find_what_is_wrong(tmp_path, find, rule):
    template = {
        "Resources": {
            "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {}},
            "Role": {"Type": "AWS::IAM::Role", "Properties": {}},
        }
        | {f"Private{i}": _make_private_bucket() for i in range(10)}
    }
    (tmp_path / "wrong.template.json").write_text(json.dumps(template))
    assert rule in {finding[1] for finding in find(tmp_path)}


def _make_private_bucket() -> dict:
    block = dict.fromkeys(("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True)
    return {
        "Type": "AWS::S3::Bucket",
        "Properties": {
            "PublicAccessBlockConfiguration": block,
            "VersioningConfiguration": {"Status": "Enabled"},
        },
    }
