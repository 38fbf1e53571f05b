"""A loaded model: one checkpoint on one engine. Runs prompts, computes logits, times sublayers."""

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
from edge.change import Edit, check_edits
from edge.engines.base import Engine, Step
from edge.engines.choice import check_threads, engine_of
from edge.engines.registry import as_computed, open_engine
from edge.engines.thread import EngineThread
from edge.generate import Generated, Request, check_ids, generate, logits_of
from edge.sampling import Sampling
from edge.stop_texts import StopTexts, check_stop_texts
from edge.time_sublayers import time_sublayers
from edge.timing import RunTiming, SublayerTiming
from edge.trace import Trace
from edge.watch import Watch
from models.chat import Turn, open_chat_template
from models.checkpoint import Checkpoint, open_checkpoint
from models.errors import MisuseError
from models.find_model import find_model
from models.progress import Progress
from models.spec import DecoderSpec
from models.tokenizer import TextStream, Tokenizer, open_tokenizer

T = TypeVar("T")


@dataclass(frozen=True)
class Token:
    """One generated token.

    Attributes:
        text: Text completed by this token; empty while a character lacks bytes. The texts join to `Trace.text`, which
            may end with further characters that were never completed.
        piece: The token as a label.
        logprob: Natural log-probability that the model gave it.
        step: The pass that computed its logits; the next pass overwrites them.
    """

    id: int
    text: str
    piece: str
    logprob: float
    step: Step


OnToken = Callable[[Token], None]


