# What all rules share: the checked configuration and tables, the functions that rules take their inputs and
# parameters from, and the start of every shell command.

import json
import os
import shlex
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

BASEDIR = Path(workflow.basedir)
sys.path.insert(0, str(BASEDIR / "src"))

from readclade import shard_store, storage, tables
from readclade.errors import ReadcladeError
from readclade.manifest import read_manifest
from readclade.sources import find_sources

# bash is told where the library is and, unless conda makes the environments, to use Snakemake's own. A prefix of our
# own replaces Snakemake's strict mode, so it is stated again.
shell.prefix(
    "set -euo pipefail; "
    f"export PYTHONPATH={shlex.quote(str(BASEDIR / 'src'))} PYTHONNOUSERSITE=1 RAY_USAGE_STATS_ENABLED=0; "
    + (
        ""
        if workflow.deployment_settings.deployment_method
        else f'export PATH={shlex.quote(os.path.dirname(sys.executable))}:"$PATH"; '
    )
)

try:
    config = tables.check_config(config)
    # A job on another node parses this again: what the first process found on S3 holds for it.
    SAMPLES = tables.read_samples(config["samples"], workflow.is_main_process)
    REFERENCES = tables.read_references(config["references"])
except ReadcladeError as error:
    raise WorkflowError(str(error)) from None


wildcard_constraints:
    sample="|".join(map(re.escape, SAMPLES)),


def get_code(script):
    """Return the files whose change makes a job run again: the modules of the library that decide its output."""
    return list(map(str, find_sources(BASEDIR / "scripts" / f"{script}.py")))


def get_read_files(wildcards):
    """Return the local FASTQ files of a sample: what lies on S3 is no input that Snakemake could look at."""
    return [path for lane in SAMPLES[wildcards.sample].lanes for path in lane.paths if not storage.is_s3(path)]


def get_object_versions(wildcards):
    """Return the version of each FASTQ file of a sample on S3, so that a changed object is fetched again."""
    return [
        f"{path} {get_object_version(path)}"
        for lane in SAMPLES[wildcards.sample].lanes
        for path in lane.paths
        if storage.is_s3(path)
    ]


@cache
def get_object_version(url):
    """Return the version of an object, as S3 told it when the table was checked."""
    info = storage.find(url, tables.PARSE_PATIENCE_S)
    return info and info.etag


def get_all_read_files():
    """Return the local FASTQ files of all samples."""
    paths = [path for sample in SAMPLES.values() for lane in sample.lanes for path in lane.paths]
    return [path for path in paths if not storage.is_s3(path)]


def get_lane_arguments(wildcards):
    """Return one --lane option per lane, quoted for the shell."""
    lanes = ([lane.fq1] + ([lane.fq2] if lane.fq2 else []) for lane in SAMPLES[wildcards.sample].lanes)
    return " ".join(shlex.join(["--lane", *lane]) for lane in lanes)


def get_platform(wildcards):
    """Return the platform of a sample."""
    return SAMPLES[wildcards.sample].platform


def get_model():
    """Return the model that lshvec is trained to, one for all samples and the references; nothing elsewhere."""
    return ["models/lshvec.safetensors"] if config["embedder"]["name"] == "lshvec" else []


def get_embedder_options():
    """Return the options that choose the embedder, quoted for the shell; settings of others change nothing."""
    embedder = config["embedder"]
    names = {"kmer": ["k"], "lshvec": []}.get(embedder["name"], ["weights", "precision", "window_bp", "strands"])
    options = {"--embedder": embedder["name"]} | {f"--{name.replace('_', '-')}": embedder[name] for name in names}
    options |= {"--model": model for model in get_model()}
    return shlex.join(str(word) for option in options.items() for word in option)


def get_embed_memory(wildcards, threads):
    """Return the megabytes that Ray's own processes and one batch of reads per actor take."""
    return 2000 + 600 * threads


def get_cluster_memory(wildcards, input, threads):
    """Return the megabytes that all ranks take together: their reads with all that links these, and their programs.

    A profile gives as many threads as ranks where all ranks run on one machine.
    """
    os.stat(input.manifest)  # before `stage` has run, Snakemake takes this error for "to be determined"
    return 12 * read_manifest(input.manifest).bases // 10**6 + 600 * threads


def get_truth(wildcards):
    """Return the file with the true origin of a sample's reads."""
    return SAMPLES[wildcards.sample].truth


def get_truths():
    """Return the truth files of all samples that have one."""
    return [sample.truth for sample in SAMPLES.values() if sample.truth]


def get_samples_with_truth():
    """Return the names of the samples whose true origin is known."""
    return [name for name, sample in SAMPLES.items() if sample.truth]


def get_resolved_config():
    """Return the resolved configuration as JSON, for the report."""
    return json.dumps(config, sort_keys=True)


def get_bins():
    """Return the folders with the reads of each cluster, where the configuration wants them."""
    return expand("results/{sample}/bins", sample=SAMPLES if config["bins"] else [])


def get_reference_files():
    """Return the FASTA files of all references."""
    return [reference.fasta for reference in REFERENCES]


def is_damaged(path):
    """Return whether a manifest lists a shard that is missing or of the wrong size."""
    try:
        manifest = read_manifest(path)
    except ReadcladeError:
        return True
    try:
        return bool(shard_store.list_lost(manifest, shard_store.get_location(manifest, path), tables.PARSE_PATIENCE_S))
    except ReadcladeError as error:
        raise WorkflowError(str(error)) from None


def plan_damaged_shards(manifest):
    """Put a manifest back on the plan if shards that it lists were lost, as --forcerun FILE would.

    Snakemake sees only the manifest, because the number of shards is not known before `fetch` has counted the reads.
    It calls input functions before it decides which jobs must run, and has no public way for a rule to say so.
    """
    if Path(manifest).exists() and is_damaged(Path(manifest)):
        workflow.dag.forcefiles.add(manifest)


def get_summary(wildcards):
    """Return what `embed` reads beside the FASTQ files; plan it again where shards were lost."""
    plan_damaged_shards(f"shards/{wildcards.sample}/manifest.json")
    return f"reads/{wildcards.sample}/reads.json"


def get_manifest(wildcards):
    """Return the manifest that `stage` reads; plan it again where staged shards were lost."""
    plan_damaged_shards(f"staged/{wildcards.sample}/manifest.json")
    return f"shards/{wildcards.sample}/manifest.json"
