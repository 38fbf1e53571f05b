"""The generation loop: feeds the prompt in chunks, then one token at a time, and records the watched sites."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Event
from time import perf_counter_ns

import numpy as np
from jaxtyping import Float32, Int64

from edge.change import Edit, changes, check_edits
from edge.engines.base import NO_ROWS, Engine, Rows, Step, row_of_logits
from edge.finite_checks import check_logits, check_sites
from edge.sampling import LogProbabilities, Sampling
from edge.trace import Finish
from edge.watch import Watch
from models.errors import MisuseError
from models.rotary import context_limit_reason
from models.sites import LOGITS, place_of
from models.spec import DecoderSpec

CHUNK = 512
"""Maximum tokens in one pass. Bounds how long a stop request waits."""

MAX_SCORES = 1 << 24
"""Maximum attention scores of a layer in one pass: 64 MiB in float32, since runtimes keep all of them in memory."""

_MIN_CHUNK = 16
"""Tokens that are fed together for any number of scores."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """The parameters of a run.

    Attributes:
        ids: The prompt.
        stop_tokens: Generation ends after one of these.
        edits: Edits, applied in this order.
        seed: Random seed for sampling; equal seeds give equal tokens.
    """

    ids: tuple[int, ...]
    max_new_tokens: int
    watch: Watch
    sampling: Sampling
    seed: int
    stop_tokens: frozenset[int]
    edits: tuple[Edit, ...] = ()

    def check(self, spec: DecoderSpec) -> None:
        """Raises MisuseError if this decoder cannot do the run."""
        check_ids(self.ids, spec)
        check_whole("max_new_tokens", self.max_new_tokens)
        check_whole("seed", self.seed)
        check_edits(self.edits, spec, len(self.ids) + self.room(spec))
        self.watch.check_budget(spec, len(self.ids) + self.room(spec))

    def room(self, spec: DecoderSpec) -> int:
        """Tokens that may be generated before the context is full."""
        return min(self.max_new_tokens, spec.context - len(self.ids))


def check_ids(ids: tuple[int, ...], spec: DecoderSpec) -> None:
    """Raises MisuseError if the prompt is empty, longer than the context, or has ids outside the vocabulary."""
    if not ids:
        raise MisuseError("the prompt is empty; pass text or token ids")
    invalid = [id for id in ids if not isinstance(id, int | np.integer) or isinstance(id, bool)]
    if invalid:
        raise MisuseError(f"{invalid[0]!r} is not a token id; ids are whole numbers from 0 to {spec.vocab_size - 1}")
    outside = [id for id in ids if not 0 <= id < spec.vocab_size]
    if outside:
        raise MisuseError(f"id {outside[0]} is outside the vocabulary; ids run from 0 to {spec.vocab_size - 1}")
    if len(ids) > spec.context:
        raise MisuseError(
            f"the prompt has {len(ids)} tokens, the context of this model is {spec.context}"
            f"{context_limit_reason(spec)}; shorten the prompt"
        )


def check_whole(name: str, value: object, least: int = 0) -> None:
    """Raises MisuseError unless `value` is a whole number of at least `least`."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise MisuseError(f"{name} is {value!r}; it must be a whole number, {least} or more")


class Recorder:
    """Records the watched sites of one run in preallocated arrays, so that no value is stored twice.

    The engine writes float32 values into these arrays directly. Each site has its own array: for one large block numpy
    requests huge pages, which take longer to allocate than small ones. Logits that are not recorded have one row, which
    each pass overwrites.
    """

    def __init__(self, spec: DecoderSpec, watch: Watch, edits: Sequence[Edit], rows: int) -> None:
        self._spec, self._watch, self._edits, self._rows = spec, watch, edits, 0
        self._fed: list[Int64[np.ndarray, " token"]] = []
        dtype = np.float16 if watch.half else np.float32
        self._places = {site: place_of(site.name) for site in watch.sites(spec)}
        self._arrays = {place: np.empty((rows, *site.row_shape), dtype) for site, place in self._places.items()}
        self._last: Rows = NO_ROWS if watch.logits else row_of_logits(spec)

    def feed(self, engine: Engine, ids: Int64[np.ndarray, " token"]) -> Step:
        """Feeds `ids` with the edits, and records the watched sites.

        Raises:
            EdgeError: logits are not finite; the message names the first site and token.
        """
        start, end = self._rows, self._rows + len(ids)
        places = {place: array[start:end] for place, array in self._arrays.items()}
        changed = changes(self._edits, self._spec, range(start, end))
        step = engine.feed(ids, self._watch, self._last if self._watch.half else {**places, **self._last}, changed)
        if self._watch.half:
            values = {LOGITS: step.logits} | {place_of(site): value for site, value in step.sites.items()}
            with np.errstate(over="ignore"):  # `sites` reports numbers above the float16 maximum
                for place, array in places.items():
                    array[...] = values[place]
        self._rows = end
        self._fed.append(ids)
        check_logits(engine, self._fed, self._edits, step.logits)
        return step

    def sites(self, engine: Engine) -> dict[str, np.ndarray]:
        """The recorded values by site name.

        Raises:
            EdgeError: some are not finite; the message names the first site and token.
        """
        recorded = {site.name: self._arrays[place][: self._rows] for site, place in self._places.items()}
        check_sites(engine, self._fed, self._edits, recorded)
        return recorded


