"""What a run took, end to end and by sublayer, as frozen numbers with units in their names."""

from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, kw_only=True)
class RunTiming:
    """One run, as a person waited for it.

    Attributes:
        tokenize_ms: Text to ids, in milliseconds; 0 when ids were given.
        prefill_ms: First token fed to the logits after the prompt's last token.
        ttft_ms: Request to first generated token, tokenisation included.
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


@dataclass(frozen=True, kw_only=True)
class SublayerTiming:
    """Where one pass spends its time. Measured apart from any watched run.

    Attributes:
        engine: The engine that ran, such as `onnx`.
        tokens: Tokens of the timed pass; 1 is a decode step.
        depth: Tokens in the cache before it.
        repeats: Passes behind each median.
        threads: Threads the engine computed with.
        method: How the parts were measured, in a few words.
        total_ns: Median of whole passes without instruments.
        measured_ns: Median of each scope in instrumented passes, as measured: `embed`,
            `layers.3.attn`, `layers.3.ffn`, `head`, `other`.
    """

    engine: str
    tokens: int
    depth: int
    repeats: int
    threads: int
    method: str
    total_ns: float
    measured_ns: dict[str, float]

    @property
    def coverage(self) -> float:
        """Σ measured parts / un-instrumented total; above 1 the instruments slowed the pass down."""
        return sum(self.measured_ns.values()) / self.total_ns

    @property
    def parts_ns(self) -> dict[str, float]:
        """Each scope's share of the un-instrumented total: as measured, scaled down where coverage exceeds 1."""
        scale = 1.0 / max(1.0, self.coverage)
        return {scope: took * scale for scope, took in self.measured_ns.items()}

    @property
    def gap_ns(self) -> float:
        """The un-instrumented total less all parts: time that no part accounts for."""
        return max(0.0, self.total_ns - sum(self.measured_ns.values()))


def medians(passes: list[dict[str, float]]) -> dict[str, float]:
    """The median of each scope over several instrumented passes, nanoseconds."""
    return {scope: median(one.get(scope, 0.0) for one in passes) for scope in passes[0]}
