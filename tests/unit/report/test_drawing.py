"""The figures: the same data give the same bytes, and no data breaks them."""

import base64
import io
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image as PillowImage

from readclade.reads.plan import Gc, Lengths, Qualities, ReadPlan
from readclade.report import drawing, line_charts
from readclade.report.drawing import Bar, Dots

UGLY = ["$\\alpha_", "<svg onload=x>&\"'", "new\nline\x00\x1b", "長い名前", "x" * 200, "", "\ud800"]


def get_svg_text(image: drawing.Image) -> str:
    head, data = image.source.split(",")
    assert head == "data:image/svg+xml;base64"
    return " ".join(ElementTree.fromstring(base64.b64decode(data)).itertext())


@pytest.mark.parametrize("n", [0, 1, 2, 29, 30, 31, 200])
@pytest.mark.parametrize("r", [1, 2, 5])
def test_lay_out_any_number_of_vectors_gives_finite_places_and_the_same_again(n, r):
    vectors = np.random.default_rng(n).normal(size=(n, r))
    places = drawing.lay_out(vectors)
    assert places.shape == (n, 2)
    assert np.isfinite(places).all()
    assert (places == drawing.lay_out(vectors)).all()


def test_lay_out_equal_vectors_lie_on_one_place():
    assert (drawing.lay_out(np.ones((50, 4))) == 1).all()


def test_lay_out_keeps_distinct_classes_apart():
    vectors = np.repeat([[0.0, 0, 0], [9, 0, 9]], 60, axis=0) + np.random.default_rng(0).normal(size=(120, 3))
    first, second = np.split(drawing.lay_out(vectors), 2)
    gap = np.linalg.norm(first.mean(axis=0) - second.mean(axis=0))
    assert gap > 2 * max(first.std(), second.std())


def test_get_colours_are_distinct_as_far_as_the_palette_goes():
    assert len(set(drawing.PALETTE)) == len(drawing.PALETTE)
    colours = list(drawing.get_colours([f"t{i}" for i in range(len(drawing.PALETTE) + 2)]).values())
    assert colours == [*drawing.PALETTE, drawing.OTHER, drawing.OTHER]


def test_clean_label_removes_control_characters_and_shortens_in_the_middle():
    assert drawing.clean_label("a\nb\x00c") == "a b c"
    assert drawing.clean_label("Candidatus Methanoperedens nitroreducens", 21) == "Candidatus…roreducens"
    assert len(drawing.clean_label("x" * 300)) <= 48


def test_draw_bars_holds_labels_as_text_and_is_the_same_again():
    bars = [Bar(f"{label} {i}", i, "5 %", "#000000", is_italic=bool(i % 2)) for i, label in enumerate(UGLY)]
    image = drawing.draw_bars(bars, "axis", "alt")
    assert image.alt == "alt"
    assert "<svg onload=x>&\"'" in get_svg_text(image)
    assert image == drawing.draw_bars(bars, "axis", "alt")


def test_draw_maps_is_a_png_and_the_same_again():
    places = np.random.default_rng(0).normal(size=(50, 2))
    panels = {
        "By cluster": [Dots(np.arange(20), drawing.PALETTE[0], "c1"), Dots(np.arange(20, 20), "#000000", "c2")],
        "By taxon": [Dots(np.arange(20), drawing.PALETTE[1], UGLY[0], UGLY[1])],
    }
    image = drawing.draw_maps(places, panels, "alt", 50)
    picture = PillowImage.open(io.BytesIO(base64.b64decode(image.source.removeprefix("data:image/png;base64,"))))
    assert picture.size[0] == 520
    assert image == drawing.draw_maps(places, panels, "alt", 50)


def test_draw_stacks_shows_each_name_once_in_the_legend():
    bars = [Bar("E. coli", 0.4, "", "#000000"), Bar("unclassified", 0.6, "", drawing.GREY)]
    text = get_svg_text(drawing.draw_stacks({"s1": bars, "s2": bars[:1]}, bars, "share", "alt"))
    assert text.count("E. coli") == 1
    assert "s2" in text


def test_draw_heat_map_writes_shares_into_cells():
    text = get_svg_text(drawing.draw_heat_map(np.array([[0.87, 0.004], [0.0, 1.0]]), ["a", "b"], ["c1", "c2"], "alt"))
    assert "87" in text.split()
    assert "100" in text.split()
    assert "0" not in text.split()


def test_draw_heat_map_many_columns():
    shares = np.full((3, 41), 1 / 41)
    assert "c41" in get_svg_text(drawing.draw_heat_map(shares, UGLY[:3], [f"c{i + 1}" for i in range(41)], "alt"))


@pytest.mark.parametrize(("edges", "counts"), [([150, 151], [10]), ([1, 2, 3], [1, 5]), ([100, 900, 9000], [4, 0])])
@pytest.mark.parametrize("qualities", [[], [0, 0, 5]])
def test_draw_reads_any_histogram(edges, counts, qualities):
    lengths = Lengths(edges[0], edges[-1] - 1, edges[0], edges[0], tuple(edges), tuple(counts))
    gc, qualities = Gc(None, (0,) * 100), Qualities(tuple(qualities), None)
    reads = ReadPlan("s", "ont", sum(counts), sum(counts), 0, lengths, gc, 0, qualities, {}, (), (), (), None, ())
    assert "Base quality" in get_svg_text(drawing.draw_reads(reads, "alt"))


def test_draw_objective_is_the_same_again():
    objective = np.array([3.0, 2.0, 1.0])
    assert line_charts.draw_objective(objective, "alt") == line_charts.draw_objective(objective, "alt")


@pytest.mark.parametrize("panels", [1, 2])
@pytest.mark.parametrize("ticks", [1, 7])
def test_draw_panels_names_each_line_once_and_is_the_same_again(panels, ticks):
    panel = line_charts.Panel("By length", UGLY[0], [f"{i}–{i + 1}" for i in range(ticks)], {"ARI": [-0.3] * ticks})
    image = line_charts.draw_panels([panel] * panels, "alt")
    assert get_svg_text(image).split().count("ARI") == 1
    assert image == line_charts.draw_panels([panel] * panels, "alt")
