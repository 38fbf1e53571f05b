"""The app as users start it: real engines, saved traces, bad input, and quitting at any moment."""

import subprocess
import sys
from pathlib import Path

import pytest

import edge
from edge.engines.registry import Progress
from edge.measure.attention import attention_pattern
from models.errors import CheckpointError, EdgeError, MisuseError
from models.zoo import zoo_names
from tests.tui.driving import PATIENCE_S, Driven, lines_of
from tests.tui.fake import FakeModel, FakeShelf
from tui.app import build, build_saved, look
from tui.runner import WATCH
from tui.widgets.attention_map import AttentionMap
from tui.widgets.header_bar import HeaderBar


async def test_a_real_engine_fills_the_screen(byte_llama: Path) -> None:
    def open_model(engine: str, progress: Progress) -> edge.Model:
        return edge.load(byte_llama, engine, progress=progress)

    app, runner = build(open_model, "torch", ("torch",))
    try:
        async with app.run_test(size=(200, 60)) as pilot:
            ui = Driven(app, app.look, pilot, FakeShelf(), runner)
            await ui.until(lambda: app.look.facts is not None, "the model to load")
            await ui.run("a king")
            trace, chosen = app.look.trace, app.look.selection
            assert trace is not None and trace.n_fed == app.look.query_one(AttentionMap).levels.shape[0]
            site = f"layers.{chosen.layer}.attn"
            query, key = trace.site(f"{site}.query")[:, chosen.head], trace.site(f"{site}.key")[:, chosen.head // 2]
            pattern = attention_pattern(query, key, trace.spec.scale, trace.spec.layers[chosen.layer].reach)
            assert chosen.key == int(pattern[chosen.token].argmax()), "the cursor is not on the largest weight"
            assert app.look.timing is not None and "torch" in ui.shown("HeaderBar")
            assert "top-p" in ui.shown("#ffn-legend"), "a SiLU model is shown by exact zeros, of which it has none"
    finally:
        assert runner.close(PATIENCE_S)


@pytest.mark.skipif("fable-relu" not in zoo_names(), reason="fable-relu is not in the zoo of this checkout")
async def test_the_bundled_model_fills_the_screen_on_the_default_engine() -> None:
    def open_model(engine: str, progress: Progress) -> edge.Model:
        return edge.load("fable-relu", engine, progress=progress)

    app, runner = build(open_model, "onnx", ("onnx",))
    try:
        async with app.run_test(size=(80, 24)) as pilot:
            ui = Driven(app, app.look, pilot, FakeShelf(), runner)
            await ui.until(lambda: app.look.facts is not None, "the model to load")
            await ui.run("The king")
            overview, timing = app.look.overview, app.look.timing
            assert overview is not None and (overview.exact_zero > 0).all(), "a ReLU model without silent neurons"
            assert timing is not None and timing.coverage > 0, "no sublayer was timed"
    finally:
        assert runner.close(PATIENCE_S)


async def test_a_saved_trace_shows_without_any_engine(tmp_path: Path) -> None:
    model = FakeModel()
    ids = model.tokenizer.encode("Once upon a time")
    model.run(ids=ids, max_new_tokens=5, watch=WATCH).save(tmp_path / "seen.trace")
    app = build_saved(edge.open_trace(tmp_path / "seen.trace"))
    async with app.run_test(size=(120, 42)) as pilot:
        await pilot.pause()
        tokens, bars = app.look.query_one("#tokens"), app.look.query_one("#time")
        assert "daughters" in lines_of(tokens), "the trace's tokens do not show"
        assert "holds no latency" in lines_of(bars)
        before = app.look.selection
        await pilot.press("l")
        assert app.look.selection.head == before.head + 1, "keys do not choose in a saved trace"
        offered = {binding.binding.action for binding in app.look.active_bindings.values()}
        assert not offered & {"engine", "prompt"}, "a saved trace offers to run"
        assert "fake" in lines_of(app.look.query_one(HeaderBar))


async def test_a_trace_without_queries_says_what_is_missing(tmp_path: Path) -> None:
    model = FakeModel()
    watch = edge.Watch(parts=("ffn.neurons",))
    trace = model.run(ids=model.tokenizer.encode("Once upon"), max_new_tokens=5, watch=watch)
    app = build_saved(trace)
    async with app.run_test(size=(120, 42)) as pilot:
        await pilot.pause()
        assert "not watched" in lines_of(app.look.query_one("#map"))
        assert "%" in lines_of(app.look.query_one("#ffn")), "what was watched does not show"


def test_bad_input_is_refused_before_the_screen_opens(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="no such model"):
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
from tests.tui.fake import FakeModel
from tui.app import build, show

busy = Event()

def load_forever(engine, progress):
    # As a real load does: on a pool's thread, for which Python waits at its end.
    return ThreadPoolExecutor(1).submit(lambda: busy.set() or Event().wait()).result()

model = FakeModel(pauses=True)

def open_model(engine, progress):
    return model

async def quit_while_loading(pilot):
    while not busy.is_set():
        await pilot.pause()
    await pilot.press("ctrl+q")

async def quit_while_running(pilot):
    while pilot.app.look.facts is None:
        await pilot.pause()
    pilot.app.look.query_one("#prompt").value = "a king"
    await pilot.press("enter")
    while not model.is_pausing.is_set():
        await pilot.pause()
    await pilot.press("ctrl+q")

opener, pilot = {"load": (load_forever, quit_while_loading), "run": (open_model, quit_while_running)}["%s"]
show(*build(opener, "onnx", ("onnx",)), headless=True, auto_pilot=pilot)
"""


@pytest.mark.parametrize("work", ["load", "run"])
def test_quitting_ends_the_process_in_the_middle_of_a(work: str) -> None:
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", QUIT_WHILE % work], cwd=root, capture_output=True, text=True, timeout=PATIENCE_S * 2
    )
    assert ended.returncode == 0, f"quitting while it should {work} ended with {ended.returncode}:\n{ended.stderr}"
