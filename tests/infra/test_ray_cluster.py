"""The cluster file of Ray: accepted by Ray's own schema and scheduler, pinned, bounded, and refused half-filled."""

import json
import re
import subprocess
import sys

import pytest
import yaml

pytest.importorskip("ray", reason="the cluster file is checked by Ray itself: make infra")

from infra.ray.render_cluster import CLUSTER, check_cluster, render_cluster
from infra.template import ROOT
from readclade.errors import ConfigError

DIGEST = "0123456789abcdef" * 4
IMAGE = f"123456789012.dkr.ecr.us-east-2.amazonaws.com/readclade@sha256:{DIGEST}"
OUTPUTS = {
    "RayRegion": "us-east-2",
    "RayCluster": "readclade-ray",
    "RayKeyName": "readclade-ray",
    "RayAmi": "ami-0123456789abcdef0",
    "ComputeSubnetId": "subnet-0123456789abcdef0",
    "SecondSubnetId": "subnet-0123456789abcdef1",
    "RayGroup": "sg-0123456789abcdef0",
    "RayHeadProfile": "arn:aws:iam::123456789012:instance-profile/readclade-ray-Head",
    "RayWorkerProfile": "arn:aws:iam::123456789012:instance-profile/readclade-ray-Worker",
    "RayTokenParameter": "/readclade/ray/token",
}


@pytest.fixture(scope="module")
def rendered():
    return render_cluster(CLUSTER.read_text(), OUTPUTS, IMAGE)


@pytest.fixture(scope="module")
def cluster(rendered):
    """Return the cluster file as Ray completes it."""
    return check_cluster(yaml.safe_load(rendered))


@pytest.fixture(scope="module")
def workers(cluster):
    kinds = cluster["available_node_types"]
    return {name: kind for name, kind in kinds.items() if name != cluster["head_node_type"]}


def test_render_cluster_fills_everything(rendered):
    assert not re.search(r"\$\{[A-Z]", rendered)
    for value in [*OUTPUTS.values(), IMAGE]:
        assert value in rendered, f"{value} was given and is not used"


@pytest.mark.parametrize(
    "image",
    [
        "123456789012.dkr.ecr.us-east-2.amazonaws.com/readclade:latest",
        "123456789012.dkr.ecr.us-east-2.amazonaws.com/readclade@sha256:" + "0" * 64,
        "123456789012.dkr.ecr.us-east-2.amazonaws.com/readclade@sha256:abc",
        f"rayproject/ray@sha256:{DIGEST}",
        "${Image}",
        "",
    ],
)
def test_render_cluster_refuses_an_image_that_is_not_pinned(image):
    with pytest.raises(ConfigError, match="by digest") as caught:
        render_cluster(CLUSTER.read_text(), OUTPUTS, image)
    assert "sha256:DIGEST" in str(caught.value)


@pytest.mark.parametrize("name", OUTPUTS)
def test_render_cluster_refuses_an_output_that_is_missing_or_of_another_form(name):
    for outputs in ({**OUTPUTS, name: ""}, {key: value for key, value in OUTPUTS.items() if key != name}):
        with pytest.raises(ConfigError, match=name):
            render_cluster(CLUSTER.read_text(), outputs, IMAGE)
    with pytest.raises(ConfigError, match=name):
        render_cluster(CLUSTER.read_text(), {**OUTPUTS, name: "$(rm -rf /)"}, IMAGE)


def test_render_cluster_refuses_another_region_and_a_single_zone():
    with pytest.raises(ConfigError, match="the image is in us-east-2"):
        render_cluster(CLUSTER.read_text(), {**OUTPUTS, "RayRegion": "eu-north-1"}, IMAGE)
    with pytest.raises(ConfigError, match="same"):
        render_cluster(CLUSTER.read_text(), {**OUTPUTS, "SecondSubnetId": OUTPUTS["ComputeSubnetId"]}, IMAGE)


