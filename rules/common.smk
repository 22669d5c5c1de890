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

from readclade.shards import store
from readclade.embedders import hub
from readclade.inputs import configuration, tables
from readclade.storage import locations
from readclade.errors import ReadcladeError
from readclade.storage.files import write_atomically
from readclade.inputs.lanes import has_lost_files
from readclade.shards.manifest import read_manifest
from readclade.inputs.addresses import is_downloaded, is_remote
from readclade.code_files import list_code

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
    config = configuration.check_config(config)
    # A job on another node parses this again: what the first process found on S3 holds for it.
    SAMPLES = tables.read_samples(config["samples"], workflow.is_main_process)
    REFERENCES = tables.read_references(config["references"])
    MODEL = hub.find_named(config["embedder"]["name"], config["embedder"]["weights"])
    configuration.check_genomes(config["cleaning"]["remove"])
except ReadcladeError as error:
    raise WorkflowError(str(error)) from None


OBJECTS = locations.Lookup(tables.PARSE_PATIENCE_S)


wildcard_constraints:
    sample="|".join(map(re.escape, SAMPLES)),


def get_code(*names):
    """Return the files whose change makes a job run again: folders of the library that decide its output."""
    return list(map(str, list_code(*names)))


def list_cleaning_options(sample):
    """Return what is done to the reads of a sample as options; none where nothing is."""
    cleaning = config["cleaning"]
    options = []
    # fastp is made for short reads; basecallers cut the adapters of long ones.
    if SAMPLES[sample].platform == "illumina" and (cleaning["adapters"] != "none" or cleaning["min_quality"]):
        options += ["--adapters", cleaning["adapters"]] if cleaning["adapters"] != "none" else []
        options += ["--min-quality", str(cleaning["min_quality"]), "--min-length", str(cleaning["min_length"])]
    options += ["--mask-low-complexity"] if cleaning["mask_low_complexity"] else []
    options += ["--remove", cleaning["remove"]] if cleaning["remove"] else []
    return options


def find_lanes_file(sample, is_raw=False):
    """Return the file that lists a sample's downloaded or, unless the raw ones are wanted, cleaned reads, if any."""
    if list_cleaning_options(sample) and not is_raw:
        return f"cleaned/{sample}/lanes.json"
    entries = [path for lane in SAMPLES[sample].lanes for path in lane.paths]
    return f"downloads/{sample}/lanes.json" if any(map(is_downloaded, entries)) else None


def list_read_files(sample, is_raw=False):
    """Return the FASTQ files of a sample that Snakemake can see, and what lists those that it cannot."""
    lanes = find_lanes_file(sample, is_raw)
    if lanes and lanes != find_lanes_file(sample, is_raw=True):
        return [lanes]
    entries = [path for lane in SAMPLES[sample].lanes for path in lane.paths]
    return [path for path in entries if not is_remote(path)] + ([lanes] if lanes else [])


def join_lanes(sample, lanes=None):
    """Return the options that name the lanes of a sample, quoted for the shell: a file that lists them, or each."""
    if lanes:
        return shlex.join(["--lanes", lanes])
    return " ".join(
        shlex.join(["--lane", lane.fq1] + ([lane.fq2] if lane.fq2 else [])) for lane in SAMPLES[sample].lanes
    )


def get_cleaning_options(wildcards):
    """Return what is done to the reads of a sample, quoted for the shell."""
    return shlex.join(list_cleaning_options(wildcards.sample))


def get_table_lanes(wildcards):
    """Return the options that name the lanes of a sample as the table does."""
    return join_lanes(wildcards.sample)


def get_raw_lanes(wildcards):
    """Return the options that name the lanes of a sample before cleaning."""
    return join_lanes(wildcards.sample, find_lanes_file(wildcards.sample, is_raw=True))


def get_lanes(wildcards):
    """Return the options that name the lanes of a sample as they are read."""
    return join_lanes(wildcards.sample, find_lanes_file(wildcards.sample))


def get_raw_files(wildcards):
    """Return the FASTQ files of a sample before cleaning, or what lists them."""
    return list_read_files(wildcards.sample, is_raw=True)


def get_read_files(wildcards):
    """Return the FASTQ files of a sample, or what lists them; plan that again where files that it lists were lost."""
    for is_raw in (False, True):
        lanes = find_lanes_file(wildcards.sample, is_raw)
        if lanes is None or (Path(lanes).exists() and not has_lost_files(Path(lanes))):
            break  # raw files may go once the cleaned ones are there
        if Path(lanes).exists():
            workflow.dag.forcefiles.add(lanes)
    return list_read_files(wildcards.sample)


def get_all_read_files():
    """Return the FASTQ files of all samples, or what lists them."""
    return [path for sample in SAMPLES for path in list_read_files(sample)]


def get_object_versions(wildcards):
    """Return the version of each FASTQ file of a sample on S3, so that a changed object is fetched again."""
    return [
        f"{path} {get_object_version(path)}"
        for lane in SAMPLES[wildcards.sample].lanes
        for path in lane.paths
        if locations.is_s3(path)
    ]


def get_object_version(url):
    """Return the version of an object when the workflow was parsed."""
    info = OBJECTS.find(url)
    return info and info.etag


def get_platform(wildcards):
    """Return the platform of a sample."""
    return SAMPLES[wildcards.sample].platform


