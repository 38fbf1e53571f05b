"""A6: how much of each token's residual stream attention attention_output from other tokens, and from where."""

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
from edge.measure.information_flow import attention_rollout, contributions, value_weighted_norms
from edge.readout import OutputProjection, open_output_projection
from edge.trace import Trace
from models.sites import layer_site

WINDOWS = 2
QUERIES = 8
"""Tokens of each window whose parts are taken apart, drawn at random from the window's second half."""

MAX_LAYERS = 8
"""Layers that are taken apart, spread evenly where a decoder has more."""

ROUTED = 0.1
"""Of the residual stream after attention; no paper sets it."""


@dataclass(frozen=True)
class AttentionOutput:
    """Attention of one layer as the residual stream receives it.

    Attributes:
        out: The rows of `W_O` by head.
    """

    projection: OutputProjection
    out: Float32[np.ndarray, "head head_dim model"]
    value: Float32[np.ndarray, "past kv_head head_dim"]
    residual: Float32[np.ndarray, "token model"]

    def shares(
        self, patterns: Float[np.ndarray, "head token past"], queries: Int[np.ndarray, " query"]
    ) -> Float64[np.ndarray, "query part"]:
        """Of each query's vector after attention: what came from other tokens, and what from its own by attention."""
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
    """One layer in one window."""
    projection = open_output_projection(lab.model.checkpoint, layer, "attn")
    value, residual = (trace.site(layer_site(layer, part)) for part in ("attn.value", "input"))
    return AttentionOutput(projection, by_head(projection.matrix, lab.spec), value, residual)


def pearson(a: Float[np.ndarray, " entry"], b: Float[np.ndarray, " entry"]) -> float:
    """The correlation of two lists; NaN where either does not vary."""
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else float("nan")


