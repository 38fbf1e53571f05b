"""Nanoseconds of every sublayer of an MLX decoder, by the two methods that its devices allow."""

from collections.abc import Callable
from time import perf_counter_ns

import mlx.core as mx
from jaxtyping import Float, Int

from models.mlx_decoder import Block, Decoder
from models.mlx_kernels import Cached, blind
from models.spec import LayerSpec

SHORT, LONG = 4, 12
"""Sublayers in the two chains whose times are differenced."""

Link = Callable[[mx.array, int], mx.array]
"""Computes the value after one link of a chain from the value before it, and the link's index."""


class EvaluationClock:
    """A probe that has each sublayer computed as soon as it is described, and says what that took."""

    def __init__(self) -> None:
        self.took_ns: dict[str, float] = {}
        self._since_ns = perf_counter_ns()

    def __call__(self, site: str, value: mx.array) -> mx.array:
        scope = self._scope_before(site)
        if scope is not None:
            mx.eval(value)
            now_ns = perf_counter_ns()
            self.took_ns[scope] = self.took_ns.get(scope, 0.0) + now_ns - self._since_ns
            self._since_ns = now_ns
        return value

    def _scope_before(self, site: str) -> str | None:
        """The scope whose work ends at a site. The sum that ends a layer belongs to `other`."""
        if site == "layers.0.input":
            return "embed"
        if site == "logits":
            return "head"
        if site.endswith((".attn.output", ".ffn.output")):
            return site.removesuffix(".output")
        return "other" if site.endswith(".output") else None


def time_by_evaluation(decoder: Decoder, cache: Cached, ids: Int[mx.array, " token"]) -> dict[str, float]:
    """One pass, evaluated sublayer by sublayer: on a CPU that costs under a hundredth of the pass."""
    cache.begin(len(ids))
    mx.eval(ids, cache.positions)
    clock = EvaluationClock()
    decoder.logits(decoder.stream(ids, cache.positions, cache, clock)[-1:], clock)
    return clock.took_ns


def time_by_chains(decoder: Decoder, cache: Cached, ids: Int[mx.array, " token"]) -> dict[str, float]:
    """Each sublayer's share of a long chain less a short one, so that the fixed cost of an evaluation cancels.

    A chain runs over the weights of all layers of one kind, or a cache would hold them; the layers
    of one kind therefore share one number.
    """
    cache.begin(len(ids))
    x = decoder.embed(ids, cache.positions)
    mx.eval(x)
    took_ns = {"embed": _link_ns(lambda y, _: decoder.embed(_again(ids, y), cache.positions), x)}
    for alike in _layers_of_one_kind(decoder):
        blocks = [decoder.layers[layer] for layer in alike]
        attn_ns = _link_ns(_attentions(blocks, cache), x)
        ffn_ns = _link_ns(_ffns(blocks), x)
        for layer in alike:
            took_ns |= {f"layers.{layer}.attn": attn_ns, f"layers.{layer}.ffn": ffn_ns}
    took_ns["head"] = _link_ns(lambda y, _: y + decoder.logits(y)[:, :1], x[-1:])
    return took_ns


def _attentions(blocks: list[Block], cache: Cached) -> Link:
    return lambda x, index: x + blocks[index % len(blocks)].attn(x, cache, blind)


def _ffns(blocks: list[Block]) -> Link:
    return lambda x, index: x + blocks[index % len(blocks)].ffn(x, blind)


def _layers_of_one_kind(decoder: Decoder) -> list[list[int]]:
    kinds: dict[LayerSpec, list[int]] = {}
    for index, kind in enumerate(decoder.spec.layers):
        kinds.setdefault(kind, []).append(index)
    return list(kinds.values())


def _again(ids: Int[mx.array, " token"], x: Float[mx.array, "token model"]) -> Int[mx.array, " token"]:
    """The same ids, known only once `x` is: what makes embeddings a chain."""
    return ids + (x[:, 0] * 0).astype(ids.dtype)


def _link_ns(link: Link, x: Float[mx.array, "token model"]) -> float:
    """Nanoseconds of one link of a chain that starts at `x`."""
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
