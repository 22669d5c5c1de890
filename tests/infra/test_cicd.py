"""The pipeline: its stages, what each step may do, and the scripts that the steps run."""

import json
import os
import stat
import subprocess

import pytest
import yaml

from infra.cicd.stack import make_cicd
from infra.image.stack import make_image
from infra.network.stack import make_network
from infra.ray.stack import make_ray
from infra.storage.stack import make_storage
from infra.template import ROOT
from tests.infra.resolve import Resolver

COMMIT = "0123456789abcdef0123456789abcdef01234567"
URI = "111122223333.dkr.ecr.us-east-2.amazonaws.com/readclade"
DIGEST = "sha256:" + "0123456789abcdef" * 4
PARAMETERS = {
    "ConnectionArn": "arn:aws:codeconnections:us-east-2:111122223333:connection/0a1b2c3d",
    "Repository": "owner/readclade",
}
DEPLOY_ROLE = "arn:aws:iam::111122223333:role/deploy"


@pytest.fixture(scope="module")
def template():
    storage = make_storage()
    image = make_image(storage)
    return make_cicd(storage, image, make_ray(storage, make_network(storage), image)).to_template()


@pytest.fixture
def resources(template):
    return Resolver(template, **PARAMETERS, DeployRoleArn=DEPLOY_ROLE).get_resources()


def get_statements(resources, role):
    (own,) = resources[role]["Properties"]["Policies"]
    return own["PolicyDocument"]["Statement"]


def get_actions(resources, role, effect="Allow"):
    statements = get_statements(resources, role)
    return {action for entry in statements if entry["Effect"] == effect for action in entry["Action"]}


def test_pipeline_tests_before_anything_is_built_or_changed(resources):
    stages = resources["Pipeline"]["Properties"]["Stages"]
    assert [stage["Name"] for stage in stages] == ["Source", "Test", "Image", "Stacks", "Ray"]
    agree, update = next(stage for stage in stages if stage["Name"] == "Stacks")["Actions"]
    assert agree["ActionTypeId"]["Category"] == "Approval"
    assert agree["RunOrder"] < update["RunOrder"]


def test_pipeline_without_a_role_leaves_stacks_alone(template):
    resources = Resolver(template, **PARAMETERS).get_resources()
    assert [stage["Name"] for stage in resources["Pipeline"]["Properties"]["Stages"]] == [
        "Source",
        "Test",
        "Image",
        "Ray",
    ]
    assert not {"Stacks", "StacksRole", "StacksLog"} & set(resources)


def test_pipeline_hands_the_image_by_digest_to_the_last_step(resources):
    stages = {stage["Name"]: stage for stage in resources["Pipeline"]["Properties"]["Stages"]}
    (image,) = stages["Image"]["Actions"]
    (apply,) = stages["Ray"]["Actions"]
    (variable,) = json.loads(apply["Configuration"]["EnvironmentVariables"])
    namespace, name = variable["value"].strip("#{}").split(".")
    assert namespace == image["Namespace"]
    exported = yaml.safe_load((ROOT / "infra/cicd/image.yaml").read_text())["env"]["exported-variables"]
    assert exported == [name]
    assert variable["name"] == "IMAGE"
    assert '"$IMAGE"' in (ROOT / "infra/ray/buildspec.yaml").read_text()


def test_builds_name_files_that_exist_and_take_variables_that_are_given(resources):
    given = {"CODEBUILD_RESOLVED_SOURCE_VERSION"}
    builds = [entry["Properties"] for entry in resources.values() if entry["Type"] == "AWS::CodeBuild::Project"]
    assert len(builds) == 3
    for build in builds:
        spec = yaml.safe_load((ROOT / build["Source"]["BuildSpec"]).read_text())
        commands = [command for phase in spec["phases"].values() for command in phase.get("commands", [])]
        known = given | {variable["Name"] for variable in build["Environment"].get("EnvironmentVariables", [])}
        for command in commands:
            subprocess.run(["bash", "-n", "-c", command], check=True)
            used = {word.strip('"$)') for word in command.split() if word.startswith('"$')}
            assert used <= known, (build["Source"]["BuildSpec"], used - known)