def test_render_cluster_refuses_a_placeholder_without_a_value():
    with pytest.raises(ConfigError, match="Unknown"):
        render_cluster(CLUSTER.read_text() + "\nmetadata: {x: '${Unknown}'}\n", OUTPUTS, IMAGE)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("idle_timeout_minutes: 5", "idle_timeout_minutes: five", "idle_timeout_minutes"),
        ("cluster_name: ${RayCluster}", "cluster_name: ${RayCluster}\nworkers: 3", "workers"),
        ("head_node_type: head", "head_node_type: chief", "head_node_type"),
    ],
)
def test_render_cluster_says_what_ray_refuses(old, new, said):
    text = CLUSTER.read_text()
    assert old in text
    with pytest.raises(ConfigError, match=said):
        render_cluster(text.replace(old, new), OUTPUTS, IMAGE)


def test_render_cluster_writes_a_file_from_outputs(tmp_path):
    (tmp_path / "outputs.json").write_text(json.dumps(OUTPUTS))
    command = [sys.executable, "-m", "infra.ray.render_cluster", "--image", IMAGE]
    command += ["--outputs", str(tmp_path / "outputs.json"), "--out", str(tmp_path / "cluster.yaml")]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": "src"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load((tmp_path / "cluster.yaml").read_text())["docker"]["image"] == IMAGE
    (tmp_path / "outputs.json").write_text("{")
    failed = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": "src"}, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert f"error: {tmp_path}/outputs.json: cannot be read" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_cluster_is_bounded_and_lets_go_of_idle_nodes(cluster, workers):
    assert cluster["idle_timeout_minutes"] == 5
    assert cluster["max_workers"] == 8
    for name, kind in workers.items():
        assert kind["min_workers"] == 0, name
        assert 0 < kind["max_workers"] <= cluster["max_workers"], name
    assert cluster["provider"]["cache_stopped_nodes"] is False


def test_cluster_states_the_resources_of_each_type(cluster, workers):
    assert cluster["available_node_types"]["head"]["resources"] == {"CPU": 0, "GPU": 0}
    assert "--num-cpus=0 --num-gpus=0" in cluster["head_start_ray_commands"][1]
    # vCPUs and GPUs of each type; source: Amazon EC2 Instance Types Guide.
    real = {"g4dn.xlarge": (4, 1), "g4dn.2xlarge": (8, 1), "g5.xlarge": (4, 1), "c6i.4xlarge": (16, 0)}
    for name, kind in workers.items():
        stated = (kind["resources"]["CPU"], kind["resources"]["GPU"])
        assert stated == real[kind["node_config"]["InstanceType"]], name
        assert ("--gpus all" in kind["docker"]["worker_run_options"]) == (stated[1] > 0), name


def test_cluster_nodes_are_private_encrypted_and_ask_for_session_tokens(cluster):
    assert cluster["provider"]["use_internal_ips"] is True
    assert "security_group" not in cluster["provider"], "Ray would open port 22 to the world"
    for name, kind in cluster["available_node_types"].items():
        node = kind["node_config"]
        head = name == cluster["head_node_type"]
        assert node["MetadataOptions"]["HttpTokens"] == "required", name
        assert node["MetadataOptions"]["HttpPutResponseHopLimit"] == 1, name
        assert node["SecurityGroupIds"] == [OUTPUTS["RayGroup"]], name
        assert node["SubnetIds"] == [OUTPUTS["ComputeSubnetId"], OUTPUTS["SecondSubnetId"]], name
        assert node["IamInstanceProfile"]["Arn"] == OUTPUTS["RayHeadProfile" if head else "RayWorkerProfile"], name
        assert all(
            disk["Ebs"]["Encrypted"] and disk["Ebs"]["DeleteOnTermination"] for disk in node["BlockDeviceMappings"]
        )
        assert ("InstanceMarketOptions" in node) == name.endswith("-spot"), name


def test_cluster_opens_the_dashboard_to_the_head_alone_and_asks_for_the_token(cluster):
    start = cluster["head_start_ray_commands"][1]
    assert "--dashboard-host=127.0.0.1" in start
    options = " ".join(cluster["docker"]["run_options"])
    assert "RAY_AUTH_MODE=token" in options
    assert "RAY_AUTH_TOKEN=" not in options, "the token would stand in `docker inspect`"
    assert not {"--privileged", "--publish"} & set(options.split())
    assert cluster["auth"]["ssh_proxy_use_node_id"] is True
    assert "AWS-StartSSHSession" in cluster["auth"]["ssh_proxy_command"]


