"""A loaded model: one checkpoint on one engine, and everything that can be asked of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import perf_counter_ns
from types import TracebackType
from typing import TypeVar

import numpy as np
from jaxtyping import Float32

from edge import __version__
from edge.edits import Edit, check_edits
from edge.engines.base import Engine, Step
from edge.engines.choice import check_threads, engine_of
from edge.engines.registry import open_engine
from edge.engines.thread import EngineThread
from edge.generate import Generated, Request, check_ids, generate, logits_of
from edge.sampling import Sampling
from edge.time_sublayers import time_sublayers
from edge.timing import RunTiming, SublayerTiming
from edge.trace import Trace
from edge.watch import Watch
from models.chat import Turn, open_chat_template
from models.checkpoint import Checkpoint, open_checkpoint
from models.errors import MisuseError
from models.find_model import find_model
from models.other_formats import without_tokenizer
from models.progress import Progress
from models.spec import DecoderSpec
from models.tokenizer import TextStream, Tokenizer, open_tokenizer

T = TypeVar("T")


@dataclass(frozen=True)
class Token:
    """One generated token, as it is known.

    Attributes:
        text: Text that became complete with it; empty while a character is still missing bytes. The texts join to the
            trace's, which may end with one character more, or several, that never became complete.
        piece: The token as a label.
        logprob: Natural log-probability that the model gave it.
        step: The pass that led to it; the next one overwrites its logits.
    """

    id: int
    text: str
    piece: str
    logprob: float
    step: Step


OnToken = Callable[[Token], None]


class Model:
    """One checkpoint on one engine. Methods may be called from any thread; close it when done."""

    def __init__(self, checkpoint: Checkpoint, engine: str, threads: int | None, progress: Progress) -> None:
        self.checkpoint, choice = checkpoint, engine_of(engine)
        self.tokenizer = open_tokenizer(checkpoint.folder)
        self._stopping = Event()
        self._thread = EngineThread(lambda: open_engine(choice, checkpoint, threads, progress))
        try:
            opened = self._thread.do(lambda engine: engine)
            self.engine, self.threads, self.versions = opened.name, opened.threads, opened.versions
            self.weights_bytes, self.float_bytes = opened.weights_bytes, opened.float_bytes
        except BaseException:
            self.close()
            raise

    @property
    def spec(self) -> DecoderSpec:
        return self.checkpoint.spec

    @property
    def name(self) -> str:
        return self.checkpoint.name

    def run(
        self,
        prompt: str | None = None,
        *,
        ids: list[int] | None = None,
        max_new_tokens: int = 64,
        watch: Watch | None = None,
        sampling: Sampling | None = None,
        seed: int = 0,
        stop_tokens: tuple[int, ...] | None = None,
        edits: Sequence[Edit] = (),
        on_token: OnToken | None = None,
    ) -> Trace:
        """Feeds a prompt, generates, records what is watched.

        Args:
            prompt: Text; or give `ids` instead.
            watch: What to record; nothing by default.
            sampling: How tokens are chosen; greedy by default.
            seed: Of the random draws.
            stop_tokens: Tokens that end the run; the checkpoint's own by default.
            edits: What is changed while the decoder computes (`edge.edits`), each acting on what earlier ones left.
            on_token: Called with each token as soon as it is known, on the engine's thread.

        Raises:
            MisuseError: an empty prompt, ids out of the vocabulary, a prompt longer than the context,
                a watch beyond its budget, an edit of what this decoder does not have.
        """
        started_ns = perf_counter_ns()
        prompt_ids = self._prompt_ids(prompt, ids)
        tokenized_ns = perf_counter_ns()
        own_stops = self.tokenizer.stop_tokens if self.tokenizer else ()
        request = Request(
            ids=prompt_ids,
            max_new_tokens=max_new_tokens,
            watch=watch or Watch.nothing(),
            sampling=sampling or Sampling.greedy(),
            seed=seed,
            stop_tokens=frozenset(own_stops if stop_tokens is None else stop_tokens),
            edits=tuple(edits),
        )
        request.check(self.spec)
        stopping = self._stopping = Event()
        seen = self._teller(prompt_ids, on_token)
        made = self._thread.do(lambda engine: generate(engine, request, stopping, seen))
        return self._trace(request, made, started_ns, tokenized_ns)

    def chat_ids(self, turns: Sequence[Turn]) -> list[int]:
        """Ids of a conversation in the checkpoint's own chat template, up to where the assistant is to speak.

        Raises:
            MisuseError: the checkpoint has no template or no tokenizer, or the template refuses these turns.
            CheckpointError: the template itself is at fault.
        """
        named = self.tokenizer.named if self.tokenizer else {}
        template = open_chat_template(self.checkpoint.folder, named)
        if template is None:
            raise MisuseError(f"{self.checkpoint.folder} has no chat template; run the prompt as plain text instead")
        if self.tokenizer is None:
            raise MisuseError(f"no conversation can be run: {without_tokenizer(self.checkpoint.folder)}")
        return self.tokenizer.encode_spelled(template.text_of(turns))

    def logits(self, ids: list[int], edits: Sequence[Edit] = ()) -> Float32[np.ndarray, "token vocab"]:
        """Logits after every one of `ids`, teacher-forced, from a fresh cache; with what `edits` change."""
        check_ids(tuple(ids), self.spec)
        check_edits(edits, self.spec, len(ids))
        return self._thread.do(lambda engine: logits_of(engine, tuple(ids), edits))

    def time_sublayers(self, ids: list[int], *, tokens: int = 1, repeats: int = 30) -> SublayerTiming | None:
        """Times the pass over the last `tokens` of `ids`, the earlier ones being in the cache.

        One token is a decode step at depth `len(ids) - 1`; all of them are a prefill. None when stopped.
        """
        check_ids(tuple(ids), self.spec)
        if not 1 <= tokens <= len(ids):
            raise MisuseError(f"cannot time a pass over {tokens} of {len(ids)} tokens")
        if repeats < 1:
            raise MisuseError(f"repeats is {repeats}; a timing needs at least 1 pass")
        stopping = self._stopping = Event()
        return self._thread.do(lambda engine: time_sublayers(engine, tuple(ids), tokens, repeats, stopping.is_set))

    def with_engine(self, work: Callable[[Engine], T]) -> T:
        """Does `work` on the engine, on the thread where it must stay; what it has in its cache may be anything."""
        return self._thread.do(work)

    def stop(self) -> None:
        """Ends the work under way after its current pass; a run returns its trace so far."""
        self._stopping.set()

    def close(self) -> None:
        """Stops what runs, and lets go of weights, caches and the engine's thread."""
        self.stop()
        self._thread.close()

    def __enter__(self) -> "Model":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def _prompt_ids(self, prompt: str | None, ids: list[int] | None) -> tuple[int, ...]:
        if (prompt is None) == (ids is None):
            raise MisuseError("give a prompt as text, or as ids, one of the two")
        if prompt is None:
            return tuple(ids or ())
        if self.tokenizer is None:
            raise MisuseError(f"text cannot be run, give ids: {without_tokenizer(self.checkpoint.folder)}")
        if not prompt:
            raise MisuseError("the prompt is empty; give some text, or ids")
        return tuple(self.tokenizer.encode(prompt))

    def _teller(self, prompt_ids: tuple[int, ...], on_token: OnToken | None) -> Callable[[int, float, Step], None]:
        if on_token is None:
            return lambda *_: None
        stream = TextStream(self.tokenizer, prompt_ids) if self.tokenizer else _Numbers()
        return lambda id, logprob, step: on_token(Token(id, stream.add(id), _piece(self.tokenizer, id), logprob, step))

    def _trace(self, request: Request, made: Generated, started_ns: int, tokenized_ns: int) -> Trace:
        tokens = request.ids + made.tokens
        text = (
            self.tokenizer.continuation(request.ids, made.tokens)
            if self.tokenizer
            else " ".join(str(id) for id in made.tokens)
        )
        first_ns = made.chosen_ns[0] if made.chosen_ns else made.prefilled_ns
        gaps_ns = np.diff(np.array(made.chosen_ns, np.int64)).tolist()
        return Trace(
            spec=self.spec,
            model=self.name,
            engine=self.engine,
            versions={"edge": __version__, **self.versions},
            tokens=tokens,
            prompt_length=len(request.ids),
            n_fed=made.fed,
            pieces=tuple(_piece(self.tokenizer, id) for id in tokens),
            text=text,
            logprobs=made.logprobs,
            finish=made.finish,
            watch=request.watch,
            timing=RunTiming(
                tokenize_ms=(tokenized_ns - started_ns) / 1e6,
                prefill_ms=(made.prefilled_ns - made.started_ns) / 1e6,
                ttft_ms=(tokenized_ns - started_ns + first_ns - made.started_ns) / 1e6,
                inter_token_ms=tuple(gap_ns / 1e6 for gap_ns in gaps_ns),
            ),
            sites=made.sites,
            edits=tuple(str(edit) for edit in request.edits),
        )


