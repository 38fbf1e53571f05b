"""Drives a model off the UI's thread, and tells the screen by messages. Touches no widget."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition, Event, Thread
from time import monotonic
from typing import Protocol, runtime_checkable

from textual.message import Message

from edge.engines.registry import Progress
from edge.measure.overview import survey
from edge.sampling import Sampling
from edge.session import OnToken, Token
from edge.timing import SublayerTiming
from edge.trace import Trace
from edge.watch import Watch
from models.errors import EdgeError, MisuseError
from models.parameters import parameter_count
from models.spec import DecoderSpec
from tui.messages import Doing, Ended, Facts, Failed, Loaded, Streaming, Surveyed, Timed

WATCH = Watch(parts=("attn.query", "attn.key", "ffn.neurons"))
"""What the screen needs: attention maps are recomputed from queries and keys."""

POST_EVERY_S = 1 / 30
"""Tokens may come faster than a terminal can draw; the latest state is told this often."""

REPEATS = 20
"""Passes behind each latency: about a second for a small model."""


@runtime_checkable
class Reader(Protocol):
    """What the runner asks of a tokenizer."""

    def encode(self, text: str) -> list[int]: ...

    def piece(self, id: int) -> str: ...


@runtime_checkable
class Drivable(Protocol):
    """What the runner asks of a model; `edge.Model` is one."""

    engine: str
    threads: int

    @property
    def name(self) -> str: ...

    @property
    def spec(self) -> DecoderSpec: ...

    @property
    def tokenizer(self) -> Reader | None: ...

    def run(
        self,
        prompt: str | None = None,
        *,
        ids: list[int] | None = None,
        max_new_tokens: int = 64,
        watch: Watch | None = None,
        sampling: Sampling | None = None,
        on_token: OnToken | None = None,
    ) -> Trace: ...

    def time_sublayers(self, ids: list[int], *, tokens: int = 1, repeats: int = 30) -> SublayerTiming | None: ...

    def stop(self) -> None: ...

    def close(self) -> None: ...


OpenModel = Callable[[str, Progress], Drivable]
"""Opens the model on the engine of that name."""


@dataclass(frozen=True)
class Prompt:
    """What to run: text, or ids apart by spaces or commas where the model has no tokenizer."""

    text: str
    max_new_tokens: int
    sampling: Sampling


class Runner:
    """One thread that loads and runs; it always works on the latest wish and forgets older ones."""

    def __init__(self, open_model: OpenModel) -> None:
        self._open_model = open_model
        self._model: Drivable | None = None
        self._changed = Condition()
        self._interrupted, self._closing = Event(), Event()
        self._engine_wish: str | None = None
        self._prompt_wish: Prompt | None = None
        self._thread = Thread(target=self._drive, name="runner", daemon=True)
        self._post: Callable[[Message], object] = lambda message: None

    def start(self, post: Callable[[Message], object]) -> None:
        """Begins; `post` may be called from any thread, as `post_message` of a widget may."""
        self._post = post
        self._thread.start()

    def load(self, engine: str) -> None:
        """Loads the model on an engine; what runs ends."""
        self._wish(engine, None)

    def run(self, prompt: Prompt) -> None:
        """Runs a prompt; the one that runs is cancelled."""
        self._wish(self._engine_wish, prompt)

    def stop(self) -> None:
        """Ends the run, or the timing, under way after its current pass."""
        self._wish(None, None)

    def close(self, patience_s: float) -> bool:
        """Ends the thread and closes the model; False where a pass or a load outlasts `patience_s` seconds."""
        self._closing.set()
        self.stop()
        self._thread.join(patience_s)
        return not self._thread.is_alive()

    def _wish(self, engine: str | None, prompt: Prompt | None) -> None:
        with self._changed:
            self._engine_wish, self._prompt_wish = engine, prompt
            self._interrupted.set()
            if self._model is not None:
                self._model.stop()
            self._changed.notify()

    def _drive(self) -> None:
        while not self._closing.is_set():
            engine, prompt = self._next_wish()
            try:
                if engine is not None:
                    self._load(engine)
                if prompt is not None:
                    self._run(prompt)
            except EdgeError as error:
                self._post(Failed("that did not work", str(error)))
            except Exception as error:  # a defect: it must be seen, and the screen must live on
                self._post(Failed("an unexpected error", f"{type(error).__name__}: {error}"))
            self._post(Doing(""))
        if self._model is not None:
            self._model.close()

    def _next_wish(self) -> tuple[str | None, Prompt | None]:
        with self._changed:
            while not (self._engine_wish or self._prompt_wish or self._closing.is_set()):
                self._changed.wait()
            self._interrupted.clear()
            wish = self._engine_wish, self._prompt_wish
            self._engine_wish, self._prompt_wish = None, None
            return wish

    def _is_overtaken(self) -> bool:
        """Somebody wishes for something else, so what is at hand interests nobody."""
        return self._closing.is_set() or self._engine_wish is not None or self._prompt_wish is not None

    def _load(self, engine: str) -> None:
        self._post(Doing(f"loading {engine}"))
        model = self._open_model(engine, self._progress_of(engine))
        with self._changed:
            replaced, self._model = self._model, model
        if replaced is not None:
            replaced.close()
        self._post(Loaded(facts_of(model)))

    def _progress_of(self, engine: str) -> Progress:
        def tell(text: str) -> None:
            self._post(Doing(f"loading {engine}: {text}"))

        return tell

    def _run(self, prompt: Prompt) -> None:
        if self._model is None:
            raise MisuseError("no model is loaded, so nothing can run; choose an engine with 'e'")
        model = self._model
        ids = _prompt_ids(model, prompt.text)
        self._post(Doing("running", can_stop=True))
        trace = model.run(
            ids=ids,
            max_new_tokens=prompt.max_new_tokens,
            watch=WATCH,
            sampling=prompt.sampling,
            on_token=self._teller(model, ids),
        )
        if self._is_overtaken():
            return
        was_stopped = self._interrupted.is_set()
        self._post(Ended(trace))
        self._post(Doing("measuring"))
        for overview in survey(trace):
            if self._is_overtaken():
                return
            self._post(Surveyed(overview))
        timing = None
        if not was_stopped and not self._interrupted.is_set():
            self._post(Doing("timing each sublayer", can_stop=True))
            timing = model.time_sublayers(list(trace.tokens[: trace.n_fed]), tokens=1, repeats=REPEATS)
        if not self._is_overtaken():
            self._post(Timed(timing))

    def _teller(self, model: Drivable, ids: list[int]) -> OnToken:
        reader = model.tokenizer
        pieces = [reader.piece(id) if reader else f"<{id}>" for id in ids]
        self._post(Streaming(tuple(pieces), len(ids)))
        told_s = monotonic()

        def tell(token: Token) -> None:
            nonlocal told_s
            pieces.append(token.piece)
            if self._interrupted.is_set():
                model.stop()
            elif monotonic() - told_s >= POST_EVERY_S:
                told_s = monotonic()
                self._post(Streaming(tuple(pieces), len(ids)))

        return tell


def facts_of(model: Drivable) -> Facts:
    """What the screen shows of a model."""
    return Facts(
        name=model.name,
        engine=model.engine,
        spec=model.spec,
        parameters=parameter_count(model.spec),
        threads=model.threads,
        reads_text=model.tokenizer is not None,
    )


def facts_of_trace(trace: Trace) -> Facts:
    """What the screen shows of a saved trace."""
    return Facts(
        name=trace.model,
        engine=trace.engine,
        spec=trace.spec,
        parameters=parameter_count(trace.spec),
        threads=None,
        reads_text=False,
    )


def _prompt_ids(model: Drivable, text: str) -> list[int]:
    if model.tokenizer is not None:
        if not text:
            raise MisuseError("the prompt is empty; type some text and press enter")
        return model.tokenizer.encode(text)
    try:
        return [int(part) for part in text.replace(",", " ").split()]
    except ValueError as error:
        raise MisuseError(f"{model.name} has no tokenizer, so a prompt is ids such as '1 5 2', not '{text}'") from error
