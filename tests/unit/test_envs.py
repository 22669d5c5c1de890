"""The conda environments, the locks and the rules agree with each other."""

import ast
import re
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ENVS = sorted((ROOT / "envs").glob("*.yaml"))
RULE_FILES = sorted((ROOT / "rules").glob("*.smk"))
# The packages that have another name in conda than on PyPI.
PYPI_NAMES = {
    "ray-data": "ray",
    "ray-default": "ray",
    "python-isal": "isal",
    "matplotlib-base": "matplotlib",
    "pytorch": "torch",
    "backports.zstd": "backports-zstd",
    "huggingface_hub": "huggingface-hub",
}
# How the names of what NVIDIA's GPUs need begin.
CUDA = ("cuda", "nvidia", "triton")
# The modules that have another name than their conda package.
CONDA_NAMES = {
    "backports": "backports.zstd",
    "Bio": "biopython",
    "faiss": "faiss-cpu",
    "isal": "python-isal",
    "matplotlib": "matplotlib-base",
    "PIL": "pillow",
    "ray": "ray-data",
    "sklearn": "scikit-learn",
    "torch": "pytorch",
    "triton": "pytorch",  # a build for GPUs brings it along, and without a GPU it is done without
    "yaml": "pyyaml",
}
EXPECTED = {"download", "clean", "fetch", "embed", "stage", "cluster", "label", "report", "train", "networks"}
# What only the embedders other than kmer import: envs/networks.yaml has it, in place of a rule's own environment.
NETWORK_MODULES = {"torch", "triton", "tokenizers", "safetensors", "huggingface_hub"}


def read_lock(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\\n]+)", text, re.MULTILINE))


def read_run_locks() -> dict[str, str]:
    """Return the versions of what the workflow runs on, with any embedder."""
    return read_lock("networks-gpu.txt") | read_lock("run.txt")


def find_rules(text: str) -> dict[str, str]:
    """Return the body of each rule of a Snakemake file by name."""
    parts = re.split(r"^\s*(?:rule|checkpoint) (\w+):", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_envs_one_for_each_job_rule():
    assert {path.stem for path in ENVS} >= EXPECTED


@pytest.mark.parametrize("path", ENVS, ids=lambda path: path.stem)
def test_env_pins_every_package_to_the_locked_version(path):
    env = yaml.safe_load(path.read_text())
    assert env["channels"] == ["conda-forge", "bioconda", "nodefaults"]
    locked = read_run_locks()
    names = [dependency.split()[0] for dependency in env["dependencies"]]
    assert len(names) == len(set(names))
    for dependency in env["dependencies"]:
        name, _, version = dependency.partition(" ==")
        assert version, f"{dependency} is not pinned"
        if name == "python":
            assert version == "3.11.*"
        else:
            assert version == locked.get(PYPI_NAMES.get(name, name)), dependency


def test_locks_agree_where_they_overlap():
    run, dev = read_lock("run.txt"), read_lock("dev.txt")
    assert run.keys() & dev.keys()
    assert {name: run[name] for name in run.keys() & dev.keys()} == {
        name: dev[name] for name in run.keys() & dev.keys()
    }


def test_torch_of_every_lock_is_one_release():
    run, build, cpu, gpu = (read_lock(f"{name}.txt") for name in ("run", "torch-cpu", "networks-cpu", "networks-gpu"))
    assert build == {"torch": f"{gpu['torch']}+cpu"}
    assert {name: gpu[name] for name in run.keys() & gpu.keys()} == {
        name: run[name] for name in run.keys() & gpu.keys()
    }
    cuda = {name for name in gpu if name.startswith(CUDA)}
    assert any(name.startswith("nvidia-") for name in cuda)
    assert cpu == {name: version for name, version in gpu.items() if name not in cuda} | build


def test_lock_of_the_default_embedder_has_nothing_of_networks():
    run = read_lock("run.txt")
    assert not [name for name in run if name == "torch" or name.startswith(CUDA)]
    assert not run.keys() & set(list_wanted("networks"))


def list_wanted(name: str) -> list[str]:
    return re.findall(r"^([A-Za-z0-9_-]+)", (ROOT / "requirements" / f"{name}.in").read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "source"), [("run", "run"), ("dev", "dev"), ("networks-cpu", "networks"), ("networks-gpu", "networks")]
)
def test_lock_has_every_requirement_with_a_hash_and_no_index(name, source):
    wanted = list_wanted(source)
    locked = read_lock(f"{name}.txt")
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert wanted
    assert set(wanted) - {"-c"} <= locked.keys()
    assert not re.search(r"^--|://", text, re.MULTILINE)
    for package in re.split(r"\n(?=[a-z])", text):
        assert "--hash=sha256:" in package, package.splitlines()[0]


def test_rules_exist():
    assert RULE_FILES, "rules/ holds no .smk file, so that nothing was compared"
    assert any(find_rules(path.read_text()) for path in RULE_FILES)


def list_job_rules() -> list[tuple[Path, str, str]]:
    """Return file, name and body of each rule that runs a command."""
    return [
        (path, name, body)
        for path in RULE_FILES
        for name, body in find_rules(path.read_text()).items()
        if re.search(r"^\s+(shell|script|notebook|wrapper):", body, re.MULTILINE)
    ]


def find_env(path: Path, body: str) -> Path | None:
    match = re.search(r"^\s+conda:\s*\n?\s*(?:\"([^\"]+)\"|get_env\(\"(\w+)\"\))", body, re.MULTILINE)
    return (path.parent / (match[1] or f"../envs/{match[2]}.yaml")).resolve() if match else None


def list_packages(env: Path) -> set[str]:
    return {dependency.split()[0] for dependency in yaml.safe_load(env.read_text())["dependencies"]}


def list_imports(path: Path, seen: set[Path]) -> set[str]:
    """Return the third-party modules that a file imports, by itself or through the library's modules."""
    seen.add(path)
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    found = {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"readclade", "compression"}
    for name in names:
        module = ROOT / "src" / (name.replace(".", "/") + ".py")
        if name.startswith("readclade.") and module.exists() and module not in seen:
            found |= list_imports(module, seen)
    return found


@pytest.mark.parametrize("job", list_job_rules(), ids=lambda job: job[1])
def test_rule_with_a_shell_names_an_environment_that_exists(job):
    path, name, body = job
    env = find_env(path, body)
    assert env, f"rule {name} names no conda environment"
    assert env in ENVS, f"rule {name}: {env} does not exist"


@pytest.mark.parametrize("job", list_job_rules(), ids=lambda job: job[1])
def test_environment_of_a_rule_has_what_its_script_imports(job):
    path, name, body = job
    scripts = {ROOT / "scripts" / match for match in re.findall(r"scripts/(\w+\.py)", body)}
    assert scripts, f"rule {name} names no script"
    imported = set().union(*(list_imports(script, set()) for script in scripts))
    wanted, networks = ({CONDA_NAMES.get(module, module) for module in part} for part in (imported, NETWORK_MODULES))
    present = list_packages(find_env(path, body))
    if "get_env(" in body:
        assert wanted <= list_packages(ROOT / "envs/networks.yaml")
    if name != "train_lshvec":  # elsewhere they are imported where an embedder other than kmer is made
        wanted -= networks
        assert not present & networks
    assert wanted <= present
