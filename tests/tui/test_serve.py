"""The UI in a browser, as `textual serve` puts it there: the page shows the screen and answers keys."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from models.zoo import zoo_names

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium"),
    pytest.mark.skipif("fable-relu" not in zoo_names(), reason="fable-relu is not in the zoo of this checkout"),
]

ROOT = Path(__file__).parents[2]

SERVE = """
import sys
from textual_serve.server import Server
Server(sys.argv[1], host="127.0.0.1", port=int(sys.argv[2])).serve()
"""
"""What `textual serve` does with its arguments."""

PATIENCE_MS = 60_000

_CATCH = """
Object.defineProperty(Object.prototype, "webglAddon", {
  configurable: true,
  set(value) {
    window.shown = this.terminal;
    Object.defineProperty(this, "webglAddon", { value, writable: true });
  },
});
"""
"""Keeps hold of the page's terminal, which it does not show to others."""

_LINES = """() => {
  const buffer = window.shown.buffer.active;
  return [...Array(window.shown.rows).keys()].map((row) => buffer.getLine(row).translateToString(true)).join("\\n");
}"""


@dataclass
class Served:
    """The UI as it is served on loopback."""

    address: str
    process: psutil.Process

    def visitors(self) -> list[psutil.Process]:
        """The processes of those who look."""
        return [child for child in self.process.children(recursive=True) if "look" in child.cmdline()]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    pytest.importorskip("textual_serve", reason="no textual-serve here: pip install textual-serve")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = tmp_path_factory.mktemp("served") / "settings"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "EDGE_CONFIG": str(settings)}
    command = [sys.executable, "-c", SERVE, f"{sys.executable} -m edge look fable-relu", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield Served(f"http://127.0.0.1:{port}", psutil.Process(server.pid))
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture
def page(served: Served) -> Iterator[Any]:
    """The page, in a browser that reaches nothing but the server."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright here: pip install playwright")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM)
        opened = browser.new_page(viewport={"width": 1280, "height": 800})
        opened.set_default_timeout(PATIENCE_MS)
        opened.route(lambda url: not url.startswith(served.address), lambda route: route.abort())
        opened.add_init_script(_CATCH)
        window(opened, served.address)
        yield opened
        browser.close()


def window(page: Any, address: str) -> None:
    """Opens the page once the server answers."""
    playwright = pytest.importorskip("playwright.sync_api")
    for _ in range(PATIENCE_MS // 250):
        try:
            page.goto(address)
            return
        except playwright.Error:
            page.wait_for_timeout(250)
    pytest.fail("the server never answered")


def until(page: Any, holds: Callable[[str], bool], what: str) -> str:
    """What the terminal of the page shows, once something holds of it."""
    shown = ""
    for _ in range(PATIENCE_MS // 100):
        shown = page.evaluate(_LINES)
        if holds(shown):
            return shown
        page.wait_for_timeout(100)
    pytest.fail(f"waited {PATIENCE_MS / 1000:.0f} s in vain for {what}:\n{shown}")


def test_the_page_shows_the_layers_and_answers_keys(page: Any, served: Served) -> None:
    shown = until(
        page, lambda text: "6.84M parameters" in text or ("fable-relu" in text and "ready" in text), "the model"
    )
    assert "1 Layers" in shown and "type a prompt" in shown, shown
    page.locator(".xterm-helper-textarea").focus()
    page.keyboard.type("a king")
    page.keyboard.press("Enter")
    until(page, lambda text: "attention" in text and "µs" in text, "the layers of a run")
    page.keyboard.press("2")
    shown = until(page, lambda text: "▸2 Attention" in text, "the second screen")
    assert "▸1 Layers" not in shown
    visitors = served.visitors()
    assert len(visitors) == 1, f"one visitor has {len(visitors)} processes"
    page.close()
    _, alive = psutil.wait_procs(visitors, timeout=PATIENCE_MS / 1000)
    assert not alive, "the process of a visitor who left goes on"
