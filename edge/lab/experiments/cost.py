"""S3: the shares of attention and of FFNs in parameters, bytes, operations and time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from statistics import fmean

from edge.engines.choice import engine_of
from edge.lab.claim import Curve, Experiment, Finding, Number, layer_curve, not_applicable
from edge.lab.context import LabContext
from edge.lab.effect import Effect, effect_of
from edge.lab.sample import Interval, exact_value, mean_interval
from edge.picture.units import show_count, show_share
from edge.profile.weight_memory import weight_bytes
from edge.profile.work import work_of
from edge.time_sublayers import WARM_UP
from edge.timing import SublayerTiming
from models.parameters import active_counts, parameter_shapes
from models.spec import DecoderSpec
from models.sublayers.work import Work

DEPTH_TOKENS = 64
"""Tokens in the KV cache before the timed decode step."""

PREFILL_TOKENS = 128
CALLS, REPEATS = 4, 5
"""Timings of each kind of pass; passes of each timing, instrumented and uninstrumented, whose median counts."""

MOST = 0.5
"""Share of the layers' parameters and time. 'Most' means more than half."""

SUBLAYERS = ("attn", "ffn")


@dataclass(frozen=True)
class Split:
    """One quantity, split into attention, FFN and the parts outside the layers.

    Attributes:
        attention, ffn: Sums over all layers, with their norms.
        outside: Embedding and unembedding.
    """

    attention: float
    ffn: float
    outside: float

    @property
    def layers(self) -> float:
        """The sum over all layers."""
        return self.attention + self.ffn

    @property
    def attention_share(self) -> float:
        """Attention's share of the layers."""
        return self.attention / self.layers

    @property
    def ffn_share(self) -> float:
        """The FFN's share of the layers."""
        return self.ffn / self.layers


def split(amounts: Mapping[str, float]) -> Split:
    """Sums amounts under `layers.3.attn...`, under `layers.3.ffn...`, and outside the layers."""
    sums = dict.fromkeys((*SUBLAYERS, "outside"), 0.0)
    for name, amount in amounts.items():
        kind = name.split(".")[2].removesuffix("_sum") if name.startswith("layers.") else "outside"
        sums[kind] += amount
    return Split(sums["attn"], sums["ffn"], sums["outside"])


def parameters(spec: DecoderSpec) -> Split:
    """Counts of parameters; a tied unembedding adds none."""
    return split({name: float(prod(shape)) for name, shape in parameter_shapes(spec).items()})


def active_parameters(spec: DecoderSpec) -> Split:
    """Counts of the parameters that one token uses; fewer than all in a mixture of experts."""
    return split(active_counts(spec))


def work(lab: LabContext, tokens: int, depth: int, of: Callable[[Work], float]) -> Split:
    """Bytes or operations of one pass on this engine, by the formulas in `edge.profile.work`."""
    model = lab.model
    stored, size = weight_bytes(model.engine, model.checkpoint), engine_of(model.engine).float_bytes
    parts = work_of(lab.spec, stored, size, tokens, depth)
    return split({part: of(done) for part, done in parts.items()})


def timed_tokens(lab: LabContext) -> tuple[int, int]:
    """Tokens before the decode step, and in the prefill, limited by the context and the passage."""
    most = min(lab.spec.context, len(lab.passage))
    return min(DEPTH_TOKENS, most - 1), min(PREFILL_TOKENS, most)


def layer_ms(timing: SublayerTiming, layer: int, sublayer: str) -> float:
    """The time of one sublayer, in ms; scaled to the uninstrumented latency if timers slowed the pass."""
    return timing.scaled_ns.get(f"layers.{layer}.{sublayer}", 0.0) / 1e6


def share_bounds(timing: SublayerTiming) -> tuple[float, float]:
    """Lower and upper bounds of the FFNs' share of the layers' time in an uninstrumented pass.

    Unattributed time and timer overhead may belong entirely to FFNs, or entirely to attention.
    """
    measured = split(timing.measured_ns)
    unattributed = timing.total_ns - sum(timing.measured_ns.values())
    layers = max(measured.layers + unattributed, 1.0)
    bounds = (measured.ffn / layers, (measured.ffn + unattributed) / layers)
    return max(0.0, min(bounds)), min(1.0, max(bounds))


