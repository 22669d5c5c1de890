# What all rules share: the checked configuration and tables, the functions that rules take their inputs and
# parameters from, and the start of every shell command.

import json
import os
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

BASEDIR = Path(workflow.basedir)
sys.path.insert(0, str(BASEDIR / "src"))

from readclade.code_files import list_code
from readclade.errors import ReadcladeError
from readclade.inputs.configuration import check_braces
from readclade.workflow import memory, state
from readclade.workflow.options import Options

try:
    check_braces([BASEDIR, Path.cwd()])
except ReadcladeError as error:
    raise WorkflowError(str(error)) from None

# Numba keeps what it compiles beside the code or in the home directory; where it may write to neither, with the run.
NUMBA_CACHE = (
    ""
    if os.access(BASEDIR / "src/readclade", os.W_OK) or os.access(os.path.expanduser("~"), os.W_OK)
    else 'NUMBA_CACHE_DIR="${{NUMBA_CACHE_DIR:-$PWD/.snakemake/numba}}" '
)

# bash is told where the library is and, unless conda makes the environments, to use Snakemake's own. A prefix of our
# own replaces Snakemake's strict mode, so it is stated again.
shell.prefix(
    "set -euo pipefail; "
    f"export PYTHONPATH={shlex.quote(str(BASEDIR / 'src'))} PYTHONNOUSERSITE=1 {NUMBA_CACHE}RAY_USAGE_STATS_ENABLED=0; "
    + (
        ""
        if workflow.deployment_settings.deployment_method
        else f'export PATH={shlex.quote(os.path.dirname(sys.executable))}:"$PATH"; '
    )
)

try:
    # A job on another node parses this again: what the first process found on S3 holds for it.
    OPTIONS = Options.read(config, workflow.is_main_process)
except ReadcladeError as error:
    raise WorkflowError(str(error)) from None

config = OPTIONS.config
SAMPLES = OPTIONS.samples


wildcard_constraints:
    sample="|".join(map(re.escape, SAMPLES)),


def get_code(*names):
    """Return the files whose change makes a job run again: folders of the library that decide its output."""
    return list(map(str, list_code(*names)))


def get_table_lanes(wildcards):
    """Return the options that name the lanes of a sample as the table does."""
    return OPTIONS.join_table_lanes(wildcards.sample)


def get_raw_lanes(wildcards):
    """Return the options that name the lanes of a sample before cleaning."""
    return OPTIONS.join_lanes(wildcards.sample, is_raw=True)


def get_lanes(wildcards):
    """Return the options that name the lanes of a sample as they are read."""
    return OPTIONS.join_lanes(wildcards.sample)


def get_cleaning_options(wildcards):
    """Return what is done to the reads of a sample, quoted for the shell."""
    return shlex.join(OPTIONS.list_cleaning_options(wildcards.sample))


def get_genomes_to_remove(wildcards):
    """Return the FASTA file whose reads cleaning drops, if any."""
    return OPTIONS.list_genomes_to_remove()


def get_raw_files(wildcards):
    """Return the FASTQ files of a sample before cleaning, or what lists them."""
    return OPTIONS.list_read_files(wildcards.sample, is_raw=True)


def get_read_files(wildcards):
    """Return the FASTQ files of a sample, or what lists them; plan that again where files that it lists were lost."""
    workflow.dag.forcefiles.update(OPTIONS.list_lost_lanes(wildcards.sample))
    return OPTIONS.list_read_files(wildcards.sample)


def get_all_read_files():
    """Return the FASTQ files of all samples, or what lists them."""
    return [path for sample in SAMPLES for path in OPTIONS.list_read_files(sample)]


def get_object_versions(wildcards):
    """Return the version of each FASTQ file of a sample on S3, so that a changed object is fetched again."""
    return OPTIONS.list_object_versions(wildcards.sample)


def get_platform(wildcards):
    """Return the platform of a sample."""
    return SAMPLES[wildcards.sample].platform


def get_model():
    """Return the files whose change embeds again."""
    return OPTIONS.list_model_files()


def get_embedder_options():
    """Return the options that choose the embedder, quoted for the shell."""
    return OPTIONS.join_embedder_options()