def test_only_the_image_is_built_with_docker(resources):
    for name in ("Test", "Image", "Stacks"):
        environment = resources[name]["Properties"]["Environment"]
        assert environment.get("PrivilegedMode", False) == (name == "Image"), name


def test_tests_have_no_right_but_to_take_the_commit_and_write_their_log(resources):
    assert get_actions(resources, "TestRole") == {
        "kms:Decrypt",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "s3:GetObject",
        "s3:GetObjectVersion",
    }


def test_image_step_adds_images_and_removes_none(resources):
    actions = get_actions(resources, "ImageRole")
    assert "ecr:PutImage" in actions
    assert not {action for action in actions if "Delete" in action or action.startswith("ecr:Set")}


def test_stacks_step_passes_one_role_and_cannot_change_the_pipeline(resources):
    statements = get_statements(resources, "StacksRole")
    (passed,) = [entry for entry in statements if "iam:PassRole" in entry["Action"]]
    assert passed["Resource"] == DEPLOY_ROLE
    assert passed["Condition"] == {"StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}}
    (denied,) = [entry for entry in statements if entry["Effect"] == "Deny"]
    assert denied["Resource"].endswith(":stack/readclade-cicd/*")
    assert {"cloudformation:CreateChangeSet", "cloudformation:ExecuteChangeSet"} <= set(denied["Action"])


def test_pipeline_starts_its_own_builds_only(resources):
    (start,) = [
        entry for entry in get_statements(resources, "PipelineRole") if "codebuild:StartBuild" in entry["Action"]
    ]
    assert start["Resource"] == [
        "get:Test.Arn",
        "get:Image.Arn",
        "import:readclade-RayApplyProjectArn",
        "get:Stacks.Arn",
    ]


def test_rights_fit_the_place_where_codepipeline_puts_the_commit(template, resources):
    """CodePipeline cuts the pipeline's name after 20 characters to name its folder."""
    longest = "a" + "b" * 15
    assert template["Parameters"]["Project"]["AllowedPattern"] == "[a-z][a-z0-9-]{1,15}"
    resolved = Resolver(template, **PARAMETERS, Project=longest).get_resources()
    name = resolved["Pipeline"]["Properties"]["Name"]
    assert len(name) <= 20
    (take,) = [entry for entry in get_statements(resolved, "TestRole") if "s3:GetObject" in entry["Action"]]
    assert take["Resource"].endswith(f"/{name[:20]}/*")
    storage = make_storage()
    ray = make_ray(storage, make_network(storage), make_image(storage)).to_template()
    ray = Resolver(ray, Project=longest).get_resources()
    assert f"/{name[:20]}/*" in json.dumps(get_statements(ray, "ApplyRole"))


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Return a function that puts a program of a name in front of the real one; calls stand in `calls`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("STATE", str(tmp_path))

    def write(name, body):
        path = folder / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >> "$CALLS"\n{body}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return write


def run_script(name, *arguments, cwd=ROOT):
    return subprocess.run([ROOT / name, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


class TestPushImage:
    """docker and the registry are stood in for: neither exists here."""

    @pytest.fixture
    def calls(self, stand_in, tmp_path):
        stand_in("docker", '[ "$1" = push ] && touch "$STATE/pushed"; [ "$1" = login ] && cat > /dev/null; exit 0')
        stand_in(
            "aws",
            'case "$2" in describe-images) [ -e "$STATE/pushed" ] || { echo ImageNotFoundException >&2; exit 254; }; '
            f"echo {DIGEST};; get-login-password) echo secret-password;; esac",
        )
        return lambda: (tmp_path / "calls").read_text().splitlines()

    def test_builds_pushes_and_prints_the_digest(self, calls):
        done = run_script("infra/image/push_image.sh", URI, COMMIT)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{URI}@{DIGEST}\n"
        made = [line for line in calls() if line.startswith("docker")]
        assert [line.split()[1] for line in made] == ["login", "build", "push"]
        assert made[0].endswith("--password-stdin 111122223333.dkr.ecr.us-east-2.amazonaws.com")
        assert all("secret-password" not in line for line in [*calls(), done.stdout, done.stderr])
        assert all("--region us-east-2" in line for line in calls() if line.startswith("aws"))

    def test_builds_nothing_where_the_commit_has_an_image(self, calls, tmp_path):
        (tmp_path / "pushed").touch()
        assert run_script("infra/image/push_image.sh", URI, COMMIT).stdout == f"{URI}@{DIGEST}\n"
        assert not [line for line in calls() if line.startswith("docker")]

    def test_refuses_a_registry_that_gives_no_digest(self, stand_in):
        stand_in("aws", "echo None")
        done = run_script("infra/image/push_image.sh", URI, COMMIT)
        assert done.returncode == 1
        assert "gives 'None' in place of a digest" in done.stderr
        assert done.stdout == ""

    @pytest.mark.parametrize(
        ("uri", "commit", "said"),
        [("docker.io/readclade", COMMIT, "no repository of ECR"), (URI, "main", "no commit"), (URI, "", "no commit")],
    )
    def test_refuses_another_registry_and_what_is_no_commit(self, uri, commit, said):
        done = run_script("infra/image/push_image.sh", uri, commit)
        assert done.returncode == 2
        assert said in done.stderr

    def test_prints_nothing_where_the_push_fails(self, calls, stand_in):
        stand_in("docker", '[ "$1" = push ] && exit 1; cat > /dev/null; exit 0')
        done = run_script("infra/image/push_image.sh", URI, COMMIT)
        assert done.returncode != 0
        assert done.stdout == ""


class TestDeployStacks:
    """AWS's command line is stood in for; the templates and the archive are this commit's."""

    @pytest.fixture
    def deploy(self, stand_in, tmp_path, monkeypatch):
        def call(existing, *role, refuse=""):
            names = "|".join(f"readclade-{name}" for name in existing) or "none"
            stand_in(
                "aws",
                '[ "$2" = describe-stacks ] || exit 0\n'
                f'[ -z "{refuse}" ] || {{ echo "{refuse}" >&2; exit 254; }}\n'
                f'case "$4" in {names}) exit 0;; esac\necho "Stack with id $4 does not exist" >&2\nexit 254',
            )
            stand_in("python", 'for name in storage ray pcluster cicd; do echo "x/$name.template.json"; done')
            monkeypatch.setenv("PYTHON", "python")
            archive = tmp_path / "infra/build/code/workflow" / ("ab" * 32 + ".tar.gz")
            archive.parent.mkdir(parents=True, exist_ok=True)
            archive.touch()
            done = run_script("infra/cicd/deploy_stacks.sh", "readclade", "code", *role, cwd=tmp_path)
            lines = (tmp_path / "calls").read_text().splitlines()
            return done, [line for line in lines if "cloudformation deploy" in line], lines

        return call

    def test_updates_the_stacks_that_exist_in_order_but_not_the_pipeline(self, deploy):
        done, updates, lines = deploy(["storage", "pcluster", "cicd"], DEPLOY_ROLE)
        assert done.returncode == 0, done.stderr
        assert [line.split("--stack-name ")[1].split()[0] for line in updates] == [
            "readclade-storage",
            "readclade-pcluster",
        ]
        assert all(f"--role-arn {DEPLOY_ROLE}" in line for line in updates)
        assert "readclade-ray does not exist, and is not made" in done.stdout
        syncs = [line.split()[-1] for line in lines if line.startswith("aws s3 sync")]
        assert syncs == ["s3://code/workflow", "s3://code/pcluster"]

    def test_only_the_slurm_cluster_gets_the_checksum_of_the_workflow(self, deploy):
        _, (storage, pcluster), _ = deploy(["storage", "pcluster"])
        assert storage.endswith("--parameter-overrides Project=readclade")
        assert pcluster.endswith(f"Project=readclade WorkflowSha256={'ab' * 32}")
        assert "--role-arn" not in storage

    def test_stops_where_it_may_not_look(self, deploy):
        done, updates, _ = deploy(["storage"], refuse="ExpiredToken")
        assert done.returncode == 1
        assert "ExpiredToken" in done.stderr
        assert not updates
