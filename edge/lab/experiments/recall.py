"""F5: indirect effects of FFNs and of attention on factual recall, by causal tracing."""

import numpy as np
from jaxtyping import Float64

from edge.lab.claim import Experiment, Finding, Number, layer_curve, not_applicable
from edge.lab.context import KnownFact, LabContext
from edge.lab.effect import Effect, effect_of
from edge.lab.experiments.causal_tracing import (
    DEVIATIONS,
    Traced,
    ablate_facts,
    clean_traces,
    fact_tokens,
    middle_layers,
    trace_facts,
    traced_layers,
)
from edge.lab.sample import jackknife, leave_one_out_best, mean_interval, ratio

MIN_FACTS, FACTS = 8, 16
"""Fewest and most known facts that are traced."""

MIN_TOTAL = 0.05
"""Smallest total effect, in probability: a smaller one leaves nothing to restore. Meng et al. 2022 find 0.186."""

MIN_LEAD = 0.1
"""Smallest lead of FFNs over attention, as a share of the total effect; GPT-2 XL has (6.6% - 1.6%) / 18.6% = 27%."""


def effects(found: Traced, middle: list[int]) -> tuple[Effect, ...]:
    """The finding of Meng et al. on middle FFNs at the subject's last token; a unit of the sample is a fact.

    For FFN and attention, the best window is chosen on all other facts.
    """
    ffn, attention = (leave_one_out_best(found.subject_end[:, middle, place]) for place in (0, 1))
    borrowed = leave_one_out_best(found.borrowed[:, middle])
    leads = (
        ("lead_over_attention", "attention", attention, "in GPT-2 XL it is 27% (Meng et al. 2022)"),
        (
            "lead_over_another_fact",
            "values of another fact",
            borrowed,
            "values of another fact should restore nothing",
        ),
    )
    total = effect_of(
        mean_interval(found.total),
        key="total_effect",
        label="total effect: decrease of the answer's probability by noise on the subject",
        unit="share_difference",
        threshold=MIN_TOTAL,
        threshold_reason="a smaller effect leaves nothing to restore; Meng et al. 2022 find 18.6 percentage points",
        sample_unit="facts",
    )
    return (
        total,
        *(
            effect_of(
                jackknife(np.stack([ffn - other, found.total], axis=1), ratio),
                key=key,
                label=f"at the subject's last token: indirect effect of middle FFNs minus that of {subtracted}, as a "
                "share of the total effect",
                unit="share",
                threshold=MIN_LEAD,
                threshold_reason=f"our own choice; {reference}",
                sample_unit="facts",
            )
            for key, subtracted, other, reference in leads
        ),
    )


def numbers(found: Traced, lost: Float64[np.ndarray, "fact layer sublayer"]) -> tuple[Number, ...]:
    """Means over facts, then the maximum over all layers; for ablation, the mean over layers."""
    made = [
        Number(
            "total_effect",
            "total effect: decrease of the answer's probability",
            float(found.total.mean()),
            "share_difference",
            0.0,
        )
    ]
    borrowed = float(found.borrowed.mean(axis=0).max())
    for place, (name, word) in enumerate((("ffn", "FFN"), ("attention", "attention"))):
        for key, where, back, baseline in (
            ("indirect", "the subject's last token", found.subject_end, borrowed if name == "ffn" else None),
            ("subject", "all tokens of the subject", found.subject, None),
            ("answer", "the prompt's last token", found.prompt_end, None),
        ):
            label = f"indirect effect, {word} restored at {where}, maximum over all layers"
            made.append(Number(f"{name}_{key}_effect", label, _best(back[..., place]), "share_difference", baseline))
        label = f"decrease of the answer's probability, {word} of one layer ablated, mean over layers"
        made.append(Number(f"{name}_ablation_loss", label, float(lost[..., place].mean()), "share_difference", 0.0))
    return (
        *made,
        Number(
            "ffn_first_effect",
            "indirect effect, FFN restored at the subject's last token, around the first layer",
            float(found.subject_end[:, 0, 0].mean()),
            "share_difference",
        ),
    )


def _best(back: Float64[np.ndarray, "fact layer"]) -> float:
    return float(back.mean(axis=0).max())


def facts_to_trace(lab: LabContext) -> tuple[KnownFact, ...]:
    """The first facts that the model knows; empty if there are too few."""
    return lab.known_facts[:FACTS] if len(lab.known_facts) >= MIN_FACTS else ()


