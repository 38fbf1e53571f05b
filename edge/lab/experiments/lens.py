"""S1: how the logit lens approaches the prediction of the last layer, and which sublayers change it."""

from collections.abc import Iterator

import numpy as np

from edge.lab.claim import Curve, Experiment, Finding, Number, layer_curve, not_applicable
from edge.lab.context import LabContext
from edge.lab.effect import Effect, effect_of
from edge.lab.experiments.layer_predictions import TOKENS, LayerPredictions, local_prompts, predict_by_layer, sampled
from edge.lab.passes import fed_tokens
from edge.lab.sample import mean_interval
from edge.picture.units import show_share

MIN_LAYERS = 3
"""Minimum number of layers: a first, a middle and a last one."""


def numbers(found: LayerPredictions) -> tuple[Number, ...]:
    """Means over tokens, for the first layer and a middle one."""
    middle, last = (len(found.agreement) - 1) // 2, len(found.agreement) - 1
    entropy = float(found.lens.entropy_bits[-1].mean(dtype=np.float64))
    local, agreement = float(found.local[0]), float(found.agreement[0])
    stable_from = float(found.lens.convergence_layer.mean())
    local_text = "local top-1 tokens (two tokens of context), first layer"
    return (
        *_numbers_of(found, "first", 0),
        *_numbers_of(found, "middle", middle),
        Number("entropy_last_bits", "entropy, last layer", entropy, "bits"),
        Number("local_agreement_first", local_text, local, "share", agreement),
        Number("convergence_layer", "layer from which the top-1 token is final", stable_from, "count", float(last)),
        *_change_numbers(found),
    )


def _numbers_of(found: LayerPredictions, name: str, layer: int) -> tuple[Number, ...]:
    """One layer compared with the last."""
    lens, same, chance = found.lens, float(found.agreement[layer]), float(found.chance[layer])
    rank, entropy, distance = (
        float(values[layer].mean(dtype=np.float64)) for values in (lens.rank, lens.entropy_bits, lens.kl_to_final_bits)
    )
    return (
        Number(f"lens_agreement_{name}", f"top-1 agreement with the last layer, {name} layer", same, "share", chance),
        Number(f"final_rank_{name}", f"rank of the final top-1 token (0 is top-1), {name} layer", rank, "count", 0.0),
        Number(f"entropy_{name}_bits", f"entropy, {name} layer", entropy, "bits"),
        Number(f"kl_to_final_{name}_bits", f"KL divergence from the last layer, {name} layer", distance, "bits", 0.0),
    )


def _change_numbers(found: LayerPredictions) -> Iterator[Number]:
    """What attention changes, with the FFN's number as baseline, and the reverse."""
    changes, norms = np.mean(found.changes, axis=0).tolist(), found.norm_ratios.mean(axis=0).tolist()
    for key, what, (attention, ffn), unit in (
        ("changes_share", "top-1 tokens changed by a layer's {}, mean over layers", changes, "share"),
        (
            "norm_ratio",
            "L2 norm of {}'s contribution, over that of the residual stream, mean over layers",
            norms,
            "ratio",
        ),
    ):
        yield Number(f"attention_{key}", what.format("attention"), attention, unit, ffn)
        yield Number(f"ffn_{key}", what.format("the FFN" if unit == "ratio" else "FFN"), ffn, unit, attention)


def curves(found: LayerPredictions) -> tuple[Curve, ...]:
    """Top-1 tokens, entropy and divergence, and the changes by sublayers, layer by layer."""
    lens, layers = found.lens, range(len(found.agreement))
    predictions = {
        "the last layer's top-1": found.agreement,
        "local top-1 (two tokens)": found.local,
        "the text's next token": found.following,
        "the last layer's, by chance": found.chance,
    }
    bits = {
        "entropy": lens.entropy_bits.mean(axis=1, dtype=np.float64),
        "KL from the last layer": lens.kl_to_final_bits.mean(axis=1, dtype=np.float64),
    }
    sublayers = {
        "top-1 changed by attention": found.changes[:, 0],
        "top-1 changed by the FFN": found.changes[:, 1],
        "norm of attention's contribution": found.norm_ratios[:, 0],
        "norm of the FFN's contribution": found.norm_ratios[:, 1],
    }
    return (
        layer_curve("top-1 tokens of the logit lens", "share of tokens", predictions, layers),
        layer_curve("entropy and divergence of the logit lens", "bits", bits, layers),
        layer_curve("changes by sublayers", "share of tokens; ratio of norms", sublayers, layers),
    )


