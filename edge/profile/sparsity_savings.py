"""What silent neurons would save: bytes that an ideal FFN would skip, and what skipping gains on this machine."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter_ns

import numpy as np

from edge.measure.registry import SHARES as SPARSITIES
from edge.profile.work import WeightBytes
from edge.trace import Trace
from edge.worker_process import WorkerProcess
from models.parameters import parameter_shapes
from models.progress import Progress
from models.spec import DecoderSpec

BEYOND_CACHE_BYTES = 256_000_000
"""Weights that the curve runs through: what fits a cache would make gathering look too good."""

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Shares of active neurons on the curve."""


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """One layer's FFN on one text.

    Attributes:
        ffn_bytes: Its matrices, as the engine holds them: what a decode step reads.
        inactive: Mean share of silent neurons over tokens, by key of the measure.
        skipped_bytes: What an FFN would not read that knew the silent neurons beforehand.
    """

    layer: int
    ffn_bytes: float
    inactive: dict[str, float]
    skipped_bytes: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """One point of the curve: an FFN that reads the rows of active neurons only, in numpy.

    Attributes:
        active: Share of neurons that it computes.
        took_ns: Median of one FFN: fresh neurons each time, which are known beforehand and chosen for free.
        dense_ns: Median of one whole FFN of the same shape, beside it.
    """

    active: float
    took_ns: float
    dense_ns: float

    @property
    def gain(self) -> float:
        """How many times faster than the whole FFN; below 1 it is slower."""
        return self.dense_ns / self.took_ns


@dataclass(frozen=True, kw_only=True)
class SparsityProfile:
    """Sparsity as speed: where bytes could be saved, and what saving them brings here."""

    tokens: int
    layers: tuple[Skipped, ...]
    curve: tuple[Gathered, ...]


def skipped(trace: Trace, held: WeightBytes) -> tuple[Skipped, ...]:
    """What each layer of a watched run would skip."""
    shapes = parameter_shapes(trace.spec)
    layers = []
    for layer in range(trace.spec.n_layers):
        names = [f"layers.{layer}.ffn.{part}.weight" for part in ("gate", "up", "down")]
        ffn_bytes = sum(held(name, shapes[name]) for name in names if name in shapes)
        neurons = trace.neurons(layer)
        inactive = {measure.key: float(measure.of(neurons).mean()) for measure in SPARSITIES}
        saved = {name: share * ffn_bytes for name, share in inactive.items()}
        layers.append(Skipped(layer=layer, ffn_bytes=ffn_bytes, inactive=inactive, skipped_bytes=saved))
    return tuple(layers)


class Gatherer:
    """Random FFNs of one shape, enough of them to lie beyond every cache. Made in a process of its own."""

    def __init__(self, tell: Progress, spec: DecoderSpec) -> None:
        d_ff = max(layer.ffn.d_ff for layer in spec.layers)
        count = max(2, round(BEYOND_CACHE_BYTES / (2 * d_ff * spec.d_model * 4)))
        tell(f"making {count} FFNs of {d_ff} neurons to gather from")
        self._draw = np.random.default_rng(7)
        size = (count, d_ff, spec.d_model)
        self._keys, self._values = (self._draw.random(size, np.float32) - 0.5 for _ in range(2))
        self._x = self._draw.random(spec.d_model, np.float32)

    def curve(self, rounds: int = 3) -> tuple[Gathered, ...]:
        """Each share of active neurons beside the whole FFN, in turns."""
        return tuple(self._point(share, rounds) for share in SHARES)

    def _point(self, share: float, rounds: int) -> Gathered:
        count, d_ff = self._keys.shape[:2]
        active = max(1, round(share * d_ff))
        dense_ns: list[float] = []
        sparse_ns: list[float] = []
        for _ in range(rounds):
            chosen = [np.sort(self._draw.choice(d_ff, active, replace=False)) for _ in range(count)]
            sparse_ns += [_took_ns(self._sparse, ffn, chosen[ffn]) for ffn in range(count)]
            dense_ns += [_took_ns(self._dense, ffn) for ffn in range(count)]
        return Gathered(active=active / d_ff, took_ns=median(sparse_ns), dense_ns=median(dense_ns))

    def _dense(self, ffn: int) -> np.ndarray:
        neurons = np.maximum(self._keys[ffn] @ self._x, 0)
        mixed: np.ndarray = neurons @ self._values[ffn]
        return mixed

    def _sparse(self, ffn: int, chosen: np.ndarray) -> np.ndarray:
        neurons = np.maximum(self._keys[ffn][chosen] @ self._x, 0)
        mixed: np.ndarray = neurons @ self._values[ffn][chosen]
        return mixed


def _took_ns(work: Callable[..., object], *arguments: object) -> float:
    started_ns = perf_counter_ns()
    work(*arguments)
    return float(perf_counter_ns() - started_ns)


def gather_curve(spec: DecoderSpec, progress: Progress) -> tuple[Gathered, ...]:
    """The curve for FFNs of a decoder's widest shape, on this machine."""
    with WorkerProcess("the gathering FFN", Gatherer, progress, {}, spec) as gatherer:
        return gatherer.call(Gatherer.curve)