def load(
    model: str | Path, engine: str = "onnx", *, threads: int | None = None, progress: Progress | None = None
) -> Model:
    """Loads a checkpoint folder, a model of the zoo by name, or a pulled one by its hub id, on one engine.

    Args:
        engine: `onnx`, `torch` or `mlx`, with a colon and the precision where it is not float32: `onnx:int4`;
            with a plus and the provider where ONNX Runtime is not to compute on the CPU: `onnx+cuda:int4`.
        threads: Threads to compute with; the physical cores by default.
        progress: Told what long work is at.

    Raises:
        CheckpointError, SpecError: the folder cannot be run; the message says why.
        MisuseError: an unknown engine, precision or model.
        MissingPackageError: the engine's package is not installed.
    """
    engine_of(engine)  # before anything is read
    check_threads(threads)
    return Model(open_checkpoint(find_model(model)), engine, threads, progress or (lambda _: None))


class _Numbers:
    """What stands for a text where there is no tokenizer: ids with a space between them."""

    def __init__(self) -> None:
        self._between = ""

    def add(self, id: int) -> str:
        text, self._between = f"{self._between}{id}", " "
        return text


def _piece(tokenizer: Tokenizer | None, id: int) -> str:
    return tokenizer.piece(id) if tokenizer else f"<{id}>"
