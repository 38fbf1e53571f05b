"""What skipping inactive neurons would save: bytes per FFN, and the measured speedup on this machine."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter_ns

import numpy as np

from edge.measure.registry import SHARE_MEASURES
from edge.profile.work import WeightBytes
from edge.trace import Trace
from edge.worker_process import WorkerProcess
from models.parameters import parameters_of
from models.progress import Progress
from models.sites import FFN, layer_site
from models.spec import DecoderSpec

BEYOND_CACHE_BYTES = 256_000_000
"""Size of the weights of the benchmark: weights that fit in a cache would overstate the speedup."""

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Measured shares of active neurons."""


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """One layer's FFN on one text.

    Attributes:
        ffn_bytes: Its matrices in the engine's format, which a decode step reads.
        inactive: Mean share of inactive neurons over tokens, by key of the measure.
        skipped_bytes: Bytes not read if the inactive neurons were known beforehand.
    """

    layer: int
    ffn_bytes: float
    inactive: dict[str, float]
    skipped_bytes: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """Time of an FFN that reads only the rows of active neurons, in numpy.

    Attributes:
        active: Share of neurons computed.
        took_ns: Median of one FFN. The neurons differ each time; selecting them is not timed.
        dense_ns: Median of one dense FFN of the same shape.
    """

    active: float
    took_ns: float
    dense_ns: float

    @property
    def gain(self) -> float:
        """Speedup over the dense FFN; below 1 it is slower."""
        return self.dense_ns / self.took_ns


@dataclass(frozen=True, kw_only=True)
class SparsityProfile:
    """Bytes that sparsity could save in each layer, and the measured speedup per share of active neurons."""

    tokens: int
    layers: tuple[Skipped, ...]
    curve: tuple[Gathered, ...]


def skipped(trace: Trace, held: WeightBytes) -> tuple[Skipped, ...]:
    """Bytes that each layer of a trace could skip."""
    parameters = parameters_of(trace.spec)
    layers = []
    for layer in range(trace.spec.n_layers):
        inside = f"{layer_site(layer, FFN)}."
        ffn_bytes = sum(
            held(name, one.shape) for name, one in parameters.items() if name.startswith(inside) and one.product
        )
        neurons = trace.neurons(layer)
        inactive = {measure.key: float(measure.of(neurons).mean()) for measure in SHARE_MEASURES}
        saved = {name: share * ffn_bytes for name, share in inactive.items()}
        layers.append(Skipped(layer=layer, ffn_bytes=ffn_bytes, inactive=inactive, skipped_bytes=saved))
    return tuple(layers)


class Gatherer:
    """Random FFNs of one shape, together larger than every cache. Runs in its own process."""

    def __init__(self, progress: Progress, spec: DecoderSpec) -> None:
        d_ff = max(spec.d_ffs)
        count = max(2, round(BEYOND_CACHE_BYTES / (2 * d_ff * spec.d_model * 4)))
        progress(f"creating {count} random FFNs of {d_ff} neurons")
        self._rng = np.random.default_rng(7)
        size = (count, d_ff, spec.d_model)
        self._keys, self._values = (self._rng.random(size, np.float32) - 0.5 for _ in range(2))
        self._x = self._rng.random(spec.d_model, np.float32)

    def curve(self, rounds: int = 3) -> tuple[Gathered, ...]:
        """Each share of active neurons compared with the dense FFN, interleaved."""
        return tuple(self._point(share, rounds) for share in SHARES)

    def _point(self, share: float, rounds: int) -> Gathered:
        count, d_ff = self._keys.shape[:2]
        active = max(1, round(share * d_ff))
        dense_ns: list[float] = []
        sparse_ns: list[float] = []
        for _ in range(rounds):
            chosen = [np.sort(self._rng.choice(d_ff, active, replace=False)) for _ in range(count)]
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
    """Measures FFNs of a decoder's widest shape on this machine."""
    with WorkerProcess("the sparse FFN benchmark", Gatherer, progress, {}, spec) as gatherer:
        return gatherer.call(Gatherer.curve)
