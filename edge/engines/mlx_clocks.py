"""Times every sublayer of an MLX decoder: by forced evaluation on a CPU, by differences of chains on a GPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter_ns
from typing import Any

import mlx.core as mx
from jaxtyping import Float, Int
from mlx import nn

from edge.timing import Grain, TimesByScope, with_rests
from models.mlx_cached import Cached
from models.mlx_decoder import Block, Decoder, OwnHeadNorms
from models.mlx_kernels import blind
from models.mlx_moe import Experts, SharedExpert
from models.mlx_quantized import Quantized
from models.parts import OTHER, TimedParts
from models.sites import LOGITS, OUTPUT, SUBLAYERS
from models.spec import LayerSpec

SHORT, LONG = 4, 12
"""Lengths of the two chains whose times are subtracted, in sublayers."""

Link = Callable[[mx.array, int], mx.array]
"""One step of a chain: computes the next value from the previous value and the step's index."""


class EvaluationTimer:
    """A probe that evaluates each sublayer at once and records the time."""

    def __init__(self) -> None:
        self.took_ns: TimesByScope = {}
        self._since_ns = perf_counter_ns()

    def __call__(self, site: str, value: mx.array, rows: mx.array | None = None) -> mx.array:
        scope = self._scope_before(site)
        if scope is not None:
            mx.eval(value)
            now_ns = perf_counter_ns()
            self.took_ns[scope] = self.took_ns.get(scope, 0.0) + now_ns - self._since_ns
            self._since_ns = now_ns
        return value

    def _scope_before(self, site: str) -> str | None:
        """The scope that ends at a site. The addition that ends a layer belongs to `other`."""
        if site == "layers.0.input":
            return "embed"
        if site == LOGITS:
            return "head"
        if site.endswith(tuple(f".{name}.{OUTPUT}" for name in SUBLAYERS)):
            return site.removesuffix(f".{OUTPUT}")
        return OTHER if site.endswith(f".{OUTPUT}") else None


class TimedModule(nn.Module):
    """Wraps a module: evaluates its input, then its output, and adds the time of the latter to a scope."""

    def __init__(self, timed: nn.Module, scope: str, took_ns: TimesByScope) -> None:
        super().__init__()
        self.timed, self._scope, self._took_ns = timed, scope, took_ns

    def __getattr__(self, name: str) -> Any:
        if name not in self and "timed" in self:
            return getattr(self["timed"], name)
        return super().__getattr__(name)

    def __call__(self, x: mx.array, *others: Any) -> mx.array:
        mx.eval(x, *(one for one in others if isinstance(one, mx.array)))
        started_ns = perf_counter_ns()
        y: mx.array = self.timed(x, *others)
        mx.eval(y)
        self._took_ns[self._scope] = self._took_ns.get(self._scope, 0.0) + perf_counter_ns() - started_ns
        return y


