"""The report: what the results of all samples say, in one HTML file that needs nothing beside it."""

import logging
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import jinja2
import yaml

from readclade.errors import ReadcladeError
from readclade.formats import format_ancestors, format_bases, format_duration, format_measure
from readclade.inputs.configuration import check_config
from readclade.inputs.tables import Sample, read_references, read_samples
from readclade.report import provenance
from readclade.report.charts import STRATA_LINES, draw_overview, draw_sample, get_taxon_colours
from readclade.report.drawing import Image
from readclade.report.failures import find_failures
from readclade.report.provenance import InputFile
from readclade.report.run_times import read_run_time
from readclade.report.samples import UNASSIGNED, Folders, SampleReport, gather_sample
from readclade.storage.files import write_atomically
from readclade.taxonomy.lineage import UNCLASSIFIED

_log = logging.getLogger(__name__)

# Rows of a table in the report: enough for a reader, and the file stays small. The TSV files hold all.
MOST_ROWS = 60
_RESULT_FILES = {
    "binning.tsv": "which cluster and taxon each fragment is in (CAMI binning format)",
    "profile.tsv": "shares of the taxa at every rank (CAMI profiling format)",
    "taxa.tsv": "size, name and confidence of each cluster",
    "evaluation.tsv": "agreement of the clusters with the known origin of the reads",
    "genomes.tsv": "best cluster of each true genome",
    "strata.tsv": "agreement by length of the fragments and abundance of their genomes",
    "cluster/assignments.parquet": "cluster, distance and margin of each fragment",
    "cluster/clusters.h5": "centroids, sizes and parameters of the clustering",
}
# What a metric of evaluation.tsv is called and means; others are shown under their own names.
METRICS = {
    "true_genomes": ("True genomes", "Genomes in the truth."),
    "ari": ("ARI", "Adjusted Rand index over all fragments; those in no cluster count as one more cluster."),
    "ari_assigned": ("ARI, assigned only", "Adjusted Rand index over the fragments that are in a cluster."),
    "ami": ("AMI", "Adjusted mutual information: as the ARI 1 is perfect and 0 chance, but small genomes count more."),
    "purity": ("Purity", "Share of the assigned fragments that come from the main genome of their cluster."),
    "completeness": ("Completeness", "Share of the fragments that are in the main cluster of their genome."),
    "f1": ("F1", "Mean over the genomes, each counting the same, of the F1 of the cluster that holds most of it."),
    "known_species": (
        "Species known",
        "Share of the fragments whose true species is known; the next rows are of these.",
    ),
    "true_species": ("True species", "Species in the truth."),
    "ari_species": ("ARI, species", "Adjusted Rand index with all genomes of a species taken as one."),
    "purity_species": ("Purity, species", "Share of the assigned fragments of the main species of their cluster."),
    "completeness_species": ("Completeness, species", "Share of the fragments in the main cluster of their species."),
    "f1_species": ("F1, species", "As F1, of species."),
    "known_genus": ("Genus known", "Share of the fragments whose true genus is known; the next rows are of these."),
    "true_genus": ("True genera", "Genera in the truth."),
    "ari_genus": ("ARI, genus", "Adjusted Rand index with all genomes of a genus taken as one."),
    "purity_genus": ("Purity, genus", "Share of the assigned fragments of the main genus of their cluster."),
    "completeness_genus": ("Completeness, genus", "Share of the fragments in the main cluster of their genus."),
    "f1_genus": ("F1, genus", "As F1, of genera."),
    "species_correct": ("Right species", "Share of the fragments whose cluster has the name of their true species."),
    "species_wrong": ("Wrong species", "Share of the fragments whose cluster has the name of another species."),
    "species_none": ("No species", "Share of the fragments in no cluster, or in one without a species' name."),
    "unclassified": ("Unclassified", "Share of the fragments in no cluster, or in one without any name."),
    "absent_share": ("Absent from references", "Share of the fragments whose true species no reference has."),
    "novel_found": ("Novel found", "Of those fragments, the share that rightly got no species' name."),
}


# What the counts of cleaning mean, in the order of the work; the others are sums of these.
CLEANING = {
    "reads_with_adapter": "reads cut where an adapter begins",
    "adapter_bases": "bases of adapters cut",
    "reads_with_poly_g": "reads cut where a tail of G begins",
    "poly_g_bases": "bases of these tails cut",
    "bases_cut": "bases cut or dropped by cutadapt in all",
    "reads_too_short": "reads dropped because they or their mates became too short",
    "fragments_removed": "fragments dropped because they come from the genomes to remove",
    "bases_removed": "bases of these",
    "masked_bases": "bases of simple repeats turned into N",
}


def get_resolution(samples: int) -> int:
    """Return the dots per inch of the maps, so that the report of very many samples can still be sent by mail."""
    return 200 if samples <= 12 else 100