def test_cluster_commands_are_valid_shell(cluster):
    names = ("initialization_commands", "head_start_ray_commands", "worker_start_ray_commands")
    for command in (command for name in names for command in cluster[name]):
        checked = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, (command, checked.stderr)


@pytest.mark.parametrize(
    ("running", "remains"), [(IMAGE, True), (IMAGE.replace(DIGEST, DIGEST[::-1]), False), ("", False)]
)
def test_cluster_replaces_a_container_of_another_image(cluster, tmp_path, running, remains):
    """Ray itself leaves a container with the old image running, so that a new one would never start."""
    docker = tmp_path / "docker"
    docker.write_text(
        f'#!/bin/sh\n[ "$1" = inspect ] && echo "{running}"\n[ "$1" = rm ] && touch {tmp_path}/removed\nexit 0\n'
    )
    docker.chmod(0o755)
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["bash", "-c", cluster["initialization_commands"][-1]], env=path, check=True)
    assert (tmp_path / "removed").exists() != remains


class TestScheduling:
    """Ray's own scheduler decides which nodes a request starts."""

    @staticmethod
    def schedule(cluster, bundles, failed=()):
        from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
        from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
        from ray.autoscaler.v2.utils import ResourceRequestUtil

        config = AutoscalingConfig(cluster, skip_content_hash=True)
        kinds = config.get_node_type_configs()
        request = SchedulingRequest(
            node_type_configs=kinds,
            disable_launch_config_check=True,
            max_num_nodes=config.get_max_num_worker_nodes(),  # the head, the one node more, is not among them here
            resource_requests=ResourceRequestUtil.group_by_count(
                [ResourceRequestUtil.make(bundle) for bundle in bundles]
            ),
            cloud_resource_availabilities=dict.fromkeys(failed, 0.0),
            recoverable_resource_availabilities=dict.fromkeys(failed, 0.0),
        )
        reply = ResourceDemandScheduler().schedule(request)
        return {launch.instance_type: launch.count for launch in reply.to_launch}

    @pytest.fixture
    def keyed(self, cluster, tmp_path):
        """Return the cluster file with a key that exists: Ray hashes its content."""
        (tmp_path / "key.pem").write_text("no key")
        return {**cluster, "auth": {**cluster["auth"], "ssh_private_key": str(tmp_path / "key.pem")}}

    def test_gpu_actors_start_t4_on_spot_up_to_the_bound(self, keyed):
        assert self.schedule(keyed, [{"CPU": 1, "GPU": 1}] * 3) == {"gpu-t4-spot": 3}
        assert sum(self.schedule(keyed, [{"CPU": 1, "GPU": 1}] * 50).values()) == 8

    def test_gpu_actors_turn_to_other_groups_where_starts_failed(self, keyed):
        one = [{"CPU": 1, "GPU": 1}]
        assert self.schedule(keyed, one, ["gpu-t4-spot"]) == {"gpu-a10g-spot": 1}
        spot = ["gpu-t4-spot", "gpu-a10g-spot"]
        assert self.schedule(keyed, one, spot) == {"gpu-t4-on-demand": 1}
        assert self.schedule(keyed, one, [*spot, "gpu-t4-on-demand"]) == {"gpu-a10g-on-demand": 1}

    def test_large_gpu_actors_start_large_nodes(self, keyed):
        assert self.schedule(keyed, [{"CPU": 7, "GPU": 1}]) == {"gpu-t4-large-spot": 1}

    def test_actors_without_gpu_start_none(self, keyed):
        assert self.schedule(keyed, [{"CPU": 1}] * 20) == {"cpu-spot": 2}
        assert self.schedule(keyed, [{"CPU": 1}] * 20, ["cpu-spot"]) == {"cpu-on-demand": 2}

    def test_nothing_starts_without_demand(self, keyed):
        assert self.schedule(keyed, []) == {}
