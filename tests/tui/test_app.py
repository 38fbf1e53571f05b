"""The app as users start it: real engines, saved traces, bad input, and quitting at any moment."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest

import edge
from edge.attention_pattern import attention_pattern
from models.errors import CheckpointError, EdgeError, MisuseError
from models.zoo import zoo_names
from tests.tui.app_driver import PATIENCE_S, AppDriver
from tests.tui.fake_model import FakeModel, FakeModels
from tui.app import EdgeApp, MakeScreen
from tui.app_factory import app_on_model, app_on_trace, model_opener
from tui.jobs.job import ModelOnEngine
from tui.jobs.run import watch_for
from tui.screens.error import ErrorScreen
from tui.screens.opening import OpeningScreen
from tui.start import look
from tui.widgets.attention.attention_map import AttentionMap


async def test_a_real_engine_fills_the_screen(byte_llama: Path) -> None:
    app, runner = app_on_model(model_opener(None), ModelOnEngine(str(byte_llama), "torch"), ("torch",))
    try:
        async with app.run_test(size=(200, 60)) as pilot:
            ui = AppDriver(app, app.main, pilot, FakeModels(), runner)
            await ui.until(lambda: app.main.state.model is not None, "the model to load")
            await ui.run("a king")
            await ui.press("2")
            trace, chosen = ui.shown_run.trace, app.main.state.selection
            assert trace.n_fed == app.main.query_one("#map", AttentionMap).levels.shape[0]
            site = f"layers.{chosen.layer}.attn"
            query, key = trace.site(f"{site}.query")[:, chosen.head], trace.site(f"{site}.key")[:, chosen.head // 2]
            kind = trace.spec.layers[chosen.layer].attention
            pattern = attention_pattern(query, key, kind.scale, kind.window)
            assert chosen.key == int(pattern[chosen.token].argmax()), "the cursor is not on the largest weight"
            assert ui.shown_run.timing is not None and "torch" in ui.shown("HeaderBar")
            assert app.main.state.options.sparsity.key == "top_p_sparsity", (
                "a SiLU model is shown by exact zeros: it has none"
            )
    finally:
        assert runner.close(PATIENCE_S)


@pytest.mark.skipif("fable-relu" not in zoo_names(), reason="fable-relu is not in the zoo of this checkout")
async def test_the_bundled_model_fills_the_screen_on_the_default_engine() -> None:
    app, runner = app_on_model(model_opener(None), ModelOnEngine("fable-relu", "onnx"), ("onnx",))
    try:
        async with app.run_test(size=(80, 24)) as pilot:
            ui = AppDriver(app, app.main, pilot, FakeModels(), runner)
            await ui.until(lambda: app.main.state.model is not None, "the model to load")
            await ui.run("The king")
            assert (ui.shown_run.overview.sparsity["exact_zero_share"] > 0).all(), "a ReLU model without silent neurons"
            timing = ui.shown_run.timing
            assert timing is not None and timing.coverage > 0, "no sublayer was timed"
    finally:
        assert runner.close(PATIENCE_S)


def traced(watch: edge.Watch) -> edge.Trace:
    """A made-up run that recorded some sites."""
    model = FakeModel()
    ids = model.tokenizer.encode("Once upon a time")
    return model.run(ids=ids, max_new_tokens=5, watch=watch)


async def test_a_saved_trace_shows_without_any_engine(tmp_path: Path) -> None:
    traced(watch_for(FakeModel().spec, 1)).save(tmp_path / "seen.trace")
    app = app_on_trace(edge.open_trace(tmp_path / "seen.trace"))
    async with app.run_test(size=(120, 42)) as pilot:
        ui = AppDriver(app, app.main, pilot, FakeModels(), app.main.runner)
        await ui.until(lambda: app.main.state.main is not None, "the trace to show")
        await ui.idle()
        assert "daughters" in ui.shown("#tokens"), "the trace's tokens do not show"
        before = app.main.state.selection
        await ui.press("2", "l")
        assert app.main.state.selection.head == before.head + 1, "keys do not choose in a saved trace"
        assert not app.main.query_one("#map", AttentionMap).notice, "the map of a saved trace is empty"
        offered = {binding.binding.action for binding in app.main.active_bindings.values() if binding.enabled}
        assert not offered & {"engine", "prompt"}, "a saved trace offers to run"
        assert "fake" in ui.shown("HeaderBar")
        await ui.press("1")
        assert "no weights" in ui.shown("#next"), "the words of a saved trace do not say what is missing"


async def test_a_trace_without_queries_says_what_is_missing(tmp_path: Path) -> None:
    app = app_on_trace(traced(edge.Watch(parts=("ffn.neurons",))))
    async with app.run_test(size=(120, 42)) as pilot:
        ui = AppDriver(app, app.main, pilot, FakeModels(), app.main.runner)
        await ui.until(lambda: app.main.state.main is not None, "the trace to show")
        await ui.idle()
        await ui.press("2")
        assert "not recorded" in ui.shown("#map").replace("\n", " "), ui.shown("#map")
        await ui.press("3")
        assert "%" in ui.shown("#ffn"), "what was recorded does not show"


async def test_the_first_picture_comes_before_anything_heavy_and_the_screen_after_it() -> None:
    made = Event()

    def importing() -> MakeScreen:
        assert made.wait(PATIENCE_S)
        main = app_on_model(FakeModels().open, ModelOnEngine("fake", "onnx"), ("onnx",))[0].main
        return lambda: main

    app = EdgeApp().opening("a model · onnx", importing)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        assert isinstance(app.screen, OpeningScreen), "nothing shows while Edge is read"
        assert "a model · onnx" in str(app.screen.query_one("#opening").render())
        made.set()
        ui = AppDriver(app, None, pilot, FakeModels(), None)  # type: ignore[arg-type]
        await ui.until(lambda: app.screen is getattr(app, "main", None), "the main screen")
    assert app.main.runner.close(PATIENCE_S)


def test_the_app_itself_imports_neither_numpy_nor_an_engine() -> None:
    code = "import sys, tui.start; print(*{'numpy', 'onnxruntime', 'torch', 'mlx', 'jaxtyping'} & {*sys.modules})"
    reported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not reported, f"before the first picture, these are imported: {reported}"


def test_bad_input_is_refused_before_the_screen_opens(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="no-such-model"):
        look("no-such-model", "onnx")
    with pytest.raises(MisuseError, match="no engine 'tensorflow'"):
        look(str(tmp_path), "tensorflow")
    (tmp_path / "broken.trace").write_bytes(b"not a trace")
    with pytest.raises(EdgeError):
        look(str(tmp_path / "broken.trace"), "onnx")
    assert issubclass(CheckpointError, EdgeError)


QUIT_WHILE = """
from threading import Event
from concurrent.futures import ThreadPoolExecutor
from tests.tui.fake_model import FakeModel
from tui.app import show
from tui.app_factory import app_on_model
from tui.jobs.job import ModelOnEngine

