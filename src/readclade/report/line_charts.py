"""The line charts of the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from readclade.report.drawing import PALETTE, Image, get_svg, use_style

_LINES = ("-", "-", "--", ":")


@dataclass(frozen=True)
class Panel:
    """One panel: its title, its axis, a tick for each class of fragments, and a value for each tick by line."""

    title: str
    axis: str
    ticks: Sequence[str]
    lines: Mapping[str, Sequence[float]]


def draw_objective(objective: np.ndarray, alt: str) -> Image:
    """Draw the objective of k-means over its iterations."""
    with use_style():
        figure = Figure(figsize=(10.4, 2.2), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(np.arange(1, len(objective) + 1), objective, marker="o", markersize=3.5, color=PALETTE[0])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="iteration", ylabel="objective")
        return Image(get_svg(figure), alt)


def draw_panels(panels: Sequence[Panel], alt: str) -> Image:
    """Draw panels whose lines have the same names, so that one legend serves all; values lie between 0 and 1."""
    with use_style():
        figure = Figure(figsize=(10.4, 2.9), layout="constrained")
        grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for axes, panel in zip(grid, panels, strict=True):
            for number, (name, values) in enumerate(panel.lines.items()):
                # A line that lies on another one shows through its gaps.
                look = {"color": PALETTE[number], "linestyle": _LINES[number % len(_LINES)]}
                axes.plot(range(len(values)), values, marker="o", markersize=4, label=name, **look)
            axes.set_xticks(range(len(panel.ticks)), panel.ticks)
            axes.set(title=panel.title, xlabel=panel.axis, xlim=(-0.5, max(len(panel.ticks) - 0.5, 0.5)))
            axes.set_ylim(min(-0.02, *(value for values in panel.lines.values() for value in values)) - 0.02, 1.04)
        figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=8, fontsize=8.5)
        return Image(get_svg(figure), alt)
