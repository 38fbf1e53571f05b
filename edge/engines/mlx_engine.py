"""The engine for Apple silicon: the MLX decoder, on the device MLX finds; on Linux the CPU."""

import atexit
import os
from importlib.metadata import version
from threading import local

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from edge.edits import NO_CHANGES, Change, Changes
from edge.engines.base import NO_ROWS, Rows, Step, kept, watched_places
from edge.engines.blas import blas_behind_mlx, preload_blas, set_blas_threads
from edge.engines.choice import EngineChoice
from edge.timing import Grain, TimesByScope, Without
from edge.watch import Watch
from models.checkpoint import Checkpoint
from models.errors import MissingPackageError
from models.sites import LOGITS

try:
    # MLX reads both once, while it is imported: the kind of float32 product, and who computes it.
    os.environ.setdefault("MLX_ENABLE_TF32", "0")
    preload_blas()
    import mlx.core as mx
except ImportError as error:
    raise MissingPackageError("engine 'mlx'", "mlx", "mlx") from error

from edge.engines.mlx_clocks import time_by_chains, time_by_evaluation
from models.mlx_decoder import Decoder
from models.mlx_kernels import Cached, CachedOnCpu
from models.mlx_quantized import pack_modules

_of_this_thread = local()
atexit.register(mx.clear_streams)


class ThreadStreams:
    """Lets go of a thread's MLX streams when the thread ends, while Python still stands.

    MLX asks for this at the end of every thread that used it: left to its own destructors, it may
    abort the process as the interpreter shuts down, closed engine or not.
    """

    def __del__(self) -> None:
        mx.clear_streams()


def is_on_cpu() -> bool:
    """Whether MLX computes on the CPU here: no Metal and no CUDA device, or the user chose so."""
    return bool(mx.default_device().type == mx.DeviceType.cpu)


KINDS = {"fp32": mx.float32, "bf16": mx.bfloat16, "fp16": mx.float16}
"""The numbers of each float precision."""


def _weight(array: NDArray[np.generic], kind: mx.Dtype) -> mx.array:
    """One weight, computed at once: left for later, all weights would be held in float32 first."""
    weight = mx.array(np.asarray(array, np.float32)).astype(kind)
    mx.eval(weight)
    return weight


def load_decoder(checkpoint: Checkpoint, kind: mx.Dtype = mx.float32) -> Decoder:
    """The MLX decoder with a checkpoint's weights; quantized ones stay quantized, the others are of one kind."""
    decoder = Decoder(checkpoint.spec)
    dense = (name for name in checkpoint.weights if name not in checkpoint.quantized)
    weights = [(name, _weight(checkpoint.weights[name], kind)) for name in dense]
    decoder.load_weights(weights, strict=not checkpoint.quantized)
    pack_modules(decoder, checkpoint.quantized)
    mx.eval(decoder.parameters())
    return decoder


def _as_numpy(value: mx.array) -> NDArray[np.float32]:
    """Float32, where it is already in the same memory."""
    return np.asarray(value.astype(mx.float32))


def _changed(value: mx.array, change: Change) -> mx.array:
    """A site's value after an edit; of the same float kind."""
    return (value.astype(mx.float32) * mx.array(change.scale) + mx.array(change.shift)).astype(value.dtype)


class MlxEngine:
    """Runs the MLX decoder. MLX streams belong to a thread: built and used on one.

    Attributes:
        timing_method: On a CPU an evaluation forced after each sublayer. On a GPU a forced evaluation
            costs as much as a sublayer, so chains of two lengths are timed and differenced.
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
        """One decoder serves every watch."""

    def rewind(self, fed: int) -> None:
        self._cache.fed = fed

    def feed(
        self, ids: Int64[np.ndarray, " token"], watch: Watch, into: Rows = NO_ROWS, changes: Changes = NO_CHANGES
    ) -> Step:
        sites = self._watched(watch)
        places = set(sites.values())
        seen: dict[str, mx.array] = {}

        def see(site: str, value: mx.array) -> mx.array:
            if site in changes:
                value = _changed(value, changes[site])
            if site in places:
                seen[site] = value
            return value

        self._cache.begin(len(ids))
        x = self._decoder.stream(mx.array(ids), self._cache.positions, self._cache, see)
        logits = self._decoder.logits(x if watch.logits else x[-1:])
        mx.eval(logits, *seen.values())
        self._cache.finish()
        values = {place: kept(_as_numpy(value), into.get(place)) for place, value in seen.items()}
        return Step(kept(_as_numpy(logits), into.get(LOGITS)), {site: values[place] for site, place in sites.items()})

    def feed_instrumented(self, ids: Int64[np.ndarray, " token"], repeats: int, grain: Grain) -> list[TimesByScope]:
        return [self._time(self._decoder, self._cache, mx.array(ids), grain) for _ in range(repeats)]

    def feed_without(self, ids: Int64[np.ndarray, " token"], rounds: int) -> dict[str, tuple[Without, ...]]:
        return {}  # its clocks stand at modules and cost little beside them

    def close(self) -> None:
        del self._decoder, self._cache
        mx.clear_cache()
