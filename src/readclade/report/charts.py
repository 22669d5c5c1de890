"""The figures of a sample: which data of its results are drawn, in which colours, and what is said about them."""

import re

import numpy as np

from readclade.formats import format_bases, format_short
from readclade.report import drawing
from readclade.report.drawing import Bar, Dots, Image
from readclade.report.line_charts import Panel, draw_objective, draw_panels
from readclade.report.samples import UNASSIGNED, SampleReport
from readclade.results.names import get_cluster_name
from readclade.taxonomy.lineage import UNCLASSIFIED

# Bars and rows of a figure: enough for a reader, and the file stays small. The tables hold all.
MOST_BARS = 40
STRATA_LINES = {"ari": "ARI", "purity": "purity", "completeness": "completeness", "share_assigned": "assigned"}


def get_taxon_colours(samples: list[SampleReport]) -> dict[str, str]:
    """Return one colour for each taxon in all figures, the most distinct ones for the most abundant taxa."""
    totals: dict[str, float] = {}
    for sample in samples:
        for taxon in sample.taxa:
            totals[taxon.name] = totals.get(taxon.name, 0.0) + taxon.share
    named = sorted(totals.keys() - {UNCLASSIFIED, UNASSIGNED}, key=lambda name: (-totals[name], name))
    return drawing.get_colours(named) | {UNCLASSIFIED: drawing.GREY, UNASSIGNED: drawing.PALE}


def draw_sample(sample: SampleReport, colours: dict[str, str], dots_per_inch: int = 200) -> dict[str, Image]:
    """Return the figures of one sample by name."""
    images = {}
    if len(sample.map_ids):
        images["map"] = _draw_map(sample, colours, dots_per_inch)
    if sample.clusters:
        images["clusters"] = _draw_clusters(sample, colours)
    bars = [
        Bar(taxon.name, 100 * taxon.share, f"{100 * taxon.share:.1f} %", colours[taxon.name], taxon.is_italic)
        for taxon in sample.taxa
    ]
    images["community"] = drawing.draw_bars(
        _limit(bars, "%"), "% of the sample's bases", f"Bar chart of the share of bases of each taxon: {_list(bars)}"
    )
    lengths = sample.reads.lengths
    images["reads"] = drawing.draw_reads(
        sample.reads,
        f"Histograms of read length ({lengths.min:,} to {lengths.max:,} bases), GC content and base quality.",
    )
    objective = sample.model.objective
    if len(objective) > 1:
        fall = f"Line chart of the objective, from {objective[0]:.6g} to {objective[-1]:.6g} in {len(objective)} steps."
        images["objective"] = draw_objective(objective, fall)
    confusion = sample.assignments.confusion
    if confusion is not None and confusion.any():
        images["genomes"] = _draw_confusion(sample, confusion)
    if sample.strata:
        images["strata"] = _draw_strata(sample)
    return images


def draw_overview(samples: list[SampleReport], colours: dict[str, str]) -> Image:
    """Return one stack of taxa for each sample, in the order of the legend of all."""
    order = {name: number for number, name in enumerate(colours)}
    stacks = {}
    legend: dict[str, Bar] = {}
    for sample in samples:
        shares: dict[str, float] = {}
        for taxon in sorted(sample.taxa, key=lambda taxon: order[taxon.name]):
            name = "other taxa" if colours[taxon.name] == drawing.OTHER else taxon.name
            shares[name] = shares.get(name, 0.0) + taxon.share
        bars = [Bar(name, share, "", colours.get(name, drawing.OTHER)) for name, share in shares.items()]
        stacks[sample.name] = bars
        legend |= {bar.label: bar for bar in bars}
    entries = sorted(legend.values(), key=lambda bar: order.get(bar.label, len(order) - 2.5))
    alt = "Stacked bars of the shares of taxa in each sample; the tables of the samples hold the numbers."
    return drawing.draw_stacks(stacks, entries, "share of the sample's bases", alt)


def _draw_map(sample: SampleReport, colours: dict[str, str], dots_per_inch: int) -> Image:
    clusters = sample.assignments.clusters
    by_cluster = [
        Dots(
            np.flatnonzero(clusters == cluster.number),
            drawing.PALETTE[cluster.number % len(drawing.PALETTE)],
            cluster.label,
        )
        for cluster in sample.clusters
    ]
    taxa = np.full(len(sample.model.sizes) + 1, UNASSIGNED, object)  # the last one is for -1
    for cluster in sample.clusters:
        taxa[cluster.number] = cluster.name
    taxa_of_dots = taxa[clusters]
    by_taxon = []
    for name in dict.fromkeys(taxon.name for taxon in sample.taxa):
        rows = np.flatnonzero(taxa_of_dots == name)
        if len(rows):
            legend = "other taxa" if colours[name] == drawing.OTHER else name
            by_taxon.append(Dots(rows, colours[name], _abbreviate(name), legend))
    panels = {"By cluster": by_cluster, "By taxon (legend below)": by_taxon}
    alt = (
        f"Two maps of the same {len(sample.map_ids):,} fragments: left coloured by {len(sample.clusters)} clusters,"
        f" right by {len(by_taxon)} taxa."
    )
    return drawing.draw_maps(sample.places, panels, alt, dots_per_inch)


