"""Attention: each token gets a weighted sum of the values of the tokens it attends to."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from models.errors import SpecError
from models.norms import HeadNorm, HeadNorms, JointNorm, NoHeadNorm, OwnHeadNorm, RotatedHeadNorm
from models.positions import ListedScaling, NoPosition, Rotary
from models.sublayers.states import Growing, State
from models.sublayers.sublayer import Mixer, Parameter, SiteAxes, at_least_one, linear, normed
from models.sublayers.work import Work

_HEADS, _KV_HEADS = ("n_heads", "head_dim", "d_model"), ("n_kv_heads", "head_dim", "d_model")


@dataclass(frozen=True)
class Full:
    """Every token attends to itself and all earlier tokens."""


@dataclass(frozen=True)
class Sliding:
    """Every token attends to the last `tokens` tokens, including itself."""

    tokens: int


AttentionWindow = Full | Sliding


@dataclass(frozen=True)
class NoCap:
    """No cap."""


@dataclass(frozen=True)
class SoftCap:
    """`limit * tanh(x / limit)`: keeps numbers below the limit (Gemma 2)."""

    limit: float


Cap = NoCap | SoftCap


@dataclass(frozen=True)
class NoClip:
    """Queries, keys and values are not clipped."""


@dataclass(frozen=True)
class Clip:
    """Queries, keys and values, after their norms and before rotation, are clipped to `±limit` (OLMoE)."""

    limit: float


Clipping = NoClip | Clip


@dataclass(frozen=True)
class SameScale:
    """Queries of all positions have the same scale."""


@dataclass(frozen=True)
class LogScale:
    """Queries are multiplied by `1 + beta * ln(1 + floor(position / original))` (Llama 4, Ministral 3).

    It sharpens attention over long texts, whose softmax has more keys.

    Attributes:
        original: Tokens of context before a scaling; up to it the factor is 1.
    """

    beta: float
    original: int


QueryScale = SameScale | LogScale


@dataclass(frozen=True, kw_only=True)
class Attention(Mixer):
    """Attention with its heads, its window and its positions.

    Attributes:
        n_kv_heads: Heads of keys and values; several query heads may share one.
        qkv_bias: Whether query, key and value projections have a bias.
        out_bias: Whether the output projection has a bias.
        head_norm: Norm of queries and keys.
        score_cap: Soft cap of scaled attention scores, before the softmax.
        clip: Clipping of queries, keys and values.
        query_scale: Factor of queries that depends on their position.
        sinks: Whether each head has one more logit in the softmax, whose weight no value gets.
    """

    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "norm": ("norm", "query_norm", "key_norm", "after"),
        "qkv": ("query", "key", "value"),
        "core": (),
        "out": ("out",),
    }
    rest: ClassVar[str] = "core"
    joined: ClassVar[Mapping[str, tuple[str, ...]]] = {"qkv": ("query", "key", "value")}
    writes: ClassVar[tuple[str, ...]] = ("out",)

    n_heads: int
    n_kv_heads: int
    head_dim: int
    window: AttentionWindow
    position: Rotary | NoPosition
    qkv_bias: bool
    out_bias: bool
    head_norm: HeadNorms = field(default_factory=NoHeadNorm)
    score_cap: Cap = field(default_factory=NoCap)
    clip: Clipping = field(default_factory=NoClip)
    sinks: bool = False
    query_scale: QueryScale = field(default_factory=SameScale)

    @property
    def sharing(self) -> int:
        """Query heads per key/value head."""
        return self.n_heads // self.n_kv_heads

    @property
    def scale(self) -> float:
        """Factor of attention scores: `1 / √head_dim`."""
        return 1.0 / math.sqrt(self.head_dim)

    @property
    def query_width(self) -> int:
        """Features of all query heads."""
        return self.n_heads * self.head_dim

    @property
    def key_width(self) -> int:
        """Features of all key heads, which are those of all value heads."""
        return self.n_kv_heads * self.head_dim

    def check(self, where: str) -> None:
        at_least_one(where, n_heads=self.n_heads, n_kv_heads=self.n_kv_heads, head_dim=self.head_dim)
        if self.n_heads % self.n_kv_heads:
            choices = [n for n in range(1, self.n_heads + 1) if self.n_heads % n == 0]
            raise SpecError(
                f"{where}{self.n_heads} query heads cannot share {self.n_kv_heads} key/value heads evenly; "
                f"n_kv_heads must be one of {choices}"
            )
        if isinstance(self.window, Sliding) and self.window.tokens < 1:
            raise SpecError(f"{where}the window is {self.window.tokens} tokens; it must be at least 1")
        if isinstance(self.query_scale, LogScale):
            at_least_one(f"{where}the query scale: ", original=self.query_scale.original)
        if isinstance(self.position, Rotary):
            self._check_rotary(where, self.position)

    def _check_rotary(self, where: str, rotary: Rotary) -> None:
        if rotary.features % 2 or not 0 < rotary.features <= self.head_dim:
            raise SpecError(
                f"{where}{rotary.features} features of each head are rotated; the number must be even, from 2 to "
                f"head_dim ({self.head_dim})"
            )
        scaling, pairs = rotary.scaling, rotary.features // 2
        if isinstance(scaling, ListedScaling) and len(scaling.factors) != pairs:
            raise SpecError(
                f"{where}there are {len(scaling.factors)} scaling factors; {rotary.features} features need {pairs}"
            )

    def parameters(self, d_model: int) -> Iterator[Parameter]:
        yield from linear("query", self.query_width, d_model, self.qkv_bias, _HEADS)
        yield from linear("key", self.key_width, d_model, self.qkv_bias, _KV_HEADS)
        yield from linear("value", self.key_width, d_model, self.qkv_bias, _KV_HEADS)
        if self.sinks:
            yield Parameter("sinks", (self.n_heads,), ("n_heads",))
        yield from linear("out", d_model, self.query_width, self.out_bias, _HEADS)
        for name, heads in (("query_norm", self.n_heads), ("key_norm", self.n_kv_heads)):
            yield from self._head_norm_parameters(name, heads)

    def _head_norm_parameters(self, name: str, heads: int) -> Iterator[Parameter]:
        match self.head_norm:
            case NoHeadNorm():
                return
            case JointNorm(norm):
                yield from normed(name, norm, heads * self.head_dim)
            case OwnHeadNorm(norm):
                for head in range(heads):
                    yield from normed(f"{name}.norms.{head}", norm, self.head_dim)
            case HeadNorm(norm) | RotatedHeadNorm(norm):
                yield from normed(name, norm, self.head_dim)

    def sites(self) -> Mapping[str, SiteAxes]:
        heads = {"head": self.n_heads, "head_dim": self.head_dim}
        kept = SiteAxes("past", {"kv_head": self.n_kv_heads, "head_dim": self.head_dim})
        found = {
            "query": SiteAxes("token", heads),  # after rotation
            "key": kept,  # after rotation
            "value": kept,
        }
        if self.sinks:  # the logit of each head's sink, the same for all tokens
            found["sink"] = SiteAxes("token", {"head": self.n_heads}, editable=False)
        return found | {"heads": SiteAxes("token", heads)}  # output of each head, before the output projection

    def states(self) -> Mapping[str, State]:
        return dict.fromkeys(("key", "value"), Growing(self.n_kv_heads, self.head_dim))

    def pairs(self, tokens: int, depth: int) -> int:
        """Number of query-key pairs within the attention window, for `tokens` tokens after `depth`."""
        ends = range(depth + 1, depth + tokens + 1)
        if isinstance(self.window, Full):
            return sum(ends)
        return sum(min(end, self.window.tokens) for end in ends)

    def work(self, float_bytes: int, tokens: int, depth: int) -> Work:
        """Scores and weighted sum: keys and values of visible tokens are read once, those of the pass are written."""
        window = self.window
        seen = depth + tokens if isinstance(window, Full) else min(depth + tokens, window.tokens + tokens - 1)
        kept, inside = 2 * self.key_width * (seen + tokens), 2 * self.query_width * tokens
        return Work(float((kept + inside) * float_bytes), 4.0 * self.query_width * self.pairs(tokens, depth))