def effects(found: LayerPredictions) -> tuple[Effect, ...]:
    """Growth of agreement with the last layer, and lead of local predictions after the first; the units are tokens."""
    agrees = found.agrees.astype(np.float64)
    first, middle, last = agrees[0], agrees[(len(agrees) - 1) // 2], agrees[-1]
    kinds = (
        ("lower_growth", "agreement with the last layer: middle minus first layer", middle - first),
        ("upper_growth", "agreement with the last layer: last minus middle layer", last - middle),
        (
            "local_lead_first",
            "first layer: local agreement minus agreement with the last layer",
            found.is_local[0] - first,
        ),
    )
    return tuple(
        effect_of(
            mean_interval(values),
            key=key,
            label=label,
            unit="share_difference",
            threshold=0.0,
            threshold_reason="0: no difference",
            sample_unit="tokens",
        )
        for key, label, values in kinds
    )


def measure(lab: LabContext) -> Finding:
    if lab.spec.n_layers < MIN_LAYERS:
        return not_applicable(f"the model needs at least {MIN_LAYERS} layers: a first, a middle and a last one")
    found = predict_by_layer(lab)
    agreement, stable_from = found.agreement, found.lens.convergence_layer.mean()
    attention, ffn = np.mean(found.changes, axis=0).tolist()
    changes = (
        "Changes by single sublayers are undefined, because the residual stream is normed after each sum"
        if np.isnan(ffn)
        else f"A layer's attention changes {show_share(attention)} of top-1 tokens, its FFN {show_share(ffn)}"
    )
    return Finding(
        "After the first layer, the top-1 token of the logit lens is the final one at "
        f"{show_share(float(agreement[0]))} of tokens, and the local one (predicted from two tokens alone) at "
        f"{show_share(float(found.local[0]))}. After the middle layer, it is the final one at "
        f"{show_share(float(agreement[(len(agreement) - 1) // 2]))}. On average, the top-1 token is final from layer "
        f"{stable_from:.1f}. {changes}.",
        effects(found),
        numbers(found),
        curves=curves(found),
    )


def cost_tokens(lab: LabContext) -> int:
    return fed_tokens(local_prompts(lab, sampled(lab)))


EXPERIMENT = Experiment(
    key="S1",
    title="Layers build from local to semantic",
    question="What does the logit lens predict after each layer, from which layer on is this final, and which "
    "sublayers change it?",
    method=f"{TOKENS} tokens of the passage are measured, none of which is the first of its window. The logit lens "
    "after each layer is `norm(x) · W_U`. Agreement: its top-1 token is that of the last layer (chance: that at "
    "another token). Also reported: the rank of the last layer's top-1 token, entropy, KL divergence from the last "
    "layer, and the layer from which the top-1 token is final. Local: the top-1 token that the whole model predicts "
    "from the token and the previous one alone. A sublayer changes the prediction if the top-1 token differs before "
    "and after its contribution is added (with a parallel residual, attention first). This is undefined where the "
    "stream is normed after each sum. Norm ratios are `‖c‖ / ‖x‖`, with x after the layer. The lens is biased in early "
    "layers, and a prediction that is not local need not be semantic.",
    rule="Agreement with the last layer is higher after the middle layer than after the first, and higher after the "
    "last layer than after the middle one. After the first layer, local predictions are more frequent than final ones.",
    source="nostalgebraist 2020, the logit lens; Belrose et al. 2023, arXiv 2303.08112 (its bias); Geva et al. 2022, "
    "arXiv 2203.14680 (changes by the FFN)",
    cost_tokens=cost_tokens,
    measure=measure,
)
