"""A6: the share of the residual stream that comes from other tokens through attention."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from edge.lab.claim import Experiment, Finding, Number, layer_curve, not_applicable, shared_passage_only
from edge.lab.context import LabContext
from edge.lab.effect import Effect, effect_of
from edge.lab.experiments.patterns import by_head, layer_patterns, read_values, uniform_pattern
from edge.lab.prompts import SEED
from edge.lab.sample import SHARE, evenly_spaced, mean_interval
from edge.measure.attention import entropy_bits
from edge.measure.correlation import correlation
from edge.measure.information_flow import attention_rollout, contributions, value_weighted_norms
from edge.picture.units import show_measured
from edge.readout import OutputProjection, open_output_projection
from edge.trace import Trace
from models.sites import VALUE, layer_site

WINDOWS = 2
QUERIES = 8
"""Tokens per window whose residual stream is decomposed, sampled from the window's second half."""

MAX_LAYERS = 8
"""Layers that are decomposed, evenly spaced if a decoder has more."""

ROUTED = 0.1
"""Share of the residual stream after attention; our own choice, no paper sets it."""


@dataclass(frozen=True)
class AttentionOutput:
    """The contribution of one layer's attention to the residual stream.

    Attributes:
        out: The rows of `W_O` for each head.
    """

    projection: OutputProjection
    out: Float32[np.ndarray, "head head_dim model"]
    value: Float32[np.ndarray, "past kv_head head_dim"]
    residual: Float32[np.ndarray, "token model"]

    def shares(
        self, patterns: Float[np.ndarray, "head token past"], queries: Int[np.ndarray, " query"]
    ) -> Float64[np.ndarray, "query part"]:
        """For each query, the shares of the stream after attention from other tokens and from its own value."""
        raw = self.projection(read_values(patterns[:, queries], self.value).reshape(len(queries), -1))
        added, after = self.projection.after(raw), self.projection.after
        out, scale = after.centered(self.out) * after.gain, after.scale(raw)
        found = []
        for row, token in enumerate(queries):
            before = self.residual[token]
            parts = contributions(
                patterns[:, token, : token + 1], self.value[: token + 1], out / scale[row], before, before + added[row]
            ).heads
            found.append((parts[:, :token].sum(dtype=np.float64), parts[:, token].sum(dtype=np.float64)))
        return np.array(found)


def attention_output(lab: LabContext, trace: Trace, layer: int) -> AttentionOutput:
    """The attention of one layer in one window."""
    projection = open_output_projection(lab.model.checkpoint, layer, "attn")
    value, residual = (trace.site(layer_site(layer, part)) for part in (VALUE, "input"))
    return AttentionOutput(projection, by_head(projection.matrix, lab.spec), value, residual)