@dataclass(frozen=True, kw_only=True)
class Generated:
    """The result of the loop. Times are nanoseconds on one monotonic clock.

    Attributes:
        fed: Tokens that were fed; fewer than the prompt has if the run was stopped during the prompt.
        chosen_ns: Time at which each generated token was chosen.
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish: Finish
    fed: int
    sites: dict[str, np.ndarray]
    started_ns: int
    prefilled_ns: int
    chosen_ns: tuple[int, ...]


OnToken = Callable[[int, float, Step], None]
"""Called with each generated token: id, log-probability, and the pass that computed its logits."""


def passes(spec: DecoderSpec, tokens: int) -> Iterator[range]:
    """Ranges of prompt tokens that are fed together; they get shorter as the context grows."""
    start, n_heads = 0, spec.n_heads
    while start < tokens:
        count = min(CHUNK, tokens - start)
        while count > _MIN_CHUNK and n_heads * count * (start + count) > MAX_SCORES:
            count //= 2
        yield range(start, start + count)
        start += count


def chunks(ids: tuple[int, ...], spec: DecoderSpec) -> Iterator[Int64[np.ndarray, " token"]]:
    """The ids of each pass over a prompt."""
    for fed in passes(spec, len(ids)):
        yield np.array(ids[fed.start : fed.stop], np.int64)


def generate(
    engine: Engine, request: Request, stopping: Event, on_token: OnToken, completes: Callable[[int], bool]
) -> Generated:
    """Runs one request from an empty cache, until it ends or `stopping` is set.

    Args:
        completes: Whether a generated token completes a stop text; called once with each.
    """
    room = request.room(engine.spec)
    rows = len(request.ids) + max(0, room - 1)
    engine.clear()
    engine.reserve(rows)
    engine.ready(request.watch, changing=bool(request.edits))
    recorder = Recorder(engine.spec, request.watch, request.edits, rows)
    started_ns = perf_counter_ns()
    for chunk in chunks(request.ids, engine.spec):
        step = recorder.feed(engine, chunk)
        if stopping.is_set():
            break
    prefilled_ns = perf_counter_ns()
    sampler = _TokenSampler(request, engine.spec.vocab_size, on_token)
    ended: Finish | None = None
    while ended is None and len(sampler.tokens) < room and not stopping.is_set():
        if sampler.tokens:
            step = recorder.feed(engine, np.array(sampler.tokens[-1:], np.int64))
        token = sampler.sample(step)
        if token in request.stop_tokens:
            ended = "stop"
        elif completes(token):
            ended = "stop_text"
    return Generated(
        tokens=tuple(sampler.tokens),
        logprobs=tuple(sampler.logprobs),
        finish=ended or _unended(request, room, len(sampler.tokens)),
        fed=engine.fed,
        sites=recorder.sites(engine),
        started_ns=started_ns,
        prefilled_ns=prefilled_ns,
        chosen_ns=tuple(sampler.chosen_ns),
    )


def logits_of(engine: Engine, ids: tuple[int, ...], edits: Sequence[Edit]) -> Float32[np.ndarray, "token vocab"]:
    """Logits after every one of `ids`, from an empty cache."""
    engine.clear()
    engine.reserve(len(ids))
    recorder = Recorder(engine.spec, Watch(parts=(), logits=True), edits, len(ids))
    for chunk in chunks(ids, engine.spec):
        recorder.feed(engine, chunk)
    return recorder.sites(engine)[LOGITS]


class _TokenSampler:
    """Samples tokens and stores them with their log-probabilities and times."""

    def __init__(self, request: Request, vocab_size: int, on_token: OnToken) -> None:
        self._sampling, self._on_token, self._prompt = request.sampling, on_token, request.ids
        self._log = LogProbabilities(vocab_size)
        self._random = np.random.default_rng(request.seed)
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.chosen_ns: list[int] = []

    def sample(self, step: Step) -> int:
        logits: Float32[np.ndarray, " vocab"] = step.logits[-1]
        text = (*self._prompt, *self.tokens) if self._sampling.is_penalized else ()
        token = self._sampling.sample(logits, self._random, text)
        self.chosen_ns.append(perf_counter_ns())
        self.tokens.append(token)
        is_top = self._sampling.is_greedy and not self._sampling.is_penalized
        self.logprobs.append(self._log.of(token, logits, token if is_top else None))
        self._on_token(token, self.logprobs[-1], step)
        return token


def _unended(request: Request, room: int, tokens: int) -> Finish:
    """Why a run with so many generated tokens went no further, if none of them ended it."""
    if tokens < room:
        return "stopped"
    return "length" if room == request.max_new_tokens else "context"