def _draw_clusters(sample: SampleReport, colours: dict[str, str]) -> Image:
    bars = [
        Bar(
            f"{cluster.label}  {cluster.name}",
            cluster.bases / 1e6,
            f"{format_bases(cluster.bases)}, {cluster.size:,} fragments",
            colours[cluster.name],
        )
        for cluster in sample.clusters
    ]
    return drawing.draw_bars(
        _limit(bars, "Mb"), "million bases", f"Bar chart of the size of each cluster: {_list(bars)}"
    )


def _draw_confusion(sample: SampleReport, counts: np.ndarray) -> Image:
    """Draw the genomes in the order of their best clusters, so that agreement lies on the diagonal."""
    kept = np.sort(np.argsort(-counts.sum(axis=1), kind="stable")[:MOST_BARS])
    totals = np.maximum(counts.sum(axis=1), 1)
    order = sorted(kept.tolist(), key=lambda row: (counts[row, :-1].argmax() if counts.shape[1] > 1 else 0, row))
    columns = np.flatnonzero(counts[:, :-1].sum(axis=0))
    labels = [get_cluster_name(column) for column in columns[:MOST_BARS]]
    parts = [counts[:, columns[:MOST_BARS]]]
    for label, part in (("others", counts[:, columns[MOST_BARS:]].sum(axis=1)), ("none", counts[:, -1])):
        if part.any():
            labels.append(label)
            parts.append(part[:, None])
    shares = (np.hstack(parts) / totals[:, None])[order]
    best = [f"{sample.genome_names[row]} {share:.0%}" for row, share in zip(order, shares.max(axis=1), strict=True)]
    alt = f"Heat map of the clusters that each true genome's fragments are in; largest share: {', '.join(best[:12])}."
    return drawing.draw_heat_map(shares, [sample.genome_names[row] for row in order], labels, alt)


def _draw_strata(sample: SampleReport) -> Image:
    """Draw ARI, purity, completeness and share assigned, one panel for each kind of stratum."""
    titles = {"length": ("By length", "bases of the fragment"), "abundance": ("By abundance", "bases of the genome")}
    panels = []
    for kind in dict.fromkeys(row["stratum"] for row in sample.strata):
        rows = [row for row in sample.strata if row["stratum"] == kind]
        lines = {name: [float(row[column]) for row in rows] for column, name in STRATA_LINES.items()}
        ticks = [f"{format_short(int(row['from']))}–{format_short(int(row['to']))}" for row in rows]
        panels.append(Panel(*titles.get(kind, (kind, "")), ticks, lines))
    parts = [
        f"{panel.title}, ARI: " + ", ".join(f"{tick} {value:.2f}" for tick, value in zip(panel.ticks, ari, strict=True))
        for panel in panels
        for ari in [panel.lines["ARI"][:12]]
    ]
    return draw_panels(panels, f"Line charts of the agreement. {'; '.join(parts)}.")


def _abbreviate(name: str) -> str:
    """Return E. coli for Escherichia coli, and other names as they are; nothing for what has no name."""
    if name in (UNCLASSIFIED, UNASSIGNED):
        return ""
    species = re.fullmatch(r"([A-Z])[a-z]{2,} ([a-z][a-z-]+)", name)
    return f"{species[1]}. {species[2]}" if species else name


def _limit(bars: list[Bar], unit: str) -> list[Bar]:
    """Return the first bars, and one for all others together."""
    if len(bars) <= MOST_BARS:
        return bars
    rest = bars[MOST_BARS:]
    total = sum(bar.value for bar in rest)
    return [*bars[:MOST_BARS], Bar(f"{len(rest)} others together", total, f"{total:,.2f} {unit}", drawing.OTHER)]


def _list(bars: list[Bar]) -> str:
    """Return the labels and texts of the first bars in words."""
    shown = "; ".join(f"{bar.label} {bar.text}" for bar in bars[:12])
    return f"{shown}; and {len(bars) - 12} more." if len(bars) > 12 else f"{shown}."