def correlations(
    patterns: Float[np.ndarray, "head token past"], layer: AttentionOutput
) -> Float64[np.ndarray, "head kind"]:
    """For each head, Pearson's r of the attention weights with the norms of weighted values and of values."""
    sharing, visible = len(patterns) // layer.value.shape[1], np.tril(np.ones(patterns.shape[1:], np.bool_))
    found = []
    for head, pattern in enumerate(patterns):
        value = layer.value[:, head // sharing]
        weighted = value_weighted_norms(pattern, value, layer.out[head])
        unweighted = value_weighted_norms(np.ones_like(pattern), value, layer.out[head])
        weights = np.stack([pattern[visible]] * 2)
        found.append(correlation(weights, np.stack([weighted[visible], unweighted[visible]])))
    return np.array(found)


def rollout_summary(patterns: list[Float32[np.ndarray, "head token past"]]) -> tuple[float, float]:
    """Attention rollout over all layers: the first token's mean share in later tokens, and mean entropy in bits."""
    flow = attention_rollout(patterns)[1:]
    return float(flow[:, 0].mean(dtype=np.float64)), float(entropy_bits(flow).mean(dtype=np.float64))


@dataclass(frozen=True)
class Window:
    """The decomposition of one window.

    Attributes:
        parts: Shares from other tokens and from the token's own value, for each layer and sampled token.
        correlations: Correlations of weights with norms, for each layer; empty for uniform attention.
        rollout: The first token's share in later tokens, and entropy in bits, over all layers.
    """

    parts: Float64[np.ndarray, "layer query part"]
    correlations: Float64[np.ndarray, "_ kind"]
    rollout: tuple[float, float]


def window_routing(lab: LabContext, number: int, *, uniform: bool = False) -> Window:
    """The decomposition of one window with the model's attention patterns, or with uniform ones."""
    trace, heads = lab.traces[number], lab.spec.n_heads
    late = np.arange(trace.n_fed // 2, trace.n_fed)
    queries = np.sort(np.random.default_rng([SEED, number]).permutation(late)[:QUERIES])
    patterns, parts, linked = [], [], []
    for index, kind in enumerate(lab.spec.attentions):
        lab.check()
        one_head = uniform_pattern(trace.n_fed, kind.window)
        pattern = np.stack([one_head] * heads) if uniform else layer_patterns(trace, index)
        patterns.append(pattern)
        if index not in evenly_spaced(lab.spec.n_layers, MAX_LAYERS):
            continue
        layer = attention_output(lab, trace, index)
        parts.append(layer.shares(pattern, queries))
        if not uniform:
            linked.append(np.nanmean(correlations(pattern, layer), axis=0))
    return Window(np.array(parts), np.reshape(linked, (-1, 2)), rollout_summary(patterns))


def effects(parts: Float64[np.ndarray, "query part"], uniform: float) -> tuple[Effect, ...]:
    """The share from other tokens, and its lead over the share from the own value; a unit of the sample is a token."""
    routed, own = parts.T
    return (
        effect_of(
            mean_interval(routed, SHARE),
            key="routed_share",
            label="share of the residual stream after attention that comes from other tokens",
            unit="share",
            threshold=ROUTED,
            threshold_reason=f"our own choice; uniform attention gives {uniform:.1%}",
            sample_unit="tokens",
        ),
        effect_of(
            mean_interval(routed - own),
            key="routed_above_own",
            label="share from other tokens minus share from the token's own value",
            unit="share_difference",
            threshold=0.0,
            threshold_reason="0: both shares are equal",
            sample_unit="tokens",
        ),
    )


def _rollout_numbers(model: Sequence[Window], uniform: Sequence[Window]) -> tuple[Number, Number]:
    """Attention rollout of the model, and of uniform attention as baseline."""
    (first, bits), (uniform_first, uniform_bits) = (
        [float(value) for value in np.mean([window.rollout for window in windows], axis=0)]
        for windows in (model, uniform)
    )
    title = "attention rollout"
    return (
        Number("rollout_first_token_share", f"{title}: share of the first token", first, "share", uniform_first),
        Number("rollout_entropy_bits", f"{title}: entropy over tokens", bits, "bits", uniform_bits),
    )


def measure(lab: LabContext) -> Finding:
    numbers = range(len(lab.traces[:WINDOWS]))
    if min(lab.traces[number].n_fed for number in numbers) < 4:
        return not_applicable("the windows of the text are too short; the decomposition needs at least 4 tokens")
    model, uniform = ([window_routing(lab, number, uniform=one) for number in numbers] for one in (False, True))
    parts, uniform_parts = (
        np.concatenate([window.parts for window in windows], axis=1) for windows in (model, uniform)
    )
    by_layer, uniform_layer = parts.mean(axis=1), uniform_parts.mean(axis=1)
    (routed, own), uniform_routed = by_layer.mean(axis=0), float(uniform_layer[:, 0].mean())
    weighted, unweighted = np.mean([window.correlations for window in model], axis=(0, 1))
    return Finding(
        f"In a layer, {routed:.0%} of the residual stream after attention comes from other tokens (uniform attention: "
        f"{uniform_routed:.0%}), and {own:.0%} from the token's own value; the rest is the stream before attention. "
        f"The correlation of attention weights with the norms of weighted values is "
        f"r = {show_measured(weighted, 'ratio')} (1 if all values had the same norm), with the norms of values "
        f"r = {show_measured(unweighted, 'ratio')}.",
        effects(parts.mean(axis=0), uniform_routed),
        (
            Number(
                "routed_share",
                "share of the residual stream after attention from other tokens",
                float(routed),
                "share",
                uniform_routed,
            ),
            Number("own_value_share", "share of it from the token's own value", float(own), "share"),
            *_rollout_numbers(model, uniform),
            Number(
                "weighted_norm_correlation", "r of weights and norms of weighted values", float(weighted), "ratio", 1.0
            ),
            Number("norm_correlation", "r of weights and norms of values", float(unweighted), "ratio", 0.0),
        ),
        curves=(
            layer_curve(
                "residual stream after attention",
                "share",
                {
                    "from other tokens": by_layer[:, 0],
                    "from the token's own value": by_layer[:, 1],
                    "from other tokens, uniform attention": uniform_layer[:, 0],
                },
                evenly_spaced(lab.spec.n_layers, MAX_LAYERS),
            ),
        ),
    )


EXPERIMENT = Experiment(
    key="A6",
    title="Attention routes information between tokens",
    question="How much of a token's residual stream comes from other tokens through attention, and do large attention "
    "weights go with large vectors?",
    method=f"{QUERIES} tokens of each of {WINDOWS} windows, at most {MAX_LAYERS} layers. The residual stream w after "
    "attention is the sum of the stream before it and of the contribution of each head and key, `a = p_j v_j W_O`; "
    "norms after attention are frozen. The share of a part is `max(‖w‖₁ - ‖w - a‖₁, 1e-5)`, divided by the sum over "
    "all parts. The share from other tokens is the sum over all other keys and all heads; a key may itself contain "
    "what earlier layers moved to it. Baseline: uniform attention. Attention rollout multiplies `(mean_h p + I) / 2` "
    "over all layers. Correlations are Pearson's r of p_ij with `‖p_ij v_j W_O‖₂` and with `‖v_j W_O‖₂` over visible "
    "pairs, mean over heads. The first has p as a factor, so it is high unless large weights go with small values; it "
    "is 1 if all values have the same norm.",
    rule=f"More than {ROUTED:.0%} of the residual stream after attention comes from other tokens, and more than from "
    "the token's own value.",
    source="Ferrando and Voita 2024, arXiv 2403.00824, section 2.2; Abnar and Zuidema 2020, arXiv 2005.00928; "
    "Kobayashi et al. 2020, arXiv 2004.10102",
    cost_tokens=shared_passage_only,
    measure=measure,
)
