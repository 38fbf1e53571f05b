"""What a run took, end to end and by sublayer, as frozen numbers with units in their names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median

from models.parts import RESTS, sublayer_of, within_layer

Took = dict[str, float]
"""Nanoseconds by scope of one pass: a sublayer, a part of one, `embed`, `head`, `other`."""


SLOWED = 1.15
"""Σ parts / total beyond which shares are of the pass with timers, not of the pass: 15% is what runs differ by."""


class Grain(StrEnum):
    """How finely a pass is told apart. A clock at every part slows a small model down, so both are taken."""

    SUBLAYER = "sublayer"
    PART = "part"


@dataclass(frozen=True, kw_only=True)
class RunTiming:
    """One run, as a person waited for it.

    Attributes:
        tokenize_ms: Text to ids, in milliseconds; 0 when ids were given.
        prefill_ms: First token fed to the logits after the prompt's last token.
        ttft_ms: Request to first generated token, tokenization included.
        inter_token_ms: Every interval between two generated tokens, raw.
    """

    tokenize_ms: float
    prefill_ms: float
    ttft_ms: float
    inter_token_ms: tuple[float, ...]

    @property
    def tokens_per_second(self) -> float | None:
        """Decode rate `(n - 1) / (t_last - t_first)`; None for fewer than two tokens."""
        waited_ms = sum(self.inter_token_ms)
        return 1e3 * len(self.inter_token_ms) / waited_ms if waited_ms else None


@dataclass(frozen=True)
class Without:
    """A whole pass, and right after it one that leaves sublayers out: no clock is inside either."""

    whole_ns: float
    without_ns: float


@dataclass(frozen=True, kw_only=True)
class PassTimes:
    """What passes of one kind took, every one of them, in nanoseconds.

    Attributes:
        tokens: Tokens of a pass; 1 is a decode step.
        depth: Tokens in the cache before it.
        whole_ns: Passes without instruments, half of them before the instrumented ones and half after.
        sublayers_ns: Passes with a clock at every sublayer.
        parts_ns: Passes with a clock at every part; empty where they were not asked for.
        without: Passes without all `attn`, all `ffn`, or all `layers`, each beside a whole one; empty where the engine
            cannot leave sublayers out, or was not asked.
    """

    tokens: int
    depth: int
    whole_ns: tuple[float, ...]
    sublayers_ns: tuple[Took, ...]
    parts_ns: tuple[Took, ...]
    without: dict[str, tuple[Without, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Differenced:
    """A pass divided by what it takes less without attention, without FFNs, and without both.

    Attributes:
        total_ns: Median of the whole passes.
        attn_ns, ffn_ns: Medians of what a pass takes less without all attention, without all FFNs.
        rest_ns: Median of passes without layers: embedding, head, and the call itself.
    """

    total_ns: float
    attn_ns: float
    ffn_ns: float
    rest_ns: float

    @property
    def coverage(self) -> float:
        """Σ parts / total: 1 where sublayers cost the same with and without the others."""
        return (self.attn_ns + self.ffn_ns + self.rest_ns) / self.total_ns

    @property
    def agrees(self) -> bool:
        """The parts sum to the pass within 15%."""
        return 2 - SLOWED <= self.coverage <= SLOWED

    @classmethod
    def of(cls, without: Mapping[str, Sequence[Without]]) -> "Differenced | None":
        """What such passes come to; None where there are none."""
        if not {"attn", "ffn", "layers"} <= without.keys():
            return None
        less = {kind: median(one.whole_ns - one.without_ns for one in pairs) for kind, pairs in without.items()}
        return cls(
            total_ns=median(one.whole_ns for pairs in without.values() for one in pairs),
            attn_ns=less["attn"],
            ffn_ns=less["ffn"],
            rest_ns=median(one.without_ns for one in without["layers"]),
        )


class Basis(StrEnum):
    """What shares of time are shares of."""

    PASS = "the pass"
    CLOCKED = "the pass with timers"


@dataclass(frozen=True, kw_only=True)
class Account:
    """A pass as a whole beside what clocks inside say of it.

    Shares are of the total while the parts sum to at most `SLOWED` times it, and of the sum of the parts beyond: the
    clocks then slowed the pass so much that nothing inside it was measured as it is without them.

    Attributes:
        total_ns: Median of whole passes without instruments.
        measured_ns: Median of each scope in instrumented passes, as measured: `embed`,
            `layers.3.attn`, `layers.3.ffn`, `head`, `other`.
    """

    total_ns: float
    measured_ns: Took

    @property
    def sum_ns(self) -> float:
        """Σ measured parts."""
        return sum(self.measured_ns.values())

    @property
    def coverage(self) -> float:
        """Σ measured parts / un-instrumented total; above 1 the clocks slowed the pass."""
        return self.sum_ns / self.total_ns

    @property
    def basis(self) -> Basis:
        """What `shares` are shares of."""
        return Basis.CLOCKED if self.coverage > SLOWED else Basis.PASS

    @property
    def scale(self) -> float:
        """What a measured time is multiplied by to stand in the total: 1, or below it where parts sum to more."""
        return 1.0 / max(1.0, self.coverage)

    @property
    def scaled_ns(self) -> Took:
        """Each scope as measured, and scaled down where all of them sum to more than the total."""
        return {scope: took * self.scale for scope, took in self.measured_ns.items()}

    @property
    def shares(self) -> Took:
        """Each scope's share of the `basis`, 0 to 1; with the gap's they sum to 1."""
        return {scope: took / self.total_ns for scope, took in self.scaled_ns.items()}

    @property
    def gap_ns(self) -> float | None:
        """The total less all parts: time that no part accounts for. None where the parts sum to more than the total."""
        return None if self.coverage > 1.0 else self.total_ns - self.sum_ns

    @property
    def gap_share(self) -> float | None:
        """The gap's share of the total; None where the gap is not known."""
        return None if self.gap_ns is None else self.gap_ns / self.total_ns

    @property
    def sums_ns(self) -> Took:
        """`attn` and `ffn` over all layers, `embed`, `head` and `other`, scaled; and the gap where it is known.

        They sum to the total.
        """
        sums = sums_of(self.scaled_ns)
        return sums if self.gap_ns is None else sums | {"gap": self.gap_ns}

    @property
    def measured_sums_ns(self) -> Took:
        """The same as measured, without a gap."""
        return sums_of(self.measured_ns)