busy = Event()

def load_forever(name, engine, progress):
    # As a real load does: on a pool's thread, for which Python waits at its end.
    return ThreadPoolExecutor(1).submit(lambda: busy.set() or Event().wait()).result()

model = FakeModel(pauses=True)

def open_model(name, engine, progress):
    return model

async def quit_while_loading(pilot):
    while not busy.is_set():
        await pilot.pause()
    await pilot.press("ctrl+q")

async def quit_while_running(pilot):
    while pilot.app.main.state.model is None:
        await pilot.pause()
    pilot.app.main.query_one("#prompt").value = "a king"
    await pilot.press("enter")
    while not model.is_pausing.is_set():
        await pilot.pause()
    await pilot.press("ctrl+q")

opener, pilot = {"load": (load_forever, quit_while_loading), "run": (open_model, quit_while_running)}["%s"]
app, _ = app_on_model(opener, ModelOnEngine("fake", "onnx"), ("onnx",))
show(app, headless=True, auto_pilot=pilot)
"""


IN_A_TERMINAL = """
import fcntl, os, signal, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, "-m", "edge", "look", "fable-relu"])
"""


def test_the_process_ends_with_its_terminal_under_a_parent_that_ignores_hangups() -> None:
    screen, terminal = os.openpty()
    process = subprocess.Popen([sys.executable, "-c", IN_A_TERMINAL], stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    try:
        seen = b""
        while b"fable-relu" not in seen:
            seen += os.read(screen, 65536)
        os.close(screen)
        assert process.wait(PATIENCE_S) == -signal.SIGHUP, "the UI outlives its terminal"
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("work", ["load", "run"])
def test_quitting_ends_the_process_in_the_middle_of_a(work: str) -> None:
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", QUIT_WHILE % work], cwd=root, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert ended.returncode == 0, f"quitting while it should {work} ended with {ended.returncode}:\n{ended.stderr}"


EVIL = "a\x1b]52;c;aGk=\x07b\x9b31mc\x7fd\u202ee"


async def test_nothing_that_a_terminal_acts_on_is_drawn() -> None:
    """Names of models, messages and titles are from outside; Textual itself lets ESC and C1 through."""
    acting = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e]")
    app = EdgeApp(app_on_model(FakeModels().open, ModelOnEngine("fake", "onnx"), ("onnx",))[0].main)
    async with app.run_test(size=(100, 30)) as pilot:
        app.push_screen(ErrorScreen(EVIL, EVIL))
        app.screen.border_title = EVIL
        await pilot.pause()
        drawn = "".join(segment.text for strip in app.screen._compositor.render_strips() for segment in strip)
    assert app.main.runner.close(PATIENCE_S)
    assert "]52;c;aGk=" in drawn, "the message does not show"
    assert acting.search(drawn) is None, f"{acting.findall(drawn)} would reach the terminal"


FAIL_IN_A_HANDLER = """
import sys
from edge.cli import exit_code
from tests.tui.fake_model import FakeModels
from tui import start
from tui.app import show
from tui.app_factory import app_on_model
from tui.jobs.job import ModelOnEngine

async def fail(pilot):
    await pilot.pause()
    pilot.app.main.call_later(lambda: {}["a defect"])
    await pilot.pause()

def look(model, engine, threads):
    app, _ = app_on_model(FakeModels().open, ModelOnEngine("fake", "onnx"), ("onnx",))
    show(app, headless=True, auto_pilot=fail)

start.look = look
sys.stdin.isatty = sys.stderr.isatty = lambda: True
sys.exit(exit_code(["look"]))
"""


def test_a_defect_in_a_handler_is_one_line_and_a_report(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAIL_IN_A_HANDLER], cwd=Path(__file__).parents[2], capture_output=True, text=True,
        timeout=PATIENCE_S, env=os.environ | {"EDGE_CACHE": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("edge: this is a bug in Edge: KeyError: 'a defect'"), done.stderr
    assert [*(tmp_path / "reports").iterdir()]