def render(samples: list[SampleReport], overview: Image, colours: dict[str, str], **context: object) -> str:
    """Return the report as HTML; everything that comes from files is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "bases": format_bases,
        "duration": format_duration,
        "lineage": format_ancestors,
        "measure": format_measure,
    }
    environment.globals |= {
        "UNCLASSIFIED": UNCLASSIFIED,
        "UNASSIGNED": UNASSIGNED,
        "MOST_ROWS": MOST_ROWS,
        "INPUT_ROWS": 4 * MOST_ROWS,
        "CLEANING": CLEANING,
        "METRICS": METRICS,
        "numeric": ("fragments", "bases", "precision", "recall", "f1", "completeness", "purity"),
        "STRATA_LINES": STRATA_LINES,
        "failures": {},
    }
    template = environment.get_template("report.html.jinja")
    return template.render(samples=samples, overview=overview, colours=colours, **context)


def write_report(
    table: Path,
    config: dict,
    folders: Folders,
    out: Path,
    crate: Path,
    summary: Path,
    processes: int = 1,
    is_partial: bool = False,
) -> dict[str, str]:
    """Write the report, the summary and the RO-Crate, each atomically.

    Args:
        table: the table of samples.
        config: the configuration, as given or resolved.
        processes: how many samples are gathered side by side; laying out a map takes one core.
        is_partial: whether samples without results are named and left out; else they are errors.

    Returns:
        Why samples were left out, by name.

    Raises:
        ReadcladeError: the configuration, or a file that the report needs, cannot be used, or no sample has results.
    """
    config = check_config(config)
    date = provenance.get_date()
    samples: list[SampleReport] = []
    listed = list(read_samples(table, ask_s3=False).values())
    failures = find_failures(listed, folders) if is_partial else {}
    listed = [sample for sample in listed if sample.name not in failures]
    if not listed:
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in failures.items())
        raise ReadcladeError(f"no sample has results, so that there is nothing to report{reasons}")
    for sample in _gather_samples(listed, folders, config["report"]["map_fragments"], processes):
        samples.append(sample)
        _log.info(f"{sample.name}: {sample.fragments:,} fragments in {len(sample.clusters)} clusters")
    colours = get_taxon_colours(samples)
    for sample in samples:
        sample.images = draw_sample(sample, colours, get_resolution(len(samples)))
    inputs = _list_inputs(table, samples, config)
    tools: dict[str, str] = {}
    for sample in samples:
        tools |= (sample.reads.cleaning or {}).get("tools", {})
    html = render(
        samples,
        draw_overview(samples, colours),
        colours,
        failures=failures,
        inputs=inputs,
        parameters=yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
        config=config,
        software=provenance.get_software(tools, config["embedder"]["name"]),
        version=provenance.get_version(),
        commit=provenance.get_commit(),
        date=date,
        index_time=read_run_time(folders.logs / "index_references/index.benchmark.tsv"),
    )
    write_atomically(out, html)
    lines = [f"{sample.name}\t{metric}\t{value}\n" for sample in samples for metric, value in sample.summary]
    lines += [f"{name}\tfailed\t{' '.join(reason.split())}\n" for name, reason in failures.items()]
    write_atomically(summary, "sample\tmetric\tvalue\n" + "".join(lines))
    root = crate.parent.resolve()
    files = {out: "the report", summary: "the main figures of all samples"} | {
        folders.results / sample.name / name: f"{sample.name}: {text}"
        for sample in samples
        for name, text in _RESULT_FILES.items()
    }
    existing = {path.resolve(): text for path, text in files.items() if path.exists()}
    inside = {path: text for path, text in existing.items() if path.is_relative_to(root)}
    provenance.write_crate(crate, provenance.make_crate(root, inside, inputs, config, date, tools))
    return failures


def _gather_samples(listed: list[Sample], folders: Folders, most_on_map: int, processes: int) -> Iterator[SampleReport]:
    gather = partial(gather_sample, folders=folders, most_on_map=most_on_map)
    processes = min(processes, len(listed))
    if processes < 2:
        yield from map(gather, listed)
        return
    # Started afresh: Arrow's threads would not survive a fork.
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        yield from pool.map(gather, listed)


def _list_reads(report: SampleReport) -> list[InputFile]:
    """Return the FASTQ files of a sample as they were given: before cleaning, and by their addresses."""
    inputs = []
    for lane in report.reads.lanes:
        for number, origin in enumerate(lane.origins or [{"path": path} for path in lane.lane.paths]):
            purpose = f"reads of sample {report.name}"
            purpose += f" (run {origin['accession']})" if "accession" in origin else ""
            checksum = origin.get("sha256") or lane.sha256[number]
            if "url" in origin:
                inputs.append(InputFile(purpose, origin["url"], checksum, origin["bytes"]))
            else:
                inputs.append(provenance.describe_input(purpose, origin["path"], checksum))
    return inputs


def _list_inputs(table: Path, reports: list[SampleReport], config: dict) -> list[InputFile]:
    """Return the tables, the FASTQ files with the checksums that `fetch` made, the truths and the references."""
    inputs = [provenance.describe_input("table of samples", table)]
    inputs += [entry for report in reports for entry in _list_reads(report)]
    if config["cleaning"]["remove"]:
        inputs.append(provenance.describe_input("genomes removed from the reads", config["cleaning"]["remove"]))
    inputs += [
        provenance.describe_input(f"truth of sample {sample.name}", sample.truth)
        for sample in read_samples(table, ask_s3=False).values()
        if sample.truth
    ]
    inputs.append(provenance.describe_input("table of references", config["references"]))
    references = read_references(config["references"])
    return inputs + [provenance.describe_input(f"reference {entry.accession}", entry.fasta) for entry in references]