@dataclass(frozen=True)
class Passes:
    """One kind of pass: its timings, and its bytes and operations by formula."""

    name: str
    timings: tuple[SublayerTiming, ...]
    touched_bytes: Split
    flops: Split

    @property
    def time(self) -> Split:
        """The time of the parts, mean over timings; unattributed time is not included."""
        sums = [split(timing.scaled_ns) for timing in self.timings]
        return Split(*(fmean(getattr(one, name) for one in sums) for name in ("attention", "ffn", "outside")))

    @property
    def time_ms(self) -> float:
        return fmean(timing.total_ns for timing in self.timings) / 1e6

    @property
    def coverage(self) -> float:
        return fmean(timing.coverage for timing in self.timings)

    def sentence(self) -> str:
        """The FFNs' share of the layers' time, as part of a sentence."""
        return (
            f"{show_share(self.time.ffn_share)} of the time in {self.name} ({show_share(self.flops.ffn_share)} of the "
            f"operations; coverage {show_share(self.coverage)})"
        )

    def curve(self, layers: range) -> Curve:
        """Milliseconds of each sublayer."""
        lines = {
            name: [fmean(layer_ms(timing, layer, sublayer) for timing in self.timings) for layer in layers]
            for name, sublayer in (("FFN", "ffn"), ("attention", "attn"))
        }
        return layer_curve(f"time in {self.name}", "ms", lines, layers)


def timed(lab: LabContext, name: str, tokens: int, depth: int) -> Passes | None:
    """Times one kind of pass; None if stopped."""
    ids = list(lab.passage[: depth + tokens])
    timings = []
    for _ in range(CALLS):
        timing = lab.model.time_sublayers(ids, tokens=tokens, repeats=REPEATS)
        if timing is None:
            return None
        timings.append(timing)
    touched, flops = (work(lab, tokens, depth, of) for of in (lambda w: w.touched_bytes, lambda w: w.flops))
    return Passes(name, tuple(timings), touched, flops)


def effects(counts: Split, decode: Passes, prefill: Passes) -> tuple[Effect, ...]:
    """The FFNs' shares of parameters and of time (mean of both kinds of pass); timer errors widen the interval."""
    pairs = list(zip(decode.timings, prefill.timings, strict=True))
    bounds = [[fmean(both) for both in zip(*map(share_bounds, pair), strict=True)] for pair in pairs]
    lows, highs = (mean_interval(side) for side in zip(*bounds, strict=True))
    value = (decode.time.ffn_share + prefill.time.ffn_share) / 2
    return (
        effect_of(
            exact_value(counts.ffn_share),
            key="ffn_parameter_share",
            label="FFNs' share of the layers' parameters",
            unit="share",
            threshold=MOST,
            threshold_reason="half; a plain FFN with d_ff = 4 d_model has two thirds",
            sample_unit="",
        ),
        effect_of(
            Interval(value, max(0.0, lows.low), min(1.0, highs.high), len(pairs)),
            key="ffn_time_share",
            label="FFNs' share of the layers' time, mean of decode and prefill",
            unit="share",
            threshold=MOST,
            threshold_reason=f"half; FFNs do {show_share((decode.flops.ffn_share + prefill.flops.ffn_share) / 2)} of "
            "the operations",
            sample_unit="timings, widened by unattributed time and timer overhead",
        ),
    )


def parameter_numbers(counts: Split, active: Split) -> list[Number]:
    """Counts of parameters, and the shares of all layers together; of active parameters if they are fewer."""
    made = [
        Number("ffn_parameter_share", "FFNs' share of the layers' parameters", counts.ffn_share, "share", 0.5),
        Number(
            "attention_parameter_share",
            "attention's share of the layers' parameters",
            counts.attention_share,
            "share",
            0.5,
        ),
        Number("ffn_parameters", "parameters of all FFNs", counts.ffn, "count"),
        Number("attention_parameters", "parameters of all attention sublayers", counts.attention, "count"),
        Number("outside_parameters", "parameters of embedding and unembedding", counts.outside, "count"),
    ]
    if active != counts:
        of_layers = "FFNs' share of the layers' parameters that one token uses (active)"
        made += [
            Number("ffn_active_parameter_share", of_layers, active.ffn_share, "share", 0.5),
            Number("ffn_active_parameters", "active parameters of all FFNs", active.ffn, "count"),
        ]
    return made