class Model:
    """One checkpoint on one engine. Methods may be called from any thread. Close it after use.

    Attributes:
        checkpoint: The weights that the engine computes with: quantized if the engine quantizes them.
    """

    def __init__(self, checkpoint: Checkpoint, engine: str, threads: int | None, progress: Progress) -> None:
        choice, self.checkpoint = as_computed(engine_of(engine), checkpoint, progress)
        self._source = checkpoint.source
        self.tokenizer = open_tokenizer(self._source.texts())
        self._stopping = Event()
        self._thread = EngineThread(lambda: open_engine(choice, self.checkpoint, threads, progress))
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
        stop_texts: Sequence[str] = (),
        edits: Sequence[Edit] = (),
        on_token: OnToken | None = None,
    ) -> Trace:
        """Feeds a prompt, generates tokens, and records the watched sites.

        Args:
            prompt: Text; pass `ids` instead for token ids.
            watch: What to record; nothing by default.
            sampling: How tokens are chosen; greedy by default.
            seed: Random seed for sampling.
            stop_tokens: Tokens that end the run; those of the checkpoint by default.
            stop_texts: Texts that end the run too, with the token that completes one.
            edits: Changes during the run (`edge.edits`), applied in order.
            on_token: Called with each generated token, on the engine's thread.

        Raises:
            MisuseError: an empty prompt, ids outside the vocabulary, a prompt longer than the context, a watch above
                its budget, or an edit of an unknown site.
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
        report = self._token_callback(prompt_ids, on_token)
        completes = self._completes(stop_texts, prompt_ids)
        generated = self._thread.do(lambda engine: generate(engine, request, stopping, report, completes))
        return self._trace(request, generated, started_ns, tokenized_ns)

    def chat_ids(self, turns: Sequence[Turn]) -> list[int]:
        """Token ids of a conversation in the checkpoint's chat template, up to the start of the assistant's turn.

        Raises:
            MisuseError: the checkpoint has no template or no tokenizer, or the template rejects these turns.
            CheckpointError: the template has an error.
        """
        named = self.tokenizer.named if self.tokenizer else {}
        template = open_chat_template(self._source.texts(), named)
        if template is None:
            raise MisuseError(f"{self._source.path} has no chat template; run the prompt as plain text instead")
        if self.tokenizer is None:
            raise MisuseError(f"a conversation needs a tokenizer: {self._source.without_tokenizer()}")
        return self.tokenizer.encode_spelled(template.text_of(turns))

    def logits(self, ids: list[int], edits: Sequence[Edit] = ()) -> Float32[np.ndarray, "token vocab"]:
        """Logits after every one of `ids`, teacher-forced, from an empty cache, with `edits`."""
        check_ids(tuple(ids), self.spec)
        check_edits(edits, self.spec, len(ids))
        return self._thread.do(lambda engine: logits_of(engine, tuple(ids), edits))

    def time_sublayers(self, ids: list[int], *, tokens: int = 1, repeats: int = 30) -> SublayerTiming | None:
        """Times the pass over the last `tokens` of `ids`, with the earlier ones in the cache.

        One token is a decode step at depth `len(ids) - 1`; all tokens are a prefill. None if stopped.
        """
        check_ids(tuple(ids), self.spec)
        if not 1 <= tokens <= len(ids):
            raise MisuseError(f"cannot time a pass over {tokens} of {len(ids)} tokens")
        if repeats < 1:
            raise MisuseError(f"repeats is {repeats}; at least 1 pass is needed")
        stopping = self._stopping = Event()
        return self._thread.do(lambda engine: time_sublayers(engine, tuple(ids), tokens, repeats, stopping.is_set))

    def with_engine(self, work: Callable[[Engine], T]) -> T:
        """Calls `work` with the engine, on the engine's thread. The cache may hold any tokens."""
        return self._thread.do(work)

    def stop(self) -> None:
        """Stops the current work after its current pass; a run returns its trace so far."""
        self._stopping.set()

    def close(self) -> None:
        """Stops the current work, frees weights and caches, and ends the engine's thread."""
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
            problem = "no prompt; pass text or token ids" if ids is None else "pass a prompt or ids, not both"
            raise MisuseError(problem)
        if prompt is None:
            return tuple(ids or ())
        if self.tokenizer is None:
            raise MisuseError(f"text needs a tokenizer, pass ids instead: {self._source.without_tokenizer()}")
        if not prompt:
            raise MisuseError("the prompt is empty; pass text or token ids")
        return tuple(self.tokenizer.encode(prompt))

    def _token_callback(
        self, prompt_ids: tuple[int, ...], on_token: OnToken | None
    ) -> Callable[[int, float, Step], None]:
        if on_token is None:
            return lambda *_: None
        stream = TextStream(self.tokenizer, prompt_ids) if self.tokenizer else _Numbers()
        return lambda id, logprob, step: on_token(Token(id, stream.add(id), _piece(self.tokenizer, id), logprob, step))

    def _completes(self, stop_texts: Sequence[str], prompt_ids: tuple[int, ...]) -> Callable[[int], bool]:
        """Whether a generated token completes a stop text, as a function of the token."""
        check_stop_texts(stop_texts)
        if not stop_texts:
            return lambda _: False
        if self.tokenizer is None:
            raise MisuseError(f"stop texts need a tokenizer: {self._source.without_tokenizer()}; use stop_tokens")
        return StopTexts(stop_texts, self.tokenizer, prompt_ids).ends

    def _trace(self, request: Request, generated: Generated, started_ns: int, tokenized_ns: int) -> Trace:
        tokens = request.ids + generated.tokens
        text = (
            self.tokenizer.continuation(request.ids, generated.tokens)
            if self.tokenizer
            else " ".join(str(id) for id in generated.tokens)
        )
        first_ns = generated.chosen_ns[0] if generated.chosen_ns else generated.prefilled_ns
        gaps_ns = np.diff(np.array(generated.chosen_ns, np.int64)).tolist()
        return Trace(
            spec=self.spec,
            model=self.name,
            engine=self.engine,
            versions={"edge": __version__, **self.versions},
            tokens=tokens,
            prompt_length=len(request.ids),
            n_fed=generated.fed,
            pieces=tuple(_piece(self.tokenizer, id) for id in tokens),
            text=text,
            logprobs=generated.logprobs,
            finish=generated.finish,
            watch=request.watch,
            timing=RunTiming(
                tokenize_ms=(tokenized_ns - started_ns) / 1e6,
                prefill_ms=(generated.prefilled_ns - generated.started_ns) / 1e6,
                ttft_ms=(tokenized_ns - started_ns + first_ns - generated.started_ns) / 1e6,
                inter_token_ms=tuple(gap_ns / 1e6 for gap_ns in gaps_ns),
            ),
            sites=generated.sites,
            edits=tuple(str(edit) for edit in request.edits),
        )


def load(
    model: str | Path, engine: str = "onnx", *, threads: int | None = None, progress: Progress | None = None
) -> Model:
    """Loads a checkpoint folder, a GGUF file, or a model by a name that `edge models` lists, on one engine.

    Args:
        engine: `onnx`, `torch` or `mlx`. Add `:PRECISION` for another precision than float32: `onnx:int4`. Add
            `+PROVIDER` for another device than the CPU in ONNX Runtime: `onnx+cuda:int4`. On a GGUF file also
            `llama.cpp`, which gives logits only.
        threads: Threads to compute with; the number of physical cores by default.
        progress: Called with one line of text when long work reaches a new step.

    Raises:
        CheckpointError, SpecError: the folder cannot be run; the message says why.
        MisuseError: unknown engine, precision or model.
        MissingPackageError: the engine's package is not installed.
    """
    engine_of(engine)  # before anything is read
    check_threads(threads)
    return Model(open_checkpoint(find_model(model)), engine, threads, progress or (lambda _: None))


class _Numbers:
    """The text of tokens without a tokenizer: ids separated by spaces."""

    def __init__(self) -> None:
        self._between = ""

    def add(self, id: int) -> str:
        text, self._between = f"{self._between}{id}", " "
        return text


def _piece(tokenizer: Tokenizer | None, id: int) -> str:
    return tokenizer.piece(id) if tokenizer else f"<{id}>"