def get_model():
    """Return the files whose change embeds again: lshvec's model, trained here for all samples and the references, or
    the model of a network in a folder of the user's own; nothing elsewhere.
    """
    return ["models/lshvec.safetensors"] if config["embedder"]["name"] == "lshvec" else list(map(str, MODEL))


def get_embedder_options():
    """Return the options that choose the embedder, quoted for the shell; settings of others change nothing."""
    embedder = config["embedder"]
    names = {"kmer": ["k"], "lshvec": []}.get(embedder["name"], ["weights", "precision", "window_bp", "strands"])
    options = {"--embedder": embedder["name"]} | {f"--{name.replace('_', '-')}": embedder[name] for name in names}
    if embedder["name"] == "lshvec":
        options["--model"] = get_model()[0]
    return shlex.join(str(word) for option in options.items() for word in option)


def get_env(name):
    """Return the conda environment of a rule that embeds: the one of that name for kmer, the networks' for all others."""
    return f"../envs/{name if config['embedder']['name'] == 'kmer' else 'networks'}.yaml"


def get_embed_script(wildcards, resources):
    """Return what embeds: a Ray of our own or one that is joined, or a job on a cluster behind a job server."""
    is_submitted = str(resources.ray_address).startswith(("http://", "https://"))
    return str(BASEDIR / "scripts" / ("submit_embedding.py" if is_submitted else "embed_fragments.py"))


def get_actors(wildcards, threads):
    """Return the number of actors: one for each core of the job; a profile says how many a remote cluster takes."""
    return threads


def get_embed_memory(wildcards, threads):
    """Return the megabytes that Ray's own processes and the batches of reads of each actor take.

    With a network, the driver and each actor load its weights (1.1 GB at the peak, measured), and an actor holds the
    vectors (150 MB) of up to three batches of 8 Mb.
    """
    if config["embedder"]["name"] in hub.MODELS:
        return 3000 + 2000 * threads
    return 2000 + 600 * threads


def get_setting(rule, name, default):
    """Return a resource that the profile sets for a rule, for what Snakemake asks before a job has its resources."""
    resource = workflow.resource_settings._parsed_overwrite_resources.get(rule, {}).get(name)
    return default if resource is None else resource.raw


def add_figures_to_benchmarks():
    """Append the figures of `embed` to its benchmark files, which Snakemake writes when a job has ended."""
    for sample in SAMPLES:
        benchmark, figures = (Path(f"logs/embed/{sample}.{name}.tsv") for name in ("benchmark", "metrics"))
        if benchmark.is_file() and figures.is_file():
            tables = [path.read_text().splitlines() for path in (benchmark, figures)]
            if len(tables[0]) == len(tables[1]) and tables[1][0] not in tables[0][0]:
                write_atomically(benchmark, "".join(f"{row}\t{more}\n" for row, more in zip(*tables)))


def get_clean_memory(wildcards, input):
    """Return the megabytes of minimap2's index of the genomes to remove, about 5 bytes a base, and of the programs."""
    genomes = input.get("genomes", [])
    size = sum(os.path.getsize(path) * (4 if path.endswith(".gz") else 1) for path in genomes)
    return 2000 + 5 * size // 10**6


def get_genomes_to_remove(wildcards):
    """Return the FASTA file whose reads cleaning drops, if any."""
    return [config["cleaning"]["remove"]] if config["cleaning"]["remove"] else []


def get_ranks(wildcards, resources):
    """Return the number of MPI ranks: on each node equally many, so that no node runs out of memory first."""
    return resources.nodes * resources.tasks_per_node


def get_cluster_memory(wildcards, input, attempt):
    """Return the megabytes that the ranks of one node take together: reads with all that links these, and programs.

    A launcher such as Slurm counts memory by the node. A second attempt gets more.
    """
    os.stat(input.staged)  # before `stage` has run, Snakemake takes this error for "to be determined"
    nodes, tasks = (int(get_setting("cluster", name, 1)) for name in ("nodes", "tasks_per_node"))
    return (12 * read_manifest(Path(input.staged) / "manifest.json").bases // 10**6 // nodes + 600 * tasks) * attempt


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


def get_receipt():
    """Return the receipt of the copied results, where the profile names a place for them."""
    return [] if get_setting("sync_results", "target", "none") == "none" else ["synced/receipt.json"]


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
        return bool(store.list_lost(manifest, store.get_location(manifest, path), tables.PARSE_PATIENCE_S))
    except ReadcladeError as error:
        raise WorkflowError(str(error)) from None


def plan_damaged_shards(manifest, output=None):
    """Put the output that holds a manifest back on the plan if shards were lost, as --forcerun OUTPUT would.

    Snakemake sees only the manifest, because the number of shards is not known before `fetch` has counted the reads.
    It calls input functions before it decides which jobs must run, and has no public way for a rule to say so.
    """
    if Path(manifest).exists() and is_damaged(Path(manifest)):
        workflow.dag.forcefiles.add(output or manifest)


def get_summary(wildcards):
    """Return what `embed` reads beside the FASTQ files; plan it again where shards were lost."""
    plan_damaged_shards(f"shards/{wildcards.sample}/manifest.json")
    return f"reads/{wildcards.sample}/reads.json"


def get_manifest(wildcards):
    """Return the manifest that `stage` reads; plan it again where staged shards were lost."""
    plan_damaged_shards(f"staged/{wildcards.sample}/manifest.json", f"staged/{wildcards.sample}")
    return f"shards/{wildcards.sample}/manifest.json"
