"""Latency of runs and passes, end to end and by sublayer. Units are in the names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median

from models.parts import TimedParts, sublayer_of, within_layer
from models.sites import ATTENTION, FFN

TimesByScope = dict[str, float]
"""Nanoseconds of one pass by scope: a sublayer, a part of a sublayer, `embed`, `head`, `other`."""


SLOWED = 1.15
"""Coverage above which shares are of the pass with timers: repeated runs differ by up to 15%."""


class Grain(StrEnum):
    """How finely a pass is timed. A timer at every part slows small models, so both grains are measured."""

    SUBLAYER = "sublayer"
    PART = "part"


@dataclass(frozen=True, kw_only=True)
class RunTiming:
    """Latency of one run.

    Attributes:
        tokenize_ms: Text to ids, in milliseconds; 0 if ids were given.
        prefill_ms: From the first token fed to the logits after the prompt's last token.
        ttft_ms: Time to first token: from the request to the first generated token, tokenization included.
        inter_token_ms: Every interval between two generated tokens.
    """

    tokenize_ms: float
    prefill_ms: float
    ttft_ms: float
    inter_token_ms: tuple[float, ...]

    @property
    def tokens_per_second(self) -> float | None:
        """Decode rate `(n - 1) / (t_last - t_first)`; None for fewer than two tokens."""
        total_ms = sum(self.inter_token_ms)
        return 1e3 * len(self.inter_token_ms) / total_ms if total_ms else None


@dataclass(frozen=True)
class Without:
    """Times of a whole pass and of the next pass, which leaves sublayers out. Neither has timers inside."""

    whole_ns: float
    without_ns: float


@dataclass(frozen=True, kw_only=True)
class PassTimes:
    """Times of all passes of one kind, in nanoseconds.

    Attributes:
        tokens: Tokens of a pass; 1 is a decode step.
        depth: Tokens in the cache before it.
        whole_ns: Uninstrumented passes, half of them before the instrumented ones and half after.
        sublayers_ns: Passes with a timer at every sublayer.
        parts_ns: Passes with a timer at every part; empty if they were not requested.
        without: Passes without all `attn`, all `ffn`, or all `layers`, each paired with a whole pass; empty if the
            engine cannot leave sublayers out, or if they were not requested.
    """

    tokens: int
    depth: int
    whole_ns: tuple[float, ...]
    sublayers_ns: tuple[TimesByScope, ...]
    parts_ns: tuple[TimesByScope, ...]
    without: dict[str, tuple[Without, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Differenced:
    """The time of a pass divided into parts by leaving out attention, FFNs, and both.

    Attributes:
        total_ns: Median of the whole passes.
        attn_ns, ffn_ns: Median time saved by a pass without all attention, and without all FFNs.
        rest_ns: Median of passes without layers: embedding, head, and the call itself.
    """

    total_ns: float
    attn_ns: float
    ffn_ns: float
    rest_ns: float

    @property
    def coverage(self) -> float:
        """Σ parts / total: 1 if each sublayer costs the same with and without the others."""
        return (self.attn_ns + self.ffn_ns + self.rest_ns) / self.total_ns

    @property
    def agrees(self) -> bool:
        """Whether the parts sum to the pass within 15%."""
        return 2 - SLOWED <= self.coverage <= SLOWED

    @classmethod
    def of(cls, without: Mapping[str, Sequence[Without]]) -> "Differenced | None":
        """Computed from paired passes; None if there are none."""
        if not {ATTENTION, FFN, "layers"} <= without.keys():
            return None
        saved_ns = {kind: median(one.whole_ns - one.without_ns for one in pairs) for kind, pairs in without.items()}
        return cls(
            total_ns=median(one.whole_ns for pairs in without.values() for one in pairs),
            attn_ns=saved_ns[ATTENTION],
            ffn_ns=saved_ns[FFN],
            rest_ns=median(one.without_ns for one in without["layers"]),
        )


class Basis(StrEnum):
    """What shares of time refer to."""

    PASS = "the pass"
    CLOCKED = "the pass with timers"


@dataclass(frozen=True, kw_only=True)
class TimeBreakdown:
    """The uninstrumented latency of a pass, and the times of its parts.

    Shares are of the total while the parts sum to at most `SLOWED` times the total. Above that, timers slowed the pass
    too much to compare with it, and shares are of the sum of the parts.

    Attributes:
        total_ns: Median uninstrumented pass.
        measured_ns: Median of each scope in instrumented passes, as measured: `embed`,
            `layers.3.attn`, `layers.3.ffn`, `head`, `other`.
    """

    total_ns: float
    measured_ns: TimesByScope

    @property
    def sum_ns(self) -> float:
        """Σ measured parts."""
        return sum(self.measured_ns.values())

    @property
    def coverage(self) -> float:
        """Σ measured parts / uninstrumented total; above 1, timers slowed the pass."""
        return self.sum_ns / self.total_ns

    @property
    def basis(self) -> Basis:
        """What `shares` refer to."""
        return Basis.CLOCKED if self.coverage > SLOWED else Basis.PASS

    @property
    def scale(self) -> float:
        """Factor that scales measured times to the total: 1, or less if the parts sum to more than the total."""
        return 1.0 / max(1.0, self.coverage)

    @property
    def scaled_ns(self) -> TimesByScope:
        """Time of each scope, scaled down if all scopes sum to more than the total."""
        return {scope: took * self.scale for scope, took in self.measured_ns.items()}

    @property
    def shares(self) -> TimesByScope:
        """Share of each scope in the `basis`, 0 to 1. With the unattributed share they sum to 1."""
        return {scope: took / self.total_ns for scope, took in self.scaled_ns.items()}

    @property
    def gap_ns(self) -> float | None:
        """Unattributed time: the total minus all parts. None if the parts sum to more than the total."""
        return None if self.coverage > 1.0 else self.total_ns - self.sum_ns

    @property
    def gap_share(self) -> float | None:
        """Unattributed time as a share of the total; None if it is unknown."""
        return None if self.gap_ns is None else self.gap_ns / self.total_ns

    @property
    def sums_ns(self) -> TimesByScope:
        """Scaled times of `attn` and `ffn` over all layers, `embed`, `head`, `other`; and `gap`, the unattributed time.

        They sum to the total. There is no `gap` if it is unknown.
        """
        sums = sums_of(self.scaled_ns)
        return sums if self.gap_ns is None else sums | {"gap": self.gap_ns}

    @property
    def measured_sums_ns(self) -> TimesByScope:
        """The same as measured, without `gap`."""
        return sums_of(self.measured_ns)


def sums_of(took_ns: TimesByScope) -> TimesByScope:
    """Times of `attn` and `ffn` summed over all layers; scopes outside layers unchanged."""
    sums: TimesByScope = {ATTENTION: 0.0, FFN: 0.0}
    for scope, took in took_ns.items():
        sums[within_layer(scope)] = sums.get(within_layer(scope), 0.0) + took
    return sums


@dataclass(frozen=True, kw_only=True)
class SublayerTiming(TimeBreakdown):
    """Time of each sublayer in one pass. Measured separately from watched runs.

    Attributes:
        engine: The engine that ran, such as `onnx`.
        tokens: Tokens of the timed pass; 1 is a decode step.
        depth: Tokens in the cache before it.
        repeats: Passes behind each median.
        threads: Threads the engine computed with.
        method: How the parts were measured, in a few words.
    """

    engine: str
    tokens: int
    depth: int
    repeats: int
    threads: int
    method: str


def medians(passes: Sequence[TimesByScope]) -> TimesByScope:
    """The median of each scope over several instrumented passes, nanoseconds."""
    return {scope: median(one.get(scope, 0.0) for one in passes) for scope in passes[0]}


def with_rests(took_ns: TimesByScope, of: TimedParts) -> TimesByScope:
    """Parts of one pass from timers at sublayers and their modules. A sublayer's remaining time is its last part."""
    parts: TimesByScope = {}
    for scope, took in took_ns.items():
        if scope in of.rests:
            inside = sum(other for name, other in took_ns.items() if name != scope and sublayer_of(name) == scope)
            rest = of.rests[scope]
            parts[rest] = parts.get(rest, 0.0) + max(0.0, took - inside)
        else:
            parts[scope] = parts.get(scope, 0.0) + took
    return parts


def by_sublayer(took_ns: TimesByScope) -> TimesByScope:
    """The parts of one pass summed by sublayer."""
    sums: TimesByScope = {}
    for part, took in took_ns.items():
        scope = sublayer_of(part)
        sums[scope] = sums.get(scope, 0.0) + took
    return sums
