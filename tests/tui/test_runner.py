"""The runner: messages in their order, and always the latest request."""

from collections.abc import Callable
from threading import Event

import pytest
from textual.message import Message

from models.progress import Progress
from tests.tui.fake_model import FakeModel, FakeModels
from tui.jobs.job import ModelOnEngine, OpenModel
from tui.jobs.load import Load
from tui.jobs.run import Prompt, Run
from tui.messages import JobFailed, JobProgress, ModelLoaded, OverviewMeasured, RunEnded, Streaming, SublayersTimed
from tui.options import SAMPLED
from tui.runner import Runner

PATIENCE_S = 20.0
LOAD = Load(ModelOnEngine("fake", "onnx"))


class Heard:
    """Every message of a runner, and a way to wait for the next rest."""

    def __init__(self, open_model: OpenModel) -> None:
        self.messages: list[Message] = []
        self.rests = Event()
        self.runner = Runner(open_model)
        self.runner.start(self.hear)

    def hear(self, message: Message) -> None:
        self.messages.append(message)
        if isinstance(message, JobProgress) and not message.work:
            self.rests.set()

    def until_rest(self) -> list[Message]:
        assert self.rests.wait(PATIENCE_S), f"the runner never came to rest: {self.messages}"
        self.rests.clear()
        return self.messages

    def kinds(self) -> list[type[Message]]:
        return [type(message) for message in self.messages if not isinstance(message, JobProgress | OverviewMeasured)]


def test_a_run_posts_its_tokens_then_its_trace_then_its_latencies() -> None:
    heard = Heard(FakeModels().open)
    heard.runner.do(LOAD)
    heard.until_rest()
    heard.runner.do(Run(Prompt("a king", 4, SAMPLED)))
    heard.until_rest()
    kinds = heard.kinds()
    assert kinds[:2] == [ModelLoaded, Streaming] and kinds[-2:] == [RunEnded, SublayersTimed], (
        f"told in the order {kinds}"
    )
    ended = next(message for message in heard.messages if isinstance(message, RunEnded))
    assert len(ended.trace.tokens) == 6
    surveys = [message for message in heard.messages if isinstance(message, OverviewMeasured)]
    assert len(surveys) == ended.trace.spec.n_layers, "not every layer was measured"
    assert heard.runner.close(PATIENCE_S)


def test_fast_tokens_are_reported_about_thirty_times_per_second() -> None:
    heard = Heard(FakeModels().open)
    heard.runner.do(LOAD)
    heard.until_rest()
    heard.runner.do(Run(Prompt("a king", 12, SAMPLED)))
    heard.until_rest()
    reported = [message for message in heard.messages if isinstance(message, Streaming)]
    assert len(reported) < 12, f"{len(reported)} messages for 12 tokens that came at once"
    assert reported[0].can_replace(reported[-1]), "an unread state is not overtaken by a newer one"
    assert heard.runner.close(PATIENCE_S)


def test_closing_in_the_middle_of_a_run_ends_run_model_and_thread() -> None:
    fake_models = FakeModels(pauses=True)
    heard = Heard(fake_models.open)
    heard.runner.do(LOAD)
    heard.until_rest()
    heard.runner.do(Run(Prompt("a king", 8, SAMPLED)))
    assert fake_models.opened[0].is_pausing.wait(PATIENCE_S)
    assert heard.runner.close(PATIENCE_S), "the thread outlived the runner"
    assert fake_models.opened[0].closed.is_set(), "the model was not closed"
    assert RunEnded not in heard.kinds(), "a trace nobody waits for was told"


def test_closing_in_the_middle_of_a_load_says_that_it_goes_on() -> None:
    is_loading, goes_on = Event(), Event()

    def open_slowly(model: str, engine: str, progress: Progress) -> FakeModel:
        is_loading.set()
        goes_on.wait(PATIENCE_S)
        return FakeModel(engine)

    heard = Heard(open_slowly)
    heard.runner.do(LOAD)
    assert is_loading.wait(PATIENCE_S)
    assert not heard.runner.close(0.05), "close claims that a load has ended which goes on"
    goes_on.set()
    assert heard.runner.close(PATIENCE_S)


def test_a_prompt_typed_while_the_model_loads_runs_later() -> None:
    loads = Event()

    def open_slowly(model: str, engine: str, progress: Progress) -> FakeModel:
        loads.wait(PATIENCE_S)
        return FakeModel(engine)

    heard = Heard(open_slowly)
    heard.runner.do(LOAD)
    heard.runner.do(Run(Prompt("early words", 2, SAMPLED)))
    loads.set()
    while SublayersTimed not in heard.kinds():
        heard.until_rest()
    ended = [message for message in heard.messages if isinstance(message, RunEnded)]
    assert len(ended) == 1 and ended[0].trace.prompt_length == 2
    assert heard.runner.close(PATIENCE_S)


class Panic(BaseException):
    """What a native library raises: no Exception."""


@pytest.mark.parametrize(
    ("fault", "reported"),
    [
        (ValueError("odd"), "this is a bug in Edge: ValueError: odd; please report it with /"),
        (Panic("unwrap"), "this is a bug in Edge: Panic: unwrap; please report it with /"),
        (MemoryError("no room"), "this machine has not enough memory (no room)"),
    ],
)
def test_a_defect_is_reported_and_the_runner_lives_on(fault: BaseException, reported: str) -> None:
    fake_models = FakeModels()
    heard = Heard(fake_models.open)
    heard.runner.do(LOAD)
    heard.until_rest()
    tokenizer = fake_models.opened[0].tokenizer
    encode, tokenizer.encode = tokenizer.encode, _raiser(fault)  # type: ignore[method-assign]
    heard.runner.do(Run(Prompt("a king", 2, SAMPLED)))
    failed = [message for message in heard.until_rest() if isinstance(message, JobFailed)]
    assert failed and reported in failed[0].text, f"told {heard.messages}"
    tokenizer.encode = encode  # type: ignore[method-assign]
    heard.runner.do(Run(Prompt("a king", 2, SAMPLED)))
    heard.until_rest()
    assert heard.kinds()[-1] is SublayersTimed, "nothing runs after a defect"
    assert heard.runner.close(PATIENCE_S)


def _raiser(fault: BaseException) -> Callable[[str], list[int]]:
    def encode(text: str) -> list[int]:
        raise fault

    return encode