def measure(lab: LabContext) -> Finding:
    middle, layers = middle_layers(lab.spec.n_layers), traced_layers(lab.spec.n_layers)
    if not middle:
        return not_applicable("the model needs at least 3 layers: a first, a middle and a last one")
    if not facts_to_trace(lab):
        return not_applicable(
            f"the model answers {len(lab.known_facts)} of the facts; tracing needs {MIN_FACTS}. Use a model that knows "
            "more facts, or give facts that it knows with --questions"
        )
    known = clean_traces(lab, facts_to_trace(lab))
    found, lost = trace_facts(lab, known), ablate_facts(lab, known)
    inside = [100 * _best(found.subject_end[:, middle, place]) for place in (0, 1)]
    first = 100 * float(found.subject_end[:, 0, 0].mean())
    whole, answer = ([100 * _best(back[..., place]) for place in (0, 1)] for back in (found.subject, found.prompt_end))
    return Finding(
        f"Noise on the subject lowers the answer's probability by {100 * found.total.mean():.1f} percentage points "
        "(total effect). Indirect effects, in percentage points, are maxima over layers. At the subject's last token, "
        f"the effect is {inside[0]:.1f} for FFNs of middle layers and {inside[1]:.1f} for attention of middle layers; "
        f"it is {first:.1f} for FFNs around the first layer. At all tokens of the subject it is {whole[0]:.1f} for "
        f"FFNs and {whole[1]:.1f} for attention of any layer; at the prompt's last token {answer[0]:.1f} and "
        f"{answer[1]:.1f}. These effects show what mediates recall of {len(known)} prompts, not where a fact could be "
        "edited (Hase et al. 2023).",
        effects(found, middle),
        numbers(found, lost),
        curves=(
            layer_curve(
                "clean values restored at the subject",
                "indirect effect (probability)",
                {
                    "FFN, last token": found.subject_end[..., 0].mean(axis=0),
                    "attention, last token": found.subject_end[..., 1].mean(axis=0),
                    "FFN, all tokens": found.subject[..., 0].mean(axis=0),
                    "attention, all tokens": found.subject[..., 1].mean(axis=0),
                    "FFN of another fact, last token": found.borrowed.mean(axis=0),
                },
                layers,
            ),
            layer_curve(
                "clean values restored at the prompt's last token",
                "indirect effect (probability)",
                {name: found.prompt_end[..., place].mean(axis=0) for place, name in enumerate(("FFN", "attention"))},
                layers,
            ),
        ),
    )


def cost_tokens(lab: LabContext) -> int:
    if not middle_layers(lab.spec.n_layers):
        return 0
    return sum(fact_tokens(known, lab.spec.n_layers) for known in facts_to_trace(lab))


EXPERIMENT = Experiment(
    key="F5",
    title="Factual recall depends on mid-layer FFNs",
    question="If noise corrupts the subject of a fact, which sublayers and layers restore the answer with their clean "
    "values?",
    method=f"Up to {FACTS} facts that the model knows: capitals, or the given questions. Noise is added to the "
    f"embeddings of the subject's tokens; its standard deviation is {DEVIATIONS:g} times that of the embeddings. P is "
    "the probability of the answer, P* that with the noise. Total effect: P - P*. Indirect effect: the increase of P* "
    "if clean `ffn.output` or `attn.output` is restored in a window of a third of the layers (at least 1). Windows of "
    "middle layers contain neither the first nor the last layer, because the first FFN is known to act as part of the "
    "embedding. For FFN and attention, the best middle window is chosen on all other facts. Baseline: values of "
    "another fact. Ablation: the decrease of P if one sublayer is ablated at all tokens, mean over layers. "
    "Counter-evidence: Hase et al. 2023 (arXiv 2301.04213) find that tracing effects do not predict where an edit of a "
    "fact works (ρ = -0.13).",
    rule=f"The total effect is above {100 * MIN_TOTAL:.0f} percentage points. At the subject's last token, the "
    "indirect effect of middle FFNs exceeds that of attention, and that of another fact's values, by more than "
    f"{MIN_LEAD:.0%} of the total effect.",
    source="Meng et al. 2022 (ROME), arXiv 2202.05262, section 2; against it Hase et al. 2023, arXiv 2301.04213",
    cost_tokens=cost_tokens,
    measure=measure,
)
