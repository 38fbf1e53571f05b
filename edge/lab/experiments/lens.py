"""S1: what the stack would answer after each layer, from what two tokens say to the answer that it ends with."""

import numpy as np

from edge.lab.claim import Curve, Experiment, Finding, Number, layer_curve, not_applicable
from edge.lab.context import LabContext
from edge.lab.effect import Effect, effect_of
from edge.lab.experiments.layer_predictions import TOKENS, LayerPredictions, local_prompts, look, sampled
from edge.lab.passes import fed_tokens
from edge.lab.sample import mean_interval
from edge.picture.units import show_share

MIN_LAYERS = 3
"""The first, one in the middle, the last."""


def numbers(stack: LayerPredictions) -> tuple[Number, ...]:
    """Means over tokens, of the first layer and of one in the middle."""
    lens, middle = stack.lens, (len(stack.agreement) - 1) // 2
    attention, ffn = np.mean(stack.changes, axis=0).tolist()
    attention_write, ffn_write = stack.writes.mean(axis=0).tolist()
    made = []
    for name, layer in (("first", 0), ("middle", middle)):
        same, chance = float(stack.agreement[layer]), float(stack.chance[layer])
        rank, entropy, distance = (
            float(values[layer].mean(dtype=np.float64))
            for values in (lens.rank, lens.entropy_bits, lens.kl_to_final_bits)
        )
        made += [
            Number(f"lens_agreement_{name}", f"{name} layer answers as the last", same, "share", chance),
            Number(f"final_rank_{name}", f"ids likelier than the final answer, {name} layer", rank, "count", 0.0),
            Number(f"entropy_{name}_bits", f"how undecided the {name} layer is", entropy, "bits"),
            Number(f"kl_to_final_{name}_bits", f"from the {name} layer's answer to the last", distance, "bits", 0.0),
        ]
    last = float(lens.entropy_bits[-1].mean(dtype=np.float64))
    local, agreement = float(stack.local[0]), float(stack.agreement[0])
    after_first = float(lens.convergence_layer.mean())
    return (
        *made,
        Number("entropy_last_bits", "how undecided the last layer is", last, "bits"),
        Number("local_agreement_first", "first layer answers as to two tokens", local, "share", agreement),
        Number(
            "convergence_layer", "from which on the answer stays", after_first, "count", float(len(stack.agreement) - 1)
        ),
        Number("attention_changes_share", "answers changed by one layer's attention", attention, "share", ffn),
        Number("ffn_changes_share", "answers changed by one layer's FFN", ffn, "share", attention),
        Number(
            "attention_write_ratio", "added by attention, over the stream after it", attention_write, "ratio", ffn_write
        ),
        Number("ffn_write_ratio", "added by an FFN, over the stream after it", ffn_write, "ratio", attention_write),
    )


def curves(stack: LayerPredictions) -> tuple[Curve, ...]:
    """How answers come about, how sure they are, and who changes them."""
    lens, layers = stack.lens, range(len(stack.agreement))
    answers = {
        "the last layer's answer": stack.agreement,
        "the answer to two tokens alone": stack.local,
        "the text's next token": stack.following,
        "the last layer's, by chance": stack.chance,
    }
    bits = {
        "entropy": lens.entropy_bits.mean(axis=1, dtype=np.float64),
        "KL from the last layer": lens.kl_to_final_bits.mean(axis=1, dtype=np.float64),
    }
    sublayers = {
        "answers changed by attention": stack.changes[:, 0],
        "answers changed by the FFN": stack.changes[:, 1],
        "length added by attention": stack.writes[:, 0],
        "length added by the FFN": stack.writes[:, 1],
    }
    return (
        layer_curve("what the lens answers", "share of tokens", answers, layers),
        layer_curve("how sure it is", "bits", bits, layers),
        layer_curve("what sublayers do", "share of tokens, of the stream", sublayers, layers),
    )


def effects(stack: LayerPredictions) -> tuple[Effect, ...]:
    """TokenIds come nearer to the last layer's, and begin nearer to those to two tokens, over tokens."""
    agrees = stack.agrees.astype(np.float64)
    first, middle, last = agrees[0], agrees[(len(agrees) - 1) // 2], agrees[-1]
    kinds = (
        ("lower_growth", "more of the last layer's answers in the middle than after the first layer", middle - first),
        ("upper_growth", "more of them after the last layer than in the middle", last - middle),
        (
            "local_beginning",
            "after the first layer, more answers as to two tokens than as the last layer's",
            stack.is_local[0] - first,
        ),
    )
    return tuple(
        effect_of(
            mean_interval(values),
            key=key,
            label=label,
            unit="share",
            threshold=0.0,
            threshold_reason="no difference",
            sample_unit="tokens",
        )
        for key, label, values in kinds
    )


def measure(lab: LabContext) -> Finding:
    if lab.spec.n_layers < MIN_LAYERS:
        return not_applicable(f"a stack of {MIN_LAYERS} layers or more has a first, a middle and a last one")
    stack = look(lab)
    agreement, after_first = stack.agreement, stack.lens.convergence_layer.mean()
    attention, ffn = np.mean(stack.changes, axis=0).tolist()
    whose = (
        "who changed answers cannot be told where sums are normed"
        if np.isnan(ffn)
        else f"attention of a layer changes {show_share(attention)} of answers, its FFN {show_share(ffn)}"
    )
    return Finding(
        f"Read off after the first layer, {show_share(float(agreement[0]))} of answers are the model's own and "
        f"{show_share(float(stack.local[0]))} those that it gives to two tokens alone; in the middle "
        f"{show_share(float(agreement[(len(agreement) - 1) // 2]))} are its own. On average an answer stays from layer "
        f"{after_first:.1f} on; {whose}.",
        effects(stack),
        numbers(stack),
        curves=curves(stack),
    )


def cost_tokens(lab: LabContext) -> int:
    return fed_tokens(local_prompts(lab, sampled(lab)))


EXPERIMENT = Experiment(
    key="S1",
    title="layers build from local to semantic",
    question="What would the model answer after each layer, when does the answer settle, and which sublayers "
    "change it?",
    method=f"On {TOKENS} tokens of the passage, none the first of its window: the logit lens `norm(x) · W_U` "
    "after every "
    "layer. Told are how often its likeliest token is the last layer's (by chance: of another token), the rank of "
    "that one, entropy, the KL divergence to the last layer, and the layer from which on the likeliest token stays. "
    "Local is an answer that the whole model gives to the token and the one before it alone. A sublayer changes an "
    "answer if the likeliest token differs before and after it is added; with a parallel residual attention is added "
    "first. Not told where the stream is normed after each sum. Lengths are `‖c‖ / ‖x‖` after the layer. The lens is "
    "biased in early layers, and what is far from local need not be meaning.",
    rule="the last layer's answer is given more often in the middle than after the first layer and more often at the "
    "end than in the middle, and the first layer answers as to two tokens more often than as the last layer",
    source="nostalgebraist 2020, the logit lens; Belrose et al. 2023, arXiv 2303.08112 (its bias); Geva et al. 2022, "
    "arXiv 2203.14680 (changes by the FFN)",
    cost_tokens=cost_tokens,
    measure=measure,
)