def get_env(name):
    """Return the conda environment for what embeds, of that name for kmer and the networks' for all others."""
    return f"../envs/{name if config['embedder']['name'] == 'kmer' else 'networks'}.yaml"


def get_embed_script(wildcards, resources):
    """Return what embeds: a Ray of our own or one that is joined, or a job on a cluster behind a job server."""
    is_submitted = str(resources.ray_address).startswith(("http://", "https://"))
    return str(BASEDIR / "scripts" / ("submit_embedding.py" if is_submitted else "embed_fragments.py"))


def get_actors(wildcards, threads):
    """Return the number of actors: one for each core of the job; a profile says how many a remote cluster takes."""
    return threads


def get_embed_memory(wildcards, threads):
    """Return the megabytes of one Ray on this machine."""
    return memory.get_embed_memory(OPTIONS.has_network, threads)


def get_setting(rule, name, default):
    """Return a resource that the profile sets for a rule, for what Snakemake asks before a job has its resources."""
    # What a rule's settings lack is there all the same, as a resource without a value.
    resource = workflow.resource_settings._parsed_overwrite_resources.get(rule, {}).get(name)
    return default if resource is None or resource.raw is None else resource.raw


def get_clean_memory(wildcards, input):
    """Return the megabytes of the programs that clean."""
    return memory.get_clean_memory(input.get("genomes", []))


def get_ranks(wildcards, resources):
    """Return the number of MPI ranks: on each node equally many, so that no node runs out of memory first."""
    return resources.nodes * resources.tasks_per_node


def get_cluster_memory(wildcards, input, attempt):
    """Return the megabytes that the ranks of one node take together."""
    nodes, tasks = (int(get_setting("cluster", name, 1)) for name in ("nodes", "tasks_per_node"))
    rank_gb = float(get_setting("cluster", "rank_gb", 4))
    return memory.get_cluster_memory(input.staged, nodes, tasks, rank_gb, attempt)


def get_truth(wildcards):
    """Return the file with the true origin of a sample's reads."""
    return SAMPLES[wildcards.sample].truth


def get_truths():
    """Return the truth files of all samples that have one."""
    return OPTIONS.list_truths()


def get_samples_with_truth():
    """Return the names of the samples whose true origin is known."""
    return OPTIONS.list_samples_with_truth()


def get_resolved_config():
    """Return the resolved configuration as JSON, for the report."""
    return json.dumps(config, sort_keys=True)


def get_overlaps():
    """Return the file with the overlaps of a sample, where the configuration wants it."""
    return ["results/{sample}/cluster/overlaps.paf.gz"] if config["clustering"]["overlaps"] else []


def get_bins():
    """Return the folders with the reads of each cluster, where the configuration wants them."""
    return expand("results/{sample}/bins", sample=SAMPLES if config["bins"] else [])


def get_receipt():
    """Return the receipt of the copied results, where the profile names a place for them."""
    return [] if get_setting("sync_results", "target", "none") == "none" else ["synced/receipt.json"]


def get_reference_files():
    """Return the FASTA files of all references."""
    return [reference.fasta for reference in OPTIONS.references]


def plan_damaged_shards(manifest, output=None):
    """Put the output that holds a manifest back on the plan if shards were lost, as --forcerun OUTPUT would.

    Snakemake sees only the manifest, because the number of shards is not known before `fetch` has counted the reads.
    It calls input functions before it decides which jobs must run, and has no public way for a rule to say so.
    """
    try:
        is_lost = Path(manifest).exists() and state.is_damaged(Path(manifest))
    except ReadcladeError as error:
        raise WorkflowError(str(error)) from None
    if is_lost:
        workflow.dag.forcefiles.add(output or manifest)


def get_summary(wildcards):
    """Return what `embed` reads beside the FASTQ files; plan it again where shards were lost."""
    plan_damaged_shards(f"shards/{wildcards.sample}/manifest.json")
    return f"reads/{wildcards.sample}/reads.json"


def get_manifest(wildcards):
    """Return the manifest that `stage` reads; plan it again where staged shards were lost."""
    plan_damaged_shards(f"staged/{wildcards.sample}/manifest.json", f"staged/{wildcards.sample}")
    return f"shards/{wildcards.sample}/manifest.json"