def _modules(sublayer: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules inside a sublayer, by attribute name."""
    return [(name, module) for name, module in sublayer.items() if isinstance(module, nn.Module)]


@contextmanager
def _timed_modules(decoder: Decoder, parts: TimedParts, took_ns: TimesByScope) -> Iterator[None]:
    """Wraps every module inside the sublayers with a timer; restores the modules at the end."""
    changed: list[tuple[Any, str, nn.Module]] = []
    try:
        for index, block in enumerate(decoder.layers):
            for name, sublayer in _sublayers(block):
                for child, module in _modules(sublayer):
                    part = str(parts.of_module(f"layers.{index}.{name}.{child}"))
                    changed.append((sublayer, child, module))
                    setattr(sublayer, child, TimedModule(module, part, took_ns))
        yield
    finally:
        for sublayer, child, module in changed:
            setattr(sublayer, child, module)


def time_by_evaluation(decoder: Decoder, cache: Cached, ids: Int[mx.array, " token"], grain: Grain) -> TimesByScope:
    """Times one pass, evaluated sublayer by sublayer or part by part. On a CPU, sublayers cost under 1% of the pass."""
    cache.begin(len(ids))
    mx.eval(ids, cache.positions)
    timer = EvaluationTimer()

    def run() -> None:
        decoder.logits(decoder.stream(ids, cache.positions, cache, timer)[-1:], timer)

    if grain is Grain.SUBLAYER:
        run()
        return timer.took_ns
    parts = TimedParts(decoder.spec)
    with _timed_modules(decoder, parts, timer.took_ns):
        run()
    return with_rests(timer.took_ns, parts)


def time_by_chains(decoder: Decoder, cache: Cached, ids: Int[mx.array, " token"], grain: Grain) -> TimesByScope:
    """Times sublayers as the difference of a long and a short chain, which cancels the fixed cost of an evaluation.

    A chain runs over the weights of all layers of one kind, so that they do not stay in a processor cache. Layers of
    one kind therefore share one time, and so do their parts.
    """
    parts = TimedParts(decoder.spec)
    cache.begin(len(ids))
    x = decoder.embed(ids, cache.positions)
    mx.eval(x)
    took_ns = {"embed": _link_ns(lambda y, _: decoder.embed(_again(ids, y), cache.positions), x)}
    for alike in _layers_of_one_kind(decoder):
        blocks = [decoder.layers[layer] for layer in alike]
        for name in SUBLAYERS:
            sublayers = [getattr(block, name) for block in blocks]
            link_ns = _link_ns(_sublayers_of(sublayers, cache), x)
            took_ns |= dict.fromkeys((f"layers.{layer}.{name}" for layer in alike), link_ns)
            if grain is Grain.PART:
                _add_modules(took_ns, parts, name, alike, sublayers, cache, len(ids))
    took_ns["head"] = _link_ns(lambda y, _: y + decoder.logits(y)[:, :1], x[-1:])
    return took_ns if grain is Grain.SUBLAYER else with_rests(took_ns, parts)


def _add_modules(
    took_ns: TimesByScope,
    parts: TimedParts,
    name: str,
    layers: list[int],
    sublayers: list[nn.Module],
    cache: Cached,
    tokens: int,
) -> None:
    """Adds the times of the modules inside layers of one kind, each from a chain over these layers."""
    for child, module in _modules(sublayers[0]):
        x = mx.zeros((tokens, _width(module)))
        mx.eval(x)
        took = _link_ns(_modules_of(sublayers, child, cache), x)
        for layer in layers:
            part = str(parts.of_module(f"layers.{layer}.{name}.{child}"))
            took_ns[part] = took_ns.get(part, 0.0) + took


def _modules_of(sublayers: list[nn.Module], child: str, cache: Cached) -> Link:
    return lambda x, index: x + _alone(getattr(sublayers[index % len(sublayers)], child), x, cache)[:, :1]


def _alone(module: nn.Module, x: mx.array, cache: Cached) -> mx.array:
    """A module's output for an input alone. Token by token it chooses the next experts, so that all are used."""
    if not isinstance(module, Experts):
        output: mx.array = module(x, blind) if isinstance(module, SharedExpert) else module(x)
        return output
    kind = module.kind
    chosen = mx.sort(mx.arange(len(x) * kind.top_k).reshape(len(x), kind.top_k) % kind.n_experts, axis=-1)
    mixed: mx.array = module(x, mx.full((len(x), kind.n_experts), 1 / kind.top_k), chosen, cache, blind)
    return mixed


def _width(module: nn.Module) -> int:
    """Input features of a module."""
    has_columns = isinstance(module, Quantized | OwnHeadNorms | Experts | SharedExpert)
    return int(module.columns) if has_columns else int(module.weight.shape[-1])


def _sublayers_of(sublayers: list[nn.Module], cache: Cached) -> Link:
    return lambda x, index: x + sublayers[index % len(sublayers)](x, cache, blind)


def _sublayers(block: Block) -> list[tuple[str, nn.Module]]:
    return [(name, getattr(block, name)) for name in SUBLAYERS]


def _layers_of_one_kind(decoder: Decoder) -> list[list[int]]:
    kinds: dict[LayerSpec, list[int]] = {}
    for index, kind in enumerate(decoder.spec.layers):
        kinds.setdefault(kind, []).append(index)
    return list(kinds.values())


def _again(ids: Int[mx.array, " token"], x: Float[mx.array, "token model"]) -> Int[mx.array, " token"]:
    """The same ids, made dependent on `x`, so that embeddings form a chain."""
    return ids + (x[:, 0] * 0).astype(ids.dtype)


def _link_ns(link: Link, x: Float[mx.array, "token model"]) -> float:
    """Nanoseconds of one step of a chain that starts at `x`."""
    short_ns, long_ns = _chain_ns(link, x, SHORT), _chain_ns(link, x, LONG)
    return max(0.0, (long_ns - short_ns) / (LONG - SHORT))


def _chain_ns(link: Link, x: Float[mx.array, "token model"], length: int) -> float:
    mx.synchronize()
    started_ns = perf_counter_ns()
    for index in range(length):
        x = link(x, index)
    mx.eval(x)
    mx.synchronize()
    return float(perf_counter_ns() - started_ns)
