"""Statistics of heads and neurons over a text of any length: constant memory, resumable, and parts can be merged.

A text is split into windows without earlier context. Sums are integers in units of 2**-32, so that a survey does not
depend on the order or the parts in which its windows are read.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from edge.lab.context import WINDOW_TOKENS
from edge.measure.activation_counts import NeuronCounts
from edge.measure.attention import entropy_bits, first_token_share, mean_distance
from edge.measure.registry import MEASURES
from edge.session import Model
from edge.trace import Trace
from edge.watch import Watch
from models.errors import MisuseError
from models.sites import neuron_parts, pattern_parts
from models.spec import DecoderSpec
from models.tokenizer import Tokenizer

_UNIT = 2.0**32
_PIECE_CHARACTERS = 65_536

OF_HEADS = ("entropy_bits", "first_token_share", "previous_token", "distance_tokens")
OF_LAYERS = tuple(measure.key for measure in MEASURES)


def _watch(spec: DecoderSpec) -> Watch:
    """What a survey reads: queries, keys and neurons."""
    return Watch(parts=(*pattern_parts(spec), *neuron_parts(spec)))


@dataclass(frozen=True)
class Part:
    """Every `of`-th window of a text, from the `number`-th on, counted from 1; `windows` of them were read so far."""

    number: int
    of: int
    windows: int = 0


@dataclass(frozen=True)
class Survey:
    """Sums over the windows read so far.

    Attributes:
        text: SHA-256 of the text.
        parts: The parts that were read.
        tokens: Tokens read.
        queries: Tokens that attend to at least one earlier token.
        sums: In units of 2**-32: (layer, head) of each of `OF_HEADS` over queries, (layer,) of `OF_LAYERS` over tokens.
    """

    model: str
    engine: str
    text: str
    parts: tuple[Part, ...]
    tokens: int
    queries: int
    sums: dict[str, Int64[np.ndarray, "layer ..."]]
    counts: NeuronCounts

    def mean(self, name: str) -> Float[np.ndarray, "layer ..."]:
        """The mean of one of `OF_HEADS` or `OF_LAYERS`; NaN if nothing was read."""
        over = self.queries if name in OF_HEADS else self.tokens
        return self.sums[name] / _UNIT / over if over else np.full(self.sums[name].shape, np.nan)

    def differs_in(self, other: "Survey") -> str | None:
        """The difference that prevents a merge: `model`, `engine` or `text`; None if there is none."""
        return next((what for what in ("model", "engine", "text") if getattr(self, what) != getattr(other, what)), None)

    def merged(self, other: "Survey") -> "Survey":
        """The survey of both parts.

        Raises:
            MisuseError: the surveys differ in model, engine or text, or have windows in common.
        """
        if what := self.differs_in(other):
            raise MisuseError(f"cannot merge surveys of two {what}s: {getattr(self, what)}, {getattr(other, what)}")
        ways = {part.of for part in self.parts + other.parts}
        numbers = [part.number for part in self.parts + other.parts]
        if len(ways) > 1 or len(set(numbers)) < len(numbers):
            raise MisuseError(
                "cannot merge surveys with windows in common; merge parts of one division, such as 1/2 and 2/2"
            )
        return replace(
            self,
            parts=self.parts + other.parts,
            tokens=self.tokens + other.tokens,
            queries=self.queries + other.queries,
            sums={name: total + other.sums[name] for name, total in self.sums.items()},
            counts=self.counts.merged(other.counts),
        )


def begin(model: Model, text: Path, part: Part) -> Survey:
    """An empty survey."""
    spec = model.spec
    shapes = dict.fromkeys(OF_HEADS, (spec.n_layers, spec.n_heads)) | dict.fromkeys(OF_LAYERS, (spec.n_layers,))
    return Survey(
        model=model.name,
        engine=model.engine,
        text=text_sha256(text),
        parts=(part,),
        tokens=0,
        queries=0,
        sums={name: np.zeros(shape, np.int64) for name, shape in shapes.items()},
        counts=NeuronCounts.empty(spec.d_ffs),
    )


def text_sha256(text: Path) -> str:
    """The hash that identifies a text."""
    try:
        with text.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise MisuseError(f"{text} cannot be read: {error.strerror}; --survey takes a plain text file") from error


def windows_of(tokenizer: Tokenizer, text: Path, tokens: int) -> Iterator[list[int]]:
    """The windows of a text, `tokens` tokens each, the last one shorter; memory holds one window and one chunk."""
    opening, held = tokenizer.encode(""), list[int]()
    room = tokens - len(opening)
    for piece in _pieces(text):
        held += tokenizer.encode_spelled(piece)
        while len(held) >= room:
            yield [*opening, *held[:room]]
            held = held[room:]
    if held:
        yield [*opening, *held]


def _pieces(text: Path) -> Iterator[str]:
    """The text in pieces that end before a space or a newline if possible."""
    rest = ""
    try:
        with text.open(encoding="utf8") as opened:
            while read := opened.read(_PIECE_CHARACTERS):
                rest += read
                end = max(rest.rfind(" "), rest.rfind("\n"))
                end = end if end > 0 else len(rest)
                yield rest[:end]
                rest = rest[end:]
    except UnicodeDecodeError as error:
        raise MisuseError(f"{text} is not UTF-8 text ({error.reason}); --survey takes a plain text file") from error
    yield rest


def survey(model: Model, text: Path, started: Survey) -> Iterator[Survey]:
    """Reads the remaining windows of a part; yields the survey after each.

    Args:
        started: An empty survey from `begin`, or the survey to resume.
    """
    if model.tokenizer is None:
        raise MisuseError(f"cannot read a text: {model.checkpoint.source.without_tokenizer()}")
    (part,) = started.parts
    found, width = started, min(WINDOW_TOKENS, model.spec.context)
    for index, ids in enumerate(windows_of(model.tokenizer, text, width)):
        turn, place = divmod(index, part.of)
        if place != part.number - 1 or turn < part.windows:
            continue
        found = _add(
            found, model.run(ids=ids, max_new_tokens=0, watch=_watch(model.spec)), Part(part.number, part.of, turn + 1)
        )
        yield found


def _add(found: Survey, trace: Trace, part: Part) -> Survey:
    """The survey with one more window."""
    sums = {name: total.copy() for name, total in found.sums.items()}
    counts = NeuronCounts.empty(found.counts.widths)
    for layer in range(trace.spec.n_layers):
        neurons = trace.neurons(layer)
        counts.add(layer, neurons)
        for measure in MEASURES:
            sums[measure.key][layer] += _whole(measure.of(neurons))
        for head in range(trace.spec.n_heads):
            pattern = trace.pattern(layer, head)[1:]
            scores = (
                entropy_bits(pattern),
                first_token_share(pattern),
                np.diagonal(pattern),
                mean_distance(pattern),
            )
            for name, score in zip(OF_HEADS, scores, strict=True):
                sums[name][layer, head] += _whole(score)
    tokens, queries = found.tokens + trace.n_fed, found.queries + trace.n_fed - 1
    return replace(found, parts=(part,), tokens=tokens, queries=queries, sums=sums, counts=found.counts.merged(counts))


def _whole(values: Float[np.ndarray, " token"]) -> int:
    return round(float(values.sum(dtype=np.float64)) * _UNIT)


def to_json(found: Survey) -> dict[str, Any]:
    """A survey as JSON values."""
    return {
        "kind": "edge survey",
        "model": found.model,
        "engine": found.engine,
        "text": found.text,
        "parts": [[part.number, part.of, part.windows] for part in found.parts],
        "tokens": found.tokens,
        "queries": found.queries,
        "sums": {name: total.tolist() for name, total in found.sums.items()},
        "counts": {name: array.tolist() for name, array in found.counts.to_arrays().items()},
    }


def from_json(value: Any) -> Survey:
    """The survey that `to_json` wrote.

    Raises:
        ValueError: the value is not a survey.
    """
    if not isinstance(value, dict) or value.get("kind") != "edge survey":
        raise ValueError("it is not a survey")
    layers = np.array(value["counts"]["tokens"])
    return Survey(
        model=str(value["model"]),
        engine=str(value["engine"]),
        text=str(value["text"]),
        parts=tuple(Part(*map(int, part)) for part in value["parts"]),
        tokens=int(value["tokens"]),
        queries=int(value["queries"]),
        sums={name: _sums(value["sums"][name], len(layers)) for name in (*OF_HEADS, *OF_LAYERS)},
        counts=NeuronCounts.from_arrays({name: np.array(array) for name, array in value["counts"].items()}),
    )


def _sums(value: Any, layers: int) -> Int64[np.ndarray, "layer ..."]:
    sums = np.array(value, np.int64)
    if len(sums) != layers:
        raise ValueError(f"sums of {len(sums)} layers, counts of {layers}")
    return sums