def pass_numbers(decode: Passes, prefill: Passes) -> tuple[Number, ...]:
    """Shares of all layers together, without embedding and unembedding."""
    made: list[Number] = []
    for passes, prefix in ((decode, ""), (prefill, "prefill_")):
        flops, time, where = passes.flops, passes.time, passes.name
        made += [
            Number(
                f"ffn_{prefix}bytes_share",
                f"FFNs' share of bytes read and written in {where}",
                passes.touched_bytes.ffn_share,
                "share",
            ),
            Number(f"ffn_{prefix}flops_share", f"FFNs' share of operations in {where}", flops.ffn_share, "share"),
            Number(
                f"ffn_{prefix}time_share", f"FFNs' share of time in {where}", time.ffn_share, "share", flops.ffn_share
            ),
            Number(
                f"attention_{prefix}time_share",
                f"attention's share of time in {where}",
                time.attention_share,
                "share",
                flops.attention_share,
            ),
            Number(f"{prefix}time_ms", f"uninstrumented latency of {where}", passes.time_ms, "ms"),
            Number(
                f"{prefix}coverage",
                f"coverage (timed parts over uninstrumented latency) in {where}",
                passes.coverage,
                "ratio",
                1.0,
            ),
        ]
    return tuple(made)


def measure(lab: LabContext) -> Finding:
    depth, tokens = timed_tokens(lab)
    decode = timed(lab, f"a decode step after {depth} tokens", 1, depth)
    prefill = timed(lab, f"a prefill of {tokens} tokens", tokens, 0)
    if decode is None or prefill is None:
        return not_applicable("the timing was stopped before its end; run it again")
    counts, active, layers = parameters(lab.spec), active_parameters(lab.spec), range(lab.spec.n_layers)
    of_active = ""
    if active != counts:
        of_active = f" They have {show_share(active.ffn_share)} of the active ones, those that one token uses."
    return Finding(
        f"FFNs have {show_share(counts.ffn_share)} of the layers' parameters ({show_count(round(counts.ffn))}, "
        f"attention {show_count(round(counts.attention))}; embedding and unembedding "
        f"{show_count(round(counts.outside))}).{of_active} With {lab.model.engine}, FFNs take {decode.sentence()}, and "
        f"{prefill.sentence()}. In small models, overhead of calls takes a larger share of the time.",
        effects(counts, decode, prefill),
        (*parameter_numbers(counts, active), *pass_numbers(decode, prefill)),
        curves=(decode.curve(layers), prefill.curve(layers)),
    )


def cost_tokens(lab: LabContext) -> int:
    depth, tokens = timed_tokens(lab)
    passes = 2 * REPEATS + WARM_UP + 1
    return CALLS * (depth + passes * (1 + tokens))


EXPERIMENT = Experiment(
    key="S3",
    title="Most parameters and time are in the FFN",
    question="What are the shares of FFNs and attention in the layers' parameters, bytes, operations and time?",
    method="Parameters are counted by name; a norm counts with its sublayer. In a mixture, all experts count; active "
    "parameters are those that one token uses. Passes: a decode step after "
    f"{DEPTH_TOKENS} tokens, and a prefill of {PREFILL_TOKENS} tokens. Bytes read and written, and operations of "
    "matrix products, are computed by formulas, with weights in the engine's storage format. Times come from timers "
    f"around each sublayer: {CALLS} timings, each the median of {REPEATS} passes. Shares are of all layers, without "
    "embedding and unembedding. Coverage is the sum of the timed parts over the uninstrumented latency. Unattributed "
    "time is in no share; the interval assigns all of it to FFNs, or all of it to attention. A plain FFN with d_ff = 4 "
    "d_model has 8 d_model² weights, attention has 4 d_model²: two thirds are in the FFN. Baseline of the share of "
    "time: the share of operations.",
    rule=f"FFNs have more than {MOST:.0%} of the layers' parameters, and take more than {MOST:.0%} of their time (mean "
    "of both passes).",
    source="Geva et al. 2021, arXiv 2012.14913, section 1 (two thirds); Kaplan et al. 2020, arXiv 2001.08361, table 1",
    cost_tokens=cost_tokens,
    measure=measure,
)
