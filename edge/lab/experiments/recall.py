"""F5: indirect effects of FFNs and attention on the recall of facts, by causal tracing."""

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
"""Smallest total effect, in probability: with less there is nothing to restore. Meng et al. 2022 find 18.6%."""

MIN_LEAD = 0.1
"""Smallest lead of FFNs, over the total effect; in GPT-2 XL it is 27% (6.6% against 1.6% of 18.6%)."""


def effects(found: Traced, middle: list[int]) -> tuple[Effect, ...]:
    """The finding of Meng et al.: middle FFNs at the subject's last token; the sample is facts.

    FFN and attention each use their best window, chosen on all other facts.
    """
    ffn, attention = (leave_one_out_best(found.subject_end[:, middle, place]) for place in (0, 1))
    borrowed = leave_one_out_best(found.borrowed[:, middle])
    leads = (
        ("lead_over_attention", "attention", attention, "in GPT-2 XL it is 27% (Meng et al. 2022)"),
        (
            "lead_over_another_fact",
            "FFN values of another fact",
            borrowed,
            "values of another fact are arbitrary",
        ),
    )
    total = effect_of(
        mean_interval(found.total),
        key="total_effect",
        label="total effect: probability lost when noise corrupts the subject",
        unit="share",
        threshold=MIN_TOTAL,
        threshold_reason="with less there is nothing to restore; Meng et al. 2022 find 18.6%",
        sample_unit="facts",
    )
    return (
        total,
        *(
            effect_of(
                jackknife(np.stack([ffn - other, found.total], axis=1), ratio),
                key=key,
                label=f"indirect effect of middle FFNs at the subject, minus that of {subtracted}, over the "
                "total effect",
                unit="share",
                threshold=MIN_LEAD,
                threshold_reason=f"a tenth, our own choice; {reference}",
                sample_unit="facts",
            )
            for key, subtracted, other, reference in leads
        ),
    )


def numbers(found: Traced, lost: Float64[np.ndarray, "fact layer sublayer"]) -> tuple[Number, ...]:
    """Means over facts, then the largest over layers."""
    made = [Number("total_effect", "total effect (probability)", float(found.total.mean()), "share", 0.0)]
    borrowed = float(found.borrowed.mean(axis=0).max())
    for place, (name, word) in enumerate((("ffn", "FFN"), ("attention", "attention"))):
        for key, where, back, baseline in (
            ("indirect", "the subject's last token", found.subject_end, borrowed if name == "ffn" else None),
            ("subject", "all tokens of the subject", found.subject, None),
            ("answer", "the prompt's last token", found.prompt_end, None),
        ):
            label = f"indirect effect of {word}, restored at {where}"
            made.append(Number(f"{name}_{key}_effect", label, _best(back[..., place]), "share", baseline))
        label = f"probability lost, {word} of one layer ablated"
        made.append(Number(f"{name}_ablation_loss", label, float(lost[..., place].mean()), "share", 0.0))
    return (
        *made,
        Number(
            "ffn_first_effect",
            "indirect effect of FFN at the subject's last token, around the first layer",
            float(found.subject_end[:, 0, 0].mean()),
            "share",
        ),
    )


def _best(back: Float64[np.ndarray, "fact layer"]) -> float:
    return float(back.mean(axis=0).max())


def facts_to_trace(lab: LabContext) -> tuple[KnownFact, ...]:
    """The first facts that the model knows; empty if they are too few."""
    return lab.known_facts[:FACTS] if len(lab.known_facts) >= MIN_FACTS else ()


def measure(lab: LabContext) -> Finding:
    middle, layers = middle_layers(lab.spec.n_layers), traced_layers(lab.spec.n_layers)
    if not middle:
        return not_applicable("the model needs at least 3 layers, so that some lie between the first and the last")
    if not facts_to_trace(lab):
        return not_applicable(
            f"the model answers {len(lab.known_facts)} of the facts; tracing needs {MIN_FACTS}. Use a model that knows "
            "more facts, or give facts that it knows with --questions"
        )
    known = clean_traces(lab, facts_to_trace(lab))
    found, lost = trace_facts(lab, known), ablate_facts(lab, known)
    inside = [_best(found.subject_end[:, middle, place]) for place in (0, 1)]
    first = float(found.subject_end[:, 0, 0].mean())
    whole, answer = ([_best(back[..., place]) for place in (0, 1)] for back in (found.subject, found.prompt_end))
    return Finding(
        f"Noise on the subject lowers the answer's probability by {found.total.mean():.1%} (total effect). "
        "Indirect effect "
        f"at the subject's last token: FFNs of middle layers {inside[0]:.1%}, attention {inside[1]:.1%}; FFNs "
        "around the "
        f"first layer {first:.1%}. At all tokens of the subject: {whole[0]:.1%} and {whole[1]:.1%}; at the "
        "prompt's last "
        f"token: {answer[0]:.1%} and {answer[1]:.1%}. These effects show what mediates recall of {len(known)} "
        "prompts, not "
        "where a fact could be edited (Hase et al. 2023).",
        effects(found, middle),
        numbers(found, lost),
        curves=(
            layer_curve(
                "restored at the subject",
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
                "restored at the prompt's last token",
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
    question="If noise corrupts the subject of a fact, which sublayer's clean values restore the answer, and where?",
    method=f"Up to {FACTS} facts that the model knows: capitals, or the given questions. Noise of {DEVIATIONS:g} "
    "standard "
    "deviations of the first layer's input at subjects is added to the subject's tokens. Total effect: P(answer) - "
    "P*(answer). Indirect effect: P* with clean `ffn.output` or `attn.output` restored, minus P*, in a window "
    "of a third "
    "of the layers (at least 1). Windows of middle layers contain neither the first nor the last layer; the "
    "first FFN is "
    "known to act as part of the embedding. FFN and attention each use their best middle window, chosen on all other "
    "facts. Baseline: the values of another fact. Ablation: P minus P with one sublayer ablated at all tokens, "
    "mean over "
    "layers. Counter-evidence: Hase et al. 2023 (arXiv 2301.04213) find tracing effects unrelated to where an "
    "edit of a "
    "fact works (ρ = -0.13).",
    rule=f"The total effect is above {MIN_TOTAL:.0%} of probability. At the subject's last token, the indirect "
    "effect of "
    f"middle FFNs exceeds that of attention, and that of another fact's values, by over {MIN_LEAD:.0%} of the total "
    "effect.",
    source="Meng et al. 2022 (ROME), arXiv 2202.05262, section 2; against it Hase et al. 2023, arXiv 2301.04213",
    cost_tokens=cost_tokens,
    measure=measure,
)
