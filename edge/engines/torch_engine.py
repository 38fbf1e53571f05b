"""The reference engine: the torch decoder itself, on the CPU."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter_ns

import numpy as np
from jaxtyping import Int64

from edge.change import NO_CHANGES, Change, Changes
from edge.engines.base import NO_ROWS, Rows, Step, copied, watched_places
from edge.engines.choice import EngineChoice
from edge.timing import Grain, TimesByScope, Without, with_rests
from edge.watch import Watch
from models.checkpoint import Checkpoint
from models.errors import MissingPackageError
from models.sites import LOGITS
from models.sublayers.states import Mark

try:
    # Read once, when torch is imported. Spinning threads are a sixth faster on an idle machine, and ten times slower
    # when one other program computes, because each waits for a thread without a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch
except ImportError as error:
    raise MissingPackageError("engine 'torch'", "torch", "torch") from error

from torch import Tensor, nn

from models.decoder import Decoder
from models.kernels import Cached
from models.loading import KINDS, load_decoder
from models.parts import TimedParts


class TorchEngine:
    """Runs the torch decoder, the reference for other engines. Quantized weights are dequantized to float32."""

    timing_method = "a timer in forward hooks of each sublayer"

    def __init__(self, checkpoint: Checkpoint, choice: EngineChoice, threads: int | None) -> None:
        self.spec, self.name = checkpoint.spec, str(choice)
        self._watched, self._parts = watched_places(self.spec), TimedParts(self.spec)
        if threads is not None:
            torch.set_num_threads(threads)
        self.threads = torch.get_num_threads()
        self.versions = {"torch": str(torch.__version__)}
        self._decoder = load_decoder(checkpoint, choice.float_kind)
        self._cache = Cached(self.spec, 0, KINDS[choice.float_kind])
        self.weights_bytes, self.float_bytes = checkpoint.stored_bytes, KINDS[choice.float_kind].itemsize

    @property
    def fed(self) -> int:
        return self._cache.fed

    @property
    def allocator_peak_bytes(self) -> None:
        """None: on the CPU torch does not count its allocations."""

    def reserve(self, capacity: int) -> None:
        if capacity > self._cache.capacity:
            self._cache.grow(capacity)

    def ready(self, watch: Watch, changing: bool) -> None:
        """Does nothing: one decoder serves every watch."""

    def clear(self) -> None:
        self._cache.clear()

    def mark(self) -> Mark[Tensor]:
        return self._cache.mark()

    def restore(self, mark: Mark[Tensor]) -> None:
        self._cache.restore(mark)

    def feed(
        self, ids: Int64[np.ndarray, " token"], watch: Watch, into: Rows = NO_ROWS, changes: Changes = NO_CHANGES
    ) -> Step:
        sites = self._watched(watch)
        places = set(sites.values())
        seen: dict[str, np.ndarray] = {}

        def see(site: str, value: Tensor, rows: Tensor | None = None) -> Tensor:
            if site in changes:
                value = _changed(value, changes[site], rows)
            if site in places:
                seen[site] = copied(value.float().numpy(), into.get(site))
            return value

        with torch.inference_mode():
            self._cache.begin(len(ids))
            x = self._decoder.stream(torch.from_numpy(ids), self._cache.positions, self._cache, see)
            logits = self._decoder.logits(x if watch.logits else x[-1:])
            self._cache.finish()
        values = {site: seen[place] for site, place in sites.items()}
        return Step(copied(logits.float().numpy(), into.get(LOGITS)), values)

    def feed_instrumented(self, ids: Int64[np.ndarray, " token"], repeats: int, grain: Grain) -> list[TimesByScope]:
        before, passes = self.mark(), []
        for _ in range(repeats):
            with _timers(self._decoder, self._parts, grain) as took_ns:
                self.feed(ids, Watch.nothing())
            passes.append(took_ns if grain is Grain.SUBLAYER else with_rests(took_ns, self._parts))
            self.restore(before)
        return passes

    def feed_without(self, ids: Int64[np.ndarray, " token"], rounds: int) -> dict[str, tuple[Without, ...]]:
        return {}  # not needed: timers at modules cost little compared with the modules

    def close(self) -> None:
        del self._decoder, self._cache


def _changed(value: Tensor, change: Change, rows: Tensor | None) -> Tensor:
    """A site's value after an edit, in the same float type; `rows` as in `models.kernels.Probe`."""
    scale, shift = torch.from_numpy(change.scale), torch.from_numpy(change.shift)
    if rows is not None:
        scale, shift = _rows_of(scale, rows), _rows_of(shift, rows)
    return (value.float() * scale + shift).to(value.dtype)


def _rows_of(factors: Tensor, rows: Tensor) -> Tensor:
    """The factors of each token and slot: `factors` is (token, row, ...), each axis full or of size 1."""
    tokens = torch.arange(len(rows))[:, None].clamp(max=len(factors) - 1)
    return factors[tokens, rows.clamp(max=factors.shape[1] - 1)]


def _scopes(decoder: Decoder, parts: TimedParts, grain: Grain) -> Iterator[tuple[str, nn.Module]]:
    """The modules to time, each with the scope of its time."""
    for name, module in decoder.named_modules():
        if name in ("embed", "head"):
            yield name, module
        if name in parts.rests:
            yield name, module
            for child, part in module.named_children() if grain is Grain.PART else ():
                yield str(parts.of_module(f"{name}.{child}")), part


@contextmanager
def _timers(decoder: Decoder, parts: TimedParts, grain: Grain) -> Iterator[TimesByScope]:
    """Adds timing hooks to the modules of `_scopes`; yields nanoseconds by scope, filled during a pass."""
    took_ns: TimesByScope = {}
    started_ns: list[int] = []  # a stack, since modules are nested in sublayers

    def start() -> None:
        started_ns.append(perf_counter_ns())

    def finish(scope: str) -> None:
        took_ns[scope] = took_ns.get(scope, 0.0) + perf_counter_ns() - started_ns.pop()

    hooks = []
    for scope, module in _scopes(decoder, parts, grain):
        hooks.append(module.register_forward_pre_hook(lambda *_: start()))
        hooks.append(module.register_forward_hook(lambda *_, scope=scope: finish(scope)))
    try:
        yield took_ns
    finally:
        for hook in hooks:
            hook.remove()