def sums_of(took_ns: Took) -> Took:
    """`attn` and `ffn` over all layers, and what lies outside layers as it is."""
    sums: Took = {"attn": 0.0, "ffn": 0.0}
    for scope, took in took_ns.items():
        sums[within_layer(scope)] = sums.get(within_layer(scope), 0.0) + took
    return sums


@dataclass(frozen=True, kw_only=True)
class SublayerTiming(Account):
    """Where one pass spends its time. Measured apart from any watched run.

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


def medians(passes: Sequence[Took]) -> Took:
    """The median of each scope over several instrumented passes, nanoseconds."""
    return {scope: median(one.get(scope, 0.0) for one in passes) for scope in passes[0]}


def with_rests(took_ns: Took) -> Took:
    """The parts of one pass, from clocks at sublayers and at their modules: the rest of a sublayer is its last part."""
    parts: Took = {}
    for scope, took in took_ns.items():
        sublayer = scope.rpartition(".")[2]
        if sublayer in RESTS:
            inside = sum(other for name, other in took_ns.items() if name != scope and sublayer_of(name) == scope)
            parts[f"{scope}.{RESTS[sublayer]}"] = max(0.0, took - inside)
        else:
            parts[scope] = took
    return parts


def by_sublayer(took_ns: Took) -> Took:
    """The parts of one pass summed by sublayer."""
    sums: Took = {}
    for part, took in took_ns.items():
        scope = sublayer_of(part)
        sums[scope] = sums.get(scope, 0.0) + took
    return sums