def correlations(
    patterns: Float[np.ndarray, "head token past"], layer: AttentionOutput
) -> Float64[np.ndarray, "head kind"]:
    """Of each head: weights with the lengths of what they move, and with those of what they look at."""
    sharing, seen = len(patterns) // layer.value.shape[1], np.tril(np.ones(patterns.shape[1:], np.bool_))
    found = []
    for head, pattern in enumerate(patterns):
        value = layer.value[:, head // sharing]
        moved = value_weighted_norms(pattern, value, layer.out[head])
        length = value_weighted_norms(np.ones_like(pattern), value, layer.out[head])
        found.append((pearson(pattern[seen], moved[seen]), pearson(pattern[seen], length[seen])))
    return np.array(found)


def rollout_summary(patterns: list[Float32[np.ndarray, "head token past"]]) -> tuple[float, float]:
    """Rollout of all layers: the first token's share in later ones, and bits of spread."""
    flow = attention_rollout(patterns)[1:]
    return float(flow[:, 0].mean(dtype=np.float64)), float(entropy_bits(flow).mean(dtype=np.float64))


@dataclass(frozen=True)
class Window:
    """What attention window_routing in one window: of each layer the parts of the sampled tokens, and correlations.

    Attributes:
        correlations: Nothing where heads look evenly.
        flow: The first token's share in all others, and bits of spread, through all layers.
    """

    parts: Float64[np.ndarray, "layer query part"]
    correlations: Float64[np.ndarray, "linked kind"]
    flow: tuple[float, float]


def window_routing(lab: LabContext, number: int, *, even: bool = False) -> Window:
    """One window of the passage, as its heads look or as if they looked evenly."""
    trace, heads = lab.traces[number], lab.spec.n_heads
    late = np.arange(trace.n_fed // 2, trace.n_fed)
    queries = np.sort(np.random.default_rng([SEED, number]).permutation(late)[:QUERIES])
    looks, parts, linked = [], [], []
    for index, kind in enumerate(lab.spec.layers):
        lab.check()
        look = np.stack([uniform_pattern(trace.n_fed, kind.window)] * heads) if even else layer_patterns(trace, index)
        looks.append(look)
        if index not in evenly_spaced(lab.spec.n_layers, MAX_LAYERS):
            continue
        layer = attention_output(lab, trace, index)
        parts.append(layer.shares(look, queries))
        if not even:
            linked.append(np.nanmean(correlations(look, layer), axis=0))
    return Window(np.array(parts), np.reshape(linked, (-1, 2)), rollout_summary(looks))


def effects(parts: Float64[np.ndarray, "query part"], even: float) -> tuple[Effect, ...]:
    """What other tokens attention_output, by itself and beside the token's own value, over tokens."""
    routed, own = parts.T
    return (
        effect_of(
            mean_interval(routed, SHARE),
            key="routed_share",
            label="of the residual stream after attention, attention_output from other tokens",
            unit="share",
            threshold=ROUTED,
            threshold_reason=f"our own choice; attention that looks evenly brings {even:.1%}",
            sample_unit="tokens",
        ),
        effect_of(
            mean_interval(routed - own),
            key="routed_above_own",
            label="of the residual stream, from other tokens less from the token itself, by attention",
            unit="share",
            threshold=0.0,
            threshold_reason="as much from the token itself",
            sample_unit="tokens",
        ),
    )


def measure(lab: LabContext) -> Finding:
    numbers = range(len(lab.traces[:WINDOWS]))
    if min(lab.traces[number].n_fed for number in numbers) < 4:
        return not_applicable("a text of four tokens or more is needed for tokens to bring something to each other")
    own_way, evenly = ([window_routing(lab, number, even=even) for number in numbers] for even in (False, True))
    parts, even_parts = (np.concatenate([window.parts for window in windows], axis=1) for windows in (own_way, evenly))
    by_layer, even_layer = parts.mean(axis=1), even_parts.mean(axis=1)
    (first, bits), (even_first, even_bits) = (
        np.mean([window.flow for window in windows], axis=0) for windows in (own_way, evenly)
    )
    (routed, own), even_routed = by_layer.mean(axis=0), float(even_layer[:, 0].mean())
    norms, lengths = np.mean([window.correlations for window in own_way], axis=(0, 1))
    return Finding(
        f"{routed:.0%} of the residual stream after attention was just attention_output from other tokens, "
        f"{own:.0%} from a "
        f"token's own value (looking evenly would bring {even_routed:.0%}); the rest was there before. Weights and the "
        f"lengths of what they move correlate by {norms:.2f} (1 were all values equally long), weights and the lengths "
        f"of values by {lengths:.2f}.",
        effects(parts.mean(axis=0), even_routed),
        (
            Number("routed_share", "of the residual stream, from other tokens", float(routed), "share", even_routed),
            Number("own_value_share", "by attention from the token itself", float(own), "share"),
            Number(
                "rollout_first_token_share", "of the first token, all layers", float(first), "share", float(even_first)
            ),
            Number("rollout_entropy_bits", "spread over tokens, all layers", float(bits), "bits", float(even_bits)),
            Number("norm_pattern_correlation", "weights and lengths of what they move", float(norms), "ratio", 1.0),
            Number("length_pattern_correlation", "weights and lengths of values", float(lengths), "ratio", 0.0),
        ),
        curves=(
            layer_curve(
                "attention_output by attention",
                "share of the residual stream",
                {
                    "from other tokens": by_layer[:, 0],
                    "from the token itself": by_layer[:, 1],
                    "from others, looking evenly": even_layer[:, 0],
                },
                evenly_spaced(lab.spec.n_layers, MAX_LAYERS),
            ),
        ),
    )


EXPERIMENT = Experiment(
    key="A6",
    title="attention routes information",
    question="How much of a token's vector did attention just bring from other tokens, and do strong looks bring much?",
    method=f"For {QUERIES} tokens of each of {WINDOWS} windows and {MAX_LAYERS} layers at most, the vector w after "
    "attention is taken apart into what was there and what each head brings from each key, `a = p_j v_j W_O` (norms "
    "after attention held still): `max(‖w‖₁ - ‖w - a‖₁, 1e-5)` over the sum of all parts. Routed is what came from "
    "other keys, all heads together; keys hold what earlier layers attention_output there. The baseline gives "
    "every head even "
    "weights. Rollout multiplies `(mean_h p + I) / 2` over all layers. Correlations are Pearson's of p_ij with `‖p_ij "
    "v_j W_O‖₂` and `‖v_j W_O‖₂` over visible pairs, mean over heads: p is a factor of the first, so that it is high "
    "unless strong looks go to short values; with values of one length it is 1.",
    rule=f"more than {ROUTED:.0%} of the vector after attention came from other tokens, and more than by attention "
    "from the token itself",
    source="Ferrando and Voita 2024, arXiv 2403.00824, section 2.2; Abnar and Zuidema 2020, arXiv 2005.00928; "
    "Kobayashi et al. 2020, arXiv 2004.10102",
    cost_tokens=shared_passage_only,
    measure=measure,
)
