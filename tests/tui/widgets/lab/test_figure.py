"""Plots of the terminal: every value is where the axis says, nothing depends on color alone, nothing is cut."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from edge.lab.claim import Curve, Grid, Series
from tests.tui.app_driver import lines_of
from tests.tui.single_widget import assert_whole, single_widget
from tui.braille_plot import ALL, DASHES, MARKERS, SEVERAL, Picture, draw_curve, marker, number_cells, sample
from tui.widgets.lab.curve_plot import CurvePlot
from tui.widgets.lab.figure import Figure
from tui.widgets.lab.number_grid import NumberGrid
from tui.widgets.legend import Legend

few = settings(max_examples=60)
NAN = float("nan")
BRAILLE = {chr(code) for code in range(0x2801, 0x2900)}


def curve(*lines: tuple[float, ...], x: tuple[str, ...] | None = None, name: str = "line") -> Curve:
    labels = x or tuple(str(place) for place in range(len(lines[0])))
    return Curve("a curve", "layer", labels, "bits", tuple(Series(f"{name} {n}", one) for n, one in enumerate(lines)))


def level(picture: Picture, line: float) -> float:
    """The value at the middle of a line of cells, by the numbers at the side."""
    (low_line, low), *_, (high_line, high) = sorted(
        (place, float(number.replace("−", "-"))) for place, number in picture.numbers.items()
    )
    return low + (high - low) * (line - low_line) / (high_line - low_line)


# ---- what is drawn --------------------------------------------------------------------------------------


@few
@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20), st.integers(40, 120), st.integers(8, 30))
def test_every_point_stands_at_its_value(values: list[float], cells: int, lines: int) -> None:
    drawn = draw_curve(curve(tuple(values)), cells, lines)
    assert all(len(row) == cells for row in drawn.glyphs) and len(drawn.glyphs) == lines
    step = abs(level(drawn, 1) - level(drawn, 0))
    for value, column in zip(values, drawn.columns, strict=True):
        at = [line for line in range(lines) if drawn.glyphs[line][column] == MARKERS[0]]
        assert at, f"{value} has no marker in column {column}"
        assert min(abs(level(drawn, line) - value) for line in at) <= 1.1 * step, (
            f"{value} stands at {at} of {drawn.numbers}"
        )


@few
@given(st.lists(st.floats(-1e9, 1e9) | st.just(NAN), min_size=1, max_size=12), st.integers(2, 25))
def test_the_axis_reaches_around_every_value_and_has_a_zero(values: list[float], lines: int) -> None:
    drawn = draw_curve(curve(tuple(values)), 40, lines)
    assert len(drawn.numbers) >= 2, f"{values} have one number at their side: {drawn.numbers}"
    assert all(len(number) <= number_cells(curve(tuple(values)), lines) for number in drawn.numbers.values())
    if lines >= 12:
        assert "0" in drawn.numbers.values(), f"no zero among {drawn.numbers}"


def test_a_gap_is_left_where_there_is_no_number() -> None:
    drawn = draw_curve(curve((1.0, 1.0, NAN, 1.0, 1.0)), 50, 9)
    first, second, missing, fourth, fifth = drawn.columns

    def line_between(left: int, right: int) -> bool:
        return any(row[cell] in BRAILLE for row in drawn.glyphs for cell in range(left + 1, right))

    assert line_between(first, second) and line_between(fourth, fifth)
    assert not line_between(second, fourth), "a line was drawn through a missing point"
    assert not any(row[missing] in MARKERS for row in drawn.glyphs), "a missing point has a marker"


def test_a_point_without_neighbors_is_seen() -> None:
    for values in ((3.0,), (NAN, 3.0, NAN)):
        drawn = draw_curve(curve(values), 30, 8)
        glyphs = {glyph for row in drawn.glyphs for glyph in row}
        assert MARKERS[0] in glyphs and not glyphs & BRAILLE, f"{values} are drawn with {glyphs}"
    many = draw_curve(curve((*[1.0] * 60, NAN, 2.0, NAN, *[1.0] * 60)), 30, 8, chosen=None)
    assert many.owner[:, many.columns[61]].max() == 0


def test_lines_differ_by_marker_or_dash_and_not_by_color_alone() -> None:
    reported = {(marker(place), DASHES[place % len(DASHES)]) for place in range(20)}
    assert len(reported) == 20
    assert len({sample(place) for place in range(10)}) == 10
    assert all(cell_len(sample(place)) == 5 for place in range(20))


def test_points_that_share_a_cell_are_marked_as_several() -> None:
    drawn = draw_curve(curve((1.0, 2.0), (1.0, 0.0)), 40, 9)
    assert drawn.overlaps
    assert any(row[drawn.columns[0]] == SEVERAL for row in drawn.glyphs)
    assert (drawn.owner[:, drawn.columns[1]] != ALL).all(), "points apart are said to share a cell"


# ---- widgets --------------------------------------------------------------------------------------------


THREE = curve((0.25, 0.5, 0.75), (3.0, NAN, 1.0), x=("0", "1", "2"))


@pytest.mark.parametrize("size", [(100, 24), (60, 12), (40, 9)])
async def test_a_plot_shows_axes_lines_and_the_values_at_its_cursor(size: tuple[int, int]) -> None:
    async with single_widget(CurvePlot(), size) as (plot, pilot):
        plot.curve = THREE
        await pilot.pause()
        assert_whole(plot)
        text = lines_of(plot)
        for reported in ("↑ bits", "→ layer", "▴ layer 0", "line 0", "line 1", "0.250", "3.00"):
            assert reported in text, f"'{reported}' is not told in\n{text}"
        await pilot.press("right")
        await pilot.pause()
        text = lines_of(plot)
        assert "▴ layer 1" in text and "0.500" in text and "–" in text, text
        await pilot.press("end", "right")
        assert plot.point == 2, "the cursor left the curve"
        await pilot.press("home", "left")
        assert plot.point == 0


async def test_a_click_chooses_the_nearest_point() -> None:
    async with single_widget(CurvePlot()) as (plot, pilot):
        plot.curve = THREE
        await pilot.pause()
        await pilot.click(CurvePlot, offset=(45, 5))
        assert plot.point == 1
        await pilot.click(CurvePlot, offset=(1, 5))
        assert plot.point == 0


async def test_a_legend_without_room_says_how_much_is_left_and_scrolls() -> None:
    lines = tuple((float(n), float(n)) for n in range(10))
    async with single_widget(CurvePlot(), (60, 10)) as (plot, pilot):
        plot.curve = curve(*lines, name="a line with a long name")
        await pilot.pause()
        assert_whole(plot)
        assert "of 10 lines" in lines_of(plot), lines_of(plot)
        seen = lines_of(plot)
        for _ in range(12):
            await pilot.press("down")
            seen += lines_of(plot)
        assert_whole(plot)
        for n in range(10):
            assert f"a line with a long name {n}" in seen, f"line {n} is never told"


@pytest.mark.parametrize(
    ("drawn", "expected_message"),
    [
        (Curve("c", "layer", (), "bits", ()), "no points"),
        (Curve("c", "layer", ("0",), "bits", ()), "no points"),
        (Curve("c", "layer", ("0", "1"), "bits", (Series("short", (1.0,)),)), "'short' has 1 values for 2 points"),
        (curve((NAN, NAN)), "no value was found"),
    ],
)
async def test_what_cannot_be_drawn_shows_a_message(drawn: Curve, expected_message: str) -> None:
    async with single_widget(CurvePlot()) as (plot, pilot):
        plot.curve = drawn
        await pilot.pause()
        assert expected_message in lines_of(plot)
        plot.curve = THREE
        await pilot.pause()
        assert plot.notice == "" and "line 0" in lines_of(plot), "the words stayed over a curve that can be drawn"


async def test_a_plot_without_room_says_so_and_comes_back() -> None:
    async with single_widget(CurvePlot(), (40, 4)) as (plot, pilot):
        plot.curve = THREE
        await pilot.pause()
        assert "too little space" in " ".join(lines_of(plot).split())
        await pilot.resize_terminal(100, 24)
        await pilot.pause()
        assert "line 0" in lines_of(plot)


async def test_labels_that_are_words_and_wide_glyphs_are_cut_with_a_mark_but_for_the_chosen_one() -> None:
    words = ("王王王王王王王王", "a rather long label", "[bold]x", "\U0001f600")
    async with single_widget(CurvePlot(), (90, 16)) as (plot, pilot):
        plot.curve = curve((1.0, 2.0, 3.0, 4.0), x=words, name="王")
        for _ in words:
            await pilot.pause()
            assert_whole(plot)
            assert f"▴ layer {words[plot.point]}" in lines_of(plot)
            await pilot.press("right")
        assert "…" in lines_of(plot)


async def test_no_color_still_draws_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with single_widget(Figure()) as (figure, pilot):
        for shown in (THREE, Grid("g", "layer", "head", "share", ((0.5, NAN), (0.0, 1.0)))):
            figure.shown = shown
            await pilot.pause()
            assert_whole(figure.plot)
            assert pilot.app.export_screenshot()


GRID = Grid("a grid", "layer", "head", "bits", ((0.5, 1.0, 2.0), (3.0, NAN, 31.0)))


async def test_a_grid_starts_at_its_highest_number_and_shows_each_under_the_cursor() -> None:
    async with single_widget(NumberGrid()) as (grid, pilot):
        grid.grid = GRID
        await pilot.pause()
        assert grid.description == "layer 1, head 2: 31.0 bits"
        await pilot.press("left")
        assert grid.description == "layer 1, head 1: –"
        await pilot.press("down", "left")
        assert grid.description == "layer 0, head 0: 0.500 bits", "the first row is not at the bottom"
        text = lines_of(grid)
        assert all(number in text for number in ("0.500", "1.00", "2.00", "3.00", "31.0", "–")), text
        assert "layer" in text and "head →" in text
        assert_whole(grid)


async def test_a_wide_grid_scrolls_and_still_shows_every_number() -> None:
    wide = Grid("wide", "layer", "head", "share", tuple(tuple(n / 100 for n in range(64)) for _ in range(30)))
    async with single_widget(NumberGrid(), (60, 10)) as (grid, pilot):
        grid.grid = wide
        await pilot.pause()
        assert grid.description == "layer 0, head 63: 63.0%"
        assert_whole(grid)
        await pilot.press("home")
        assert grid.description == "layer 0, head 0: 0%"


@pytest.mark.parametrize(
    ("values", "expected_message"),
    [((), "no cells"), (((), ()), "no cells"), (((1.0,), (1.0, 2.0)), "rows of different lengths")],
)
async def test_a_grid_without_cells_shows_a_message(
    values: tuple[tuple[float, ...], ...], expected_message: str
) -> None:
    async with single_widget(NumberGrid()) as (grid, pilot):
        grid.grid = Grid("a grid", "layer", "head", "bits", values)
        await pilot.pause()
        assert expected_message in lines_of(grid) and grid.description == ""


@pytest.mark.parametrize("values", [((2.0, 2.0),), ((NAN, NAN),), ((float("inf"), 1.0),)])
async def test_a_grid_of_one_number_or_none_is_drawn(values: tuple[tuple[float, ...], ...]) -> None:
    async with single_widget(NumberGrid()) as (grid, pilot):
        grid.grid = Grid("a grid", "layer", "head", "bits", values)
        await pilot.pause()
        assert grid.scale is None
        assert_whole(grid)


async def test_a_figure_shows_the_scale_of_a_grid_and_hands_the_keys_on() -> None:
    async with single_widget(Figure()) as (figure, pilot):
        figure.shown = GRID
        await pilot.pause()
        assert isinstance(pilot.app.focused, NumberGrid)
        legend = lines_of(figure.query_one(Legend))
        assert "bits" in legend and "0.5" in legend and "31" in legend, legend
        assert "rows: layer, columns: head" in legend
        figure.shown = THREE
        await pilot.pause()
        assert isinstance(pilot.app.focused, CurvePlot), "the keys stayed with a grid that no longer shows"
        assert not figure.query_one(Legend).display
