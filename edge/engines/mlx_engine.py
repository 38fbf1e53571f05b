"""The MLX engine, for Apple silicon. Runs on MLX's default device; on Linux this is the CPU."""

import atexit
import os
from importlib.metadata import version
from threading import local

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from edge.change import NO_CHANGES, Change, Changes
from edge.engines.base import NO_ROWS, Rows, Step, copied, watched_places
from edge.engines.blas import blas_behind_mlx, preload_blas, set_blas_threads
from edge.engines.choice import EngineChoice
from edge.timing import Grain, TimesByScope, Without
from edge.watch import Watch
from models.checkpoint import Checkpoint
from models.errors import MissingPackageError
from models.sites import LOGITS
from models.sublayers.states import Mark

try:
    # MLX reads both once, at import: whether float32 products use TF32, and which BLAS computes them.
    os.environ.setdefault("MLX_ENABLE_TF32", "0")
    preload_blas()
    import mlx.core as mx
except ImportError as error:
    raise MissingPackageError("engine 'mlx'", "mlx", "mlx") from error

from edge.engines.mlx_clocks import time_by_chains, time_by_evaluation
from models.mlx_cached import Cached, CachedOnCpu
from models.mlx_decoder import Decoder
from models.mlx_quantized import replace_quantized

_of_this_thread = local()
atexit.register(mx.clear_streams)


class ThreadStreams:
    """Frees a thread's MLX streams when the thread ends, before the interpreter shuts down.

    MLX requires this at the end of every thread that used it. Otherwise its destructors may abort
    the process during shutdown, even if the engine was closed.
    """

    def __del__(self) -> None:
        mx.clear_streams()


def is_on_cpu() -> bool:
    """Whether MLX computes on the CPU: there is no Metal or CUDA device, or the user chose the CPU."""
    return bool(mx.default_device().type == mx.DeviceType.cpu)


KINDS = {"fp32": mx.float32, "bf16": mx.bfloat16, "fp16": mx.float16}
"""MLX types of the float precisions."""


def _weight(array: NDArray[np.generic], kind: mx.Dtype) -> mx.array:
    """One weight, evaluated at once: lazy evaluation would keep all weights in float32 first."""
    weight = mx.array(np.asarray(array, np.float32)).astype(kind)
    mx.eval(weight)
    return weight


def load_decoder(checkpoint: Checkpoint, kind: mx.Dtype = mx.float32) -> Decoder:
    """The MLX decoder with a checkpoint's weights. Quantized matrices stay quantized; others become `kind`."""
    decoder = Decoder(checkpoint.spec)
    dense = (name for name in checkpoint.weights if name not in checkpoint.quantized)
    weights = [(name, _weight(checkpoint.weights[name], kind)) for name in dense]
    decoder.load_weights(weights, strict=not checkpoint.quantized)
    replace_quantized(decoder, checkpoint.quantized)
    mx.eval(decoder.parameters())
    return decoder


def _as_numpy(value: mx.array) -> NDArray[np.float32]:
    """The value as float32, without a copy if it is float32 already."""
    return np.asarray(value.astype(mx.float32))


def _changed(value: mx.array, change: Change, rows: mx.array | None) -> mx.array:
    """A site's value after an edit, in the same float type; `rows` as in `models.mlx_kernels.Probe`."""
    scale, shift = mx.array(change.scale), mx.array(change.shift)
    if rows is not None:
        scale, shift = _rows_of(scale, rows), _rows_of(shift, rows)
    return (value.astype(mx.float32) * scale + shift).astype(value.dtype)


def _rows_of(factors: mx.array, rows: mx.array) -> mx.array:
    """The factors of each token and slot: `factors` is (token, row, ...), each axis full or of size 1."""
    tokens = mx.minimum(mx.arange(len(rows))[:, None], len(factors) - 1)
    return factors[tokens, mx.minimum(rows, factors.shape[1] - 1)]


class MlxEngine:
    """Runs the MLX decoder. MLX streams belong to a thread, so it is created and used on one thread.

    Attributes:
        timing_method: On a CPU, an evaluation is forced after each sublayer. On a GPU this costs as much as a
            sublayer, so two chains of different length are timed and their difference is taken.
    """

    def __init__(self, checkpoint: Checkpoint, choice: EngineChoice, threads: int | None) -> None:
        if not hasattr(_of_this_thread, "streams"):
            _of_this_thread.streams = ThreadStreams()
        self.spec, self.name = checkpoint.spec, str(choice)
        self._watched = watched_places(self.spec)
        self.versions = {"mlx": version("mlx")}
        kind = KINDS[choice.float_kind]
        self.weights_bytes, self.float_bytes = checkpoint.stored_bytes, kind.size
        self._decoder = load_decoder(checkpoint, kind)
        self._cache: Cached
        if is_on_cpu():
            self.threads = set_blas_threads(threads)
            self.versions["blas"] = blas_behind_mlx()
            self.timing_method = "each sublayer evaluated by itself"
            self._time, self._cache = time_by_evaluation, CachedOnCpu(self.spec, kind)
        else:
            self.threads = 1
            self.timing_method = "difference of chains of sublayers, averaged over layers of one kind"
            self._time, self._cache = time_by_chains, Cached(self.spec, kind)

    @property
    def fed(self) -> int:
        return self._cache.fed

    @property
    def allocator_peak_bytes(self) -> int:
        return int(mx.get_peak_memory())

    def reserve(self, capacity: int) -> None:
        if capacity > self._cache.capacity:
            self._cache.grow(capacity)

    def ready(self, watch: Watch, changing: bool) -> None:
        """Does nothing: one decoder serves every watch."""

    def clear(self) -> None:
        self._cache.clear()

    def mark(self) -> Mark[mx.array]:
        return self._cache.mark()

    def restore(self, mark: Mark[mx.array]) -> None:
        self._cache.restore(mark)

    def feed(
        self, ids: Int64[np.ndarray, " token"], watch: Watch, into: Rows = NO_ROWS, changes: Changes = NO_CHANGES
    ) -> Step:
        sites = self._watched(watch)
        places = set(sites.values())
        seen: dict[str, mx.array] = {}

        def see(site: str, value: mx.array, rows: mx.array | None = None) -> mx.array:
            if site in changes:
                value = _changed(value, changes[site], rows)
            if site in places:
                seen[site] = value
            return value

        self._cache.begin(len(ids))
        x = self._decoder.stream(mx.array(ids), self._cache.positions, self._cache, see)
        logits = self._decoder.logits(x if watch.logits else x[-1:])
        mx.eval(logits, *seen.values())
        self._cache.finish()
        values = {place: copied(_as_numpy(value), into.get(place)) for place, value in seen.items()}
        return Step(copied(_as_numpy(logits), into.get(LOGITS)), {site: values[place] for site, place in sites.items()})

    def feed_instrumented(self, ids: Int64[np.ndarray, " token"], repeats: int, grain: Grain) -> list[TimesByScope]:
        before, passes = self.mark(), []
        for _ in range(repeats):
            passes.append(self._time(self._decoder, self._cache, mx.array(ids), grain))
            self.restore(before)
        return passes

    def feed_without(self, ids: Int64[np.ndarray, " token"], rounds: int) -> dict[str, tuple[Without, ...]]:
        return {}  # not needed: timers at modules cost little compared with the modules

    def close(self) -> None:
        del self._decoder, self._cache
        mx.clear_cache()
