"""The page in a real browser: what mouse and keyboard do, and that nothing leaves the page."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.measure.registry import MEASURES
from edge.measure.sparsity import exact_zero_share, top_p_sparsity
from edge.picture.levels import Linear, Log, to_levels
from edge.picture.palettes import CIVIDIS
from edge.report.claims_section import claims_section
from edge.report.comparison_section import comparison_section
from edge.report.page import report_page
from edge.report.time_section import time_section
from edge.trace import Trace
from edge.watch import Watch
from tests.edge.report.example_lab import made_lab
from tests.edge.report.example_traces import HOSTILE, made_comparison, made_profile, made_trace, with_text

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")

_PIXEL = """([id, x, y]) => {
  const copy = new OffscreenCanvas(1, 1).getContext("2d");
  copy.drawImage(document.getElementById(id), -x, -y);
  return [...copy.getImageData(0, 0, 1, 1).data];
}"""

_REACHED = """(({ id, name, parentElement }) => id || name || parentElement.id || parentElement.className)(
  document.activeElement
)"""

TOKENS = [f" word{place}" for place in range(12)]


@dataclass
class Shown:
    """A page in the browser, and everything that it did besides showing itself."""

    page: Any
    left: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def text(self, id: str) -> str:
        found: str = self.page.text_content(f"#{id}")
        return found

    def hover(self, id: str, row: int, rows: int, column: int, columns: int) -> None:
        """Moves the mouse to the middle of a cell of a canvas."""
        self.page.locator(f"#{id}").scroll_into_view_if_needed()
        box = self.page.locator(f"#{id}").bounding_box()
        x, y = box["x"] + box["width"] * (column + 0.5) / columns, box["y"] + box["height"] * (row + 0.5) / rows
        self.page.mouse.move(x, y)

    def pixel(self, id: str, row: int, column: int) -> tuple[int, ...]:
        """Red, green, blue and opacity of a canvas at one cell, read from a copy of it."""
        return tuple(self.page.evaluate(_PIXEL, [id, column, row]))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)


Show = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright here: pip install playwright")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM)
        yield opened
        opened.close()


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Show:
    """Opens a page from a file, and lets nothing pass that it does besides."""

    @contextmanager
    def opened(written: str, **options: Any) -> Iterator[Shown]:
        file = tmp_path / "page.html"
        file.write_text(written, encoding="utf8")
        page = browser.new_page(viewport={"width": 1280, "height": 900}, **options)
        shown = Shown(page)
        page.on("request", lambda request: shown.left.append(request.url))
        page.on("console", lambda message: shown.complaints.append(message.text))
        page.on("pageerror", lambda error: shown.complaints.append(str(error)))
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-state=drawn]", timeout=20_000)
        yield shown
        page.close()
        assert [url for url in shown.left if url != "data:,"] == [file.as_uri()], f"the page asked for {shown.left}"
        assert not shown.complaints, f"the page complains: {shown.complaints}"

    return opened


def full_page(trace: Trace) -> str:
    beside = [
        time_section(made_profile(), "fake"),
        comparison_section(made_comparison(), "fake"),
        claims_section(made_lab(), "fake"),
    ]
    return report_page(trace, beside)


def test_the_cell_under_the_mouse_is_read_out(show: Show) -> None:
    trace = made_trace(TOKENS)
    with show(full_page(trace)) as shown:
        pattern = trace.pattern(2, 0)
        for query, key in ((14, 3), (9, 9), (5, 0)):
            shown.hover("map", query, 15, key, 15)
            said = re.fullmatch(r"query (\d+) ‘(.*)’ → key (\d+) ‘(.*)’: (≤?)([\d.]+)", shown.text("map-readout"))
            assert said, shown.text("map-readout")
            assert (int(said[1]), said[2]) == (query, trace.pieces[query])
            assert (int(said[3]), said[4]) == (key, trace.pieces[key])
            want = max(float(pattern[query, key]), 1e-4)
            assert abs(float(said[6]) / want - 1) < 0.07, f"weight {want:.5f} reads as {said[6]}"
        shown.hover("map", 2, 15, 8, 15)
        assert shown.text("map-readout").endswith("outside the attention window")


def test_colors_are_those_of_the_palette(show: Show) -> None:
    trace = made_trace(TOKENS)
    with show(full_page(trace)) as shown:
        for scale_name, scale in (("log", Log(1e-3, 1.0)), ("linear", Linear(0.0, 1.0))):
            shown.page.check(f"[name=weights][value={scale_name}]")
            levels = to_levels(trace.pattern(2, 0), scale)
            for query, key in ((14, 3), (9, 9), (1, 0)):
                *color, opacity = shown.pixel("map", query, key)
                level = int(levels[query, key])
                near = CIVIDIS.colors[max(level - 1, 0) : level + 2]
                assert tuple(color) in near and opacity == 255, f"{scale_name}: {query}, {key} is {color}"
        assert shown.pixel("map", 2, 8) == (0, 0, 0, 0), "a key outside the attention window has a color"


def test_the_layer_is_switched_by_keyboard_and_by_mouse(show: Show) -> None:
    trace = made_trace(TOKENS)
    with show(full_page(trace)) as shown:
        assert shown.text("map-title").startswith("layer 2, head 0:")
        before = shown.pixel("map", 14, 3)
        shown.page.focus("#heads button[tabindex='0']")
        shown.press("ArrowDown", "ArrowRight")
        assert shown.text("map-title").startswith("layer 1, head 1:")
        assert shown.pixel("map", 14, 3) != before, "another head shows the same map"
        assert shown.page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
        shown.press("ArrowDown", "ArrowDown", "ArrowLeft", "ArrowLeft")
        assert shown.text("map-title").startswith("layer 0, head 0:"), "the grid has ends"
        shown.page.click("#heads button[data-place='1'][data-head='3']")
        assert shown.text("map-title").startswith("layer 1, head 3:")
        pressed = shown.page.locator("#heads button[aria-pressed=true]")
        assert pressed.count() == 1 and pressed.get_attribute("aria-label") == shown.text("map-title")


def test_a_chosen_token_shows_what_it_reads(show: Show) -> None:
    trace = made_trace(TOKENS)
    with show(full_page(trace)) as shown:
        shown.page.click("#strip [role=option]:nth-child(8)")
        row = trace.pattern(2, 0)[7]
        strongest = int(row.argmax())
        assert shown.text("map-readout").startswith(f"query 7 ‘ word7’ → key {strongest} ")
        entries = shown.page.locator("#keys li").all_text_contents()
        order = [int(entry.split(" ")[0]) for entry in entries]
        want = [key for key in np.argsort(-row, kind="stable").tolist() if key < 8]
        assert len(order) == 8 and order[:3] == want[:3], f"token 7 reads {want}, the page lists {order}"
        shown.press("ArrowRight")
        assert shown.text("token-readout").startswith("token 8 ‘ word8’")
        assert shown.page.locator("#strip [aria-selected=true]").count() == 1
        shown.page.focus("#map")
        shown.press("ArrowUp", "ArrowUp")
        assert shown.text("map-readout").startswith("query 6 "), "arrow keys move on the map"
        assert shown.page.get_attribute("#strip [role=option]:nth-child(7)", "aria-selected") == "true"


def test_sparsity_is_read_out_by_either_definition(show: Show) -> None:
    trace = made_trace(TOKENS)
    with show(full_page(trace)) as shown:
        for name, measure in (("exact_zero_share", exact_zero_share), ("top_p_sparsity", top_p_sparsity)):
            shown.page.check(f"[name=definition][value={name}]")
            for layer, token in ((2, 1), (0, 14)):
                shown.hover("sparsity-map", 2 - layer, 3, token, 15)
                said = re.fullmatch(
                    r"layer (\d), token (\d+) ‘.*’: (?:exact zeros|top-p 0.9) ([\d.]+)%", shown.text("sparsity-readout")
                )
                assert said, shown.text("sparsity-readout")
                want = 100 * float(measure(trace.neurons(layer))[token])
                assert (int(said[1]), int(said[2])) == (layer, token) and abs(float(said[3]) - want) < 0.6
            means = [text.rstrip("%") for text in shown.page.locator("#sparsity-means li").all_text_contents()]
            want = [100 * float(measure(trace.neurons(layer)).mean()) for layer in (2, 1, 0)]
            np.testing.assert_allclose([float(text) for text in means], want, rtol=0.01)


def test_tokens_are_colored_by_the_number_that_is_chosen(show: Show) -> None:
    with show(full_page(made_trace(TOKENS))) as shown:
        options = shown.page.locator("#scalar option").all_text_contents()
        assert options[0] == "log-probability" and len(options) == 3 + len(MEASURES)
        colors = set()
        for place, title in enumerate(options):
            shown.page.select_option("#scalar", index=place)
            shown.page.wait_for_function(
                "(title) => document.getElementById('token-readout').textContent.includes(title)", arg=title
            )
            colors.add(
                tuple(shown.page.evaluate("[...document.querySelectorAll('#strip span')].map((s) => s.style.cssText)"))
            )
            assert shown.text("scalar-low") and shown.text("scalar-definition").endswith(".")
        assert len(colors) == len(options), "two numbers give tokens the same colors"


def test_everything_can_be_reached_by_keyboard(show: Show) -> None:
    with show(full_page(made_trace(TOKENS))) as shown:
        reached = []
        for _ in range(20):
            shown.press("Tab")
            reached.append(shown.page.evaluate(_REACHED))
        wanted = ["scalar", "strip", "weights", "layer-row", "map", "definition", "sparsity-map"]
        assert [name for name in reached if name in wanted] == wanted, f"tab goes through {reached}"
        nameless = shown.page.evaluate(
            "[...document.querySelectorAll('button, canvas[tabindex], [role=listbox], [role=group], nav')]"
            ".filter((one) => !one.getAttribute('aria-label')).map((one) => one.outerHTML)"
        )
        assert not nameless, f"without a name for those who hear the page: {nameless}"


def test_hostile_text_stays_text(show: Show) -> None:
    trace = with_text(made_trace(TOKENS), HOSTILE)
    beside = [
        time_section(made_profile(HOSTILE[:2], model=HOSTILE[0]), HOSTILE[1]),
        comparison_section(made_comparison(HOSTILE[:3], model=HOSTILE[1]), HOSTILE[0]),
        claims_section(made_lab(word="".join(HOSTILE)), HOSTILE[0]),
    ]
    with show(report_page(trace, beside)) as shown:
        shown.hover("map", 9, 15, 3, 15)
        shown.page.click("#strip [role=option]:nth-child(3)")
        assert shown.page.title() != "taken" and shown.page.locator("img").count() == 0
        assert shown.page.locator("main > section").count() == 7 and shown.page.is_visible("#lab")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_reader_s_theme_and_fits_a_phone(show: Show, scheme: str) -> None:
    with show(full_page(made_trace(TOKENS)), color_scheme=scheme) as shown:
        style = "getComputedStyle(document.documentElement)"
        paper = shown.page.evaluate(f"{style}.backgroundColor")
        assert paper == {"light": "rgb(250, 250, 247)", "dark": "rgb(15, 17, 23)"}[scheme]
        shown.page.emulate_media(media="print")
        assert shown.page.evaluate(f"{style}.backgroundColor") == "rgb(255, 255, 255)", "paper is white"
        shown.page.emulate_media(media="screen")
        shown.page.set_viewport_size({"width": 390, "height": 800})
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= 390, "the page is wider than a phone"


def test_a_browser_that_cannot_decompress_says_so(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(full_page(made_trace(TOKENS)), encoding="utf8")
    page = browser.new_page()
    page.add_init_script("delete window.DecompressionStream")
    page.goto(file.as_uri())
    page.wait_for_function("document.getElementById('problem').textContent")
    assert "cannot be drawn in this browser" in page.text_content("#problem")
    assert page.is_visible("#layers table"), "tables need no script"
    page.close()


def test_what_was_not_watched_leaves_a_page_that_works(show: Show) -> None:
    for watch in (Watch.nothing(), Watch(parts=("ffn.neurons",)), Watch(parts=("attn.query", "attn.key"))):
        with show(report_page(made_trace(watch=watch))) as shown:
            assert shown.page.is_visible("#tokens")
