"""A loaded model: what it answers, what it refuses, and how it is stopped."""

from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

import edge
from edge.session import Model, Token
from edge.watch import Watch
from models.errors import EdgeError, MisuseError
from tests.shared import shared
from tests.tiny import tiny_checkpoint

ENGINES = ("torch", "onnx", "mlx")


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model(tiny_checkpoint("neox-full-rotary-relu"), "torch", None, lambda _: None) as opened:
        yield opened


@pytest.mark.parametrize("engine", ENGINES)
def test_stories260k_generates_its_known_story(engine: str) -> None:
    """A real trained model gives, greedily from token 1, the text its author's own program gives."""
    folder = shared("stories260K")
    expected = (folder / "expected.txt").read_text()
    with edge.load(folder, engine=engine) as stories:
        text = stories.run(ids=[1], max_new_tokens=300).text
    assert text.startswith(expected.strip()), f"{engine} tells another story: {text}"


def test_tokens_are_reported_while_they_are_generated(model: Model) -> None:
    reported: list[Token] = []
    trace = model.run(ids=[1, 2, 3], max_new_tokens=7, on_token=reported.append)
    assert tuple(token.id for token in reported) == trace.generated
    assert tuple(token.logprob for token in reported) == trace.logprobs
    assert "".join(token.text for token in reported).split() == trace.text.split()


def test_a_run_counts_what_it_fed(model: Model) -> None:
    trace = model.run(ids=[1, 2, 3], max_new_tokens=4, watch=Watch.all())
    assert (trace.prompt_length, len(trace.generated), trace.n_fed, trace.finish) == (3, 4, 6, "length")
    assert {len(array) for array in trace.sites.values()} == {6}
    assert len(trace.timing.inter_token_ms) == 3


def test_a_prompt_can_be_looked_at_without_generating(model: Model) -> None:
    trace = model.run(ids=[1, 2, 3], max_new_tokens=0, watch=Watch.all())
    assert trace.generated == () and trace.n_fed == 3
    assert trace.pattern(0, 0).shape == (3, 3)


def test_a_stop_token_ends_the_run(model: Model) -> None:
    first = model.run(ids=[1, 2, 3], max_new_tokens=5).generated[2]
    trace = model.run(ids=[1, 2, 3], max_new_tokens=50, stop_tokens=(first,))
    assert trace.generated[-1] == first and trace.finish == "stop" and len(trace.generated) <= 3


def test_a_full_context_ends_the_run(model: Model) -> None:
    context = model.spec.context
    trace = model.run(ids=[1] * (context - 2), max_new_tokens=50, stop_tokens=())
    assert len(trace.tokens) == context and trace.finish == "context"


def test_stop_ends_a_run_from_another_thread(model: Model) -> None:
    def stop_after_three(token: Token, seen: list[int] = []) -> None:  # noqa: B006
        seen.append(token.id)
        if len(seen) == 3:
            stopper = Thread(target=model.stop)
            stopper.start()
            stopper.join()

    trace = model.run(ids=[1, 2], max_new_tokens=40, stop_tokens=(), watch=Watch.all(), on_token=stop_after_three)
    assert trace.finish == "stopped" and len(trace.generated) == 3
    assert {len(array) for array in trace.sites.values()} == {trace.n_fed}
    assert model.run(ids=[1, 2], max_new_tokens=4, stop_tokens=()).finish == "length", "the next run was stopped too"


def test_a_run_after_another_starts_afresh(model: Model) -> None:
    alone = model.run(ids=[5, 6, 7], max_new_tokens=5).tokens
    model.run(ids=[9] * 20, max_new_tokens=5)
    assert model.run(ids=[5, 6, 7], max_new_tokens=5).tokens == alone


@pytest.mark.parametrize(
    ("ids", "expected_message"),
    [([], "empty"), ([128], "outside the vocabulary; ids run from 0 to 127"), ([-1], "outside"), ([1] * 65, "context")],
)
def test_prompts_that_cannot_run_are_refused(model: Model, ids: list[int], expected_message: str) -> None:
    with pytest.raises(MisuseError, match=expected_message):
        model.run(ids=ids)
    with pytest.raises(MisuseError, match=expected_message):
        model.logits(ids)


def test_text_needs_a_tokenizer(model: Model) -> None:
    with pytest.raises(MisuseError, match=r"no tokenizer\.json"):
        model.run("Once")


def test_text_and_ids_together_are_refused(model: Model) -> None:
    with pytest.raises(MisuseError, match="not both"):
        model.run("Once", ids=[1])


@pytest.mark.parametrize("layer", [-1, 3])
def test_a_layer_that_is_not_there_cannot_be_watched(model: Model, layer: int) -> None:
    with pytest.raises(MisuseError, match="layers 0 to 2"):
        model.run(ids=[1], watch=Watch(parts=("input",), layers=(layer,)))


def test_an_unknown_part_cannot_be_watched(model: Model) -> None:
    with pytest.raises(MisuseError, match=r"no site part 'attn\.pattern'"):
        model.run(ids=[1], watch=Watch(parts=("attn.pattern",)))


def test_a_capture_holds_what_it_said_it_would(model: Model) -> None:
    for watch in (Watch.all(), Watch(parts=("attn.key", "ffn.neurons"), layers=(0, 2), half=True)):
        trace = model.run(ids=[1, 2, 3], max_new_tokens=4, watch=watch)
        held_bytes = sum({array.ctypes.data: array.nbytes for array in trace.sites.values()}.values())
        assert held_bytes == watch.cost_bytes(model.spec, trace.n_fed)


def test_a_capture_beyond_its_budget_is_refused_before_it_runs(model: Model) -> None:
    with pytest.raises(MisuseError, match="the budget is 0 MB; watch fewer layers"):
        model.run(ids=[1, 2], watch=Watch(parts=("input",), budget_bytes=100))


def test_half_precision_captures_are_close_to_full_ones(model: Model) -> None:
    full = model.run(ids=[1, 2, 3], max_new_tokens=3, watch=Watch(parts=("attn.query", "attn.key")))
    half = model.run(ids=[1, 2, 3], max_new_tokens=3, watch=Watch(parts=("attn.query", "attn.key"), half=True))
    assert np.abs(full.pattern(1, 0) - half.pattern(1, 0)).max() < 5e-3


@pytest.mark.parametrize(("engine", "meant"), [("onx", "onnx"), ("pytorch", "torch"), ("mxl", "mlx")])
def test_an_unknown_engine_suggests_what_was_meant(engine: str, meant: str) -> None:
    with pytest.raises(MisuseError, match=f"did you mean '{meant}'"):
        edge.load("fable-relu", engine=engine)


def test_an_unknown_model_lists_the_zoo(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="no bundled model of that name"):
        edge.load("fabel")
    with pytest.raises(EdgeError, match=r"has no config\.json"):
        edge.load(tmp_path)


def test_a_failed_load_ends_its_thread(tmp_path: Path) -> None:
    from threading import active_count

    before = active_count()
    with pytest.raises(MisuseError):
        Model(tiny_checkpoint("neox-full-rotary-relu"), "nothing", None, lambda _: None)
    assert active_count() == before
