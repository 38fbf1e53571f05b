"""F5: which sublayers bring a fact back, FFN against attention."""

import numpy as np
from jaxtyping import Float64

from edge.lab.claim import Experiment, Finding, Number, layer_curve, not_applicable
from edge.lab.context import KnownFact, LabContext
from edge.lab.effect import Effect, effect_of
from edge.lab.experiments.causal_tracing import (
    DEVIATIONS,
    Traced,
    ablate_facts,
    fact_tokens,
    middle_layers,
    trace_facts,
    traced_layers,
    watched,
)
from edge.lab.sample import jackknife, leave_one_out_best, mean_interval, ratio

MIN_FACTS, FACTS = 8, 16
"""KnownFact facts that are needed, and that are tried at most."""

MIN_TOTAL = 0.05
"""Of probability, that corruption must cost: less leaves nothing to bring back. Meng et al. 2022 find 18.6%."""

MIN_LEAD = 0.1
"""Of what corruption costs, by which FFNs must lead; in GPT-2 XL it is 27% (6.6% against 1.6% of 18.6%)."""


def effects(found: Traced, middle: list[int]) -> tuple[Effect, ...]:
    """Of Meng et al.'s finding: FFNs of the middle, at the subject's last token, over facts.

    Each side has its best window, chosen on all other facts.
    """
    ffn, attention = (leave_one_out_best(found.subject_end[:, middle, place]) for place in (0, 1))
    borrowed = leave_one_out_best(found.borrowed[:, middle])
    leads = (
        ("lead_over_attention", "attention does", attention, "in GPT-2 XL it is 27% (Meng et al. 2022)"),
        (
            "lead_over_another_fact",
            "FFN values of another fact do",
            borrowed,
            "another fact's values are arbitrary ones",
        ),
    )
    total = effect_of(
        mean_interval(found.total),
        key="total_effect",
        label="probability that the answer loses as the subject is blurred",
        unit="share",
        threshold=MIN_TOTAL,
        threshold_reason="less leaves nothing to bring back; Meng et al. 2022 find 18.6%",
        sample_unit="facts",
    )
    return (
        total,
        *(
            effect_of(
                jackknife(np.stack([ffn - other, found.total], axis=1), ratio),
                key=key,
                label=f"what FFNs of middle layers bring back at the subject, less what {means}, of all that was lost",
                unit="share",
                threshold=MIN_LEAD,
                threshold_reason=f"a tenth, our own choice; {beside}",
                sample_unit="facts",
            )
            for key, means, other, beside in leads
        ),
    )


def numbers(found: Traced, lost: Float64[np.ndarray, "fact layer sublayer"]) -> tuple[Number, ...]:
    """Means over facts first, then the largest over layers."""
    made = [
        Number("total_effect", "probability lost as the subject is blurred", float(found.total.mean()), "share", 0.0)
    ]
    borrowed = float(found.borrowed.mean(axis=0).max())
    for place, (name, word) in enumerate((("ffn", "FFN"), ("attention", "attention"))):
        for key, where, back, baseline in (
            ("indirect", "the subject's last token", found.subject_end, borrowed if name == "ffn" else None),
            ("subject", "all of its tokens", found.subject, None),
            ("answer", "the prompt's last token", found.prompt_end, None),
        ):
            means = f"attention_output back by {word} at {where}"
            made.append(Number(f"{name}_{key}_effect", means, _best(back[..., place]), "share", baseline))
        means = f"lost on average without {word} of one layer"
        made.append(Number(f"{name}_knockout_loss", means, float(lost[..., place].mean()), "share", 0.0))
    return (
        *made,
        Number(
            "ffn_first_effect",
            "attention_output back by FFN at the subject's last token, around the first layer",
            float(found.subject_end[:, 0, 0].mean()),
            "share",
        ),
    )


def _best(back: Float64[np.ndarray, "fact layer"]) -> float:
    return float(back.mean(axis=0).max())


def facts_to_trace(lab: LabContext) -> tuple[KnownFact, ...]:
    """The first facts that the model knows; none where they are too few."""
    return lab.known_facts[:FACTS] if len(lab.known_facts) >= MIN_FACTS else ()


def measure(lab: LabContext) -> Finding:
    middle, layers = middle_layers(lab.spec.n_layers), traced_layers(lab.spec.n_layers)
    if not middle:
        return not_applicable("a stack of three layers or more has layers between the first and the last")
    if not facts_to_trace(lab):
        return not_applicable(
            f"the model answers {len(lab.known_facts)} of the facts that it is asked for; {MIN_FACTS} are needed "
            "to trace, so try a model that knows some facts, or give it --questions that it knows"
        )
    known = watched(lab, facts_to_trace(lab))
    found, lost = trace_facts(lab, known), ablate_facts(lab, known)
    inside = [_best(found.subject_end[:, middle, place]) for place in (0, 1)]
    first = float(found.subject_end[:, 0, 0].mean())
    whole, answer = ([_best(back[..., place]) for place in (0, 1)] for back in (found.subject, found.prompt_end))
    return Finding(
        f"With its subject blurred, the answer loses {found.total.mean():.1%} of probability. Restored at the "
        f"subject's last token, FFNs of middle layers bring back {inside[0]:.1%} and attention {inside[1]:.1%}; "
        f"around the first layer they bring back {first:.1%}; at all tokens of the subject {whole[0]:.1%} and "
        f"{whole[1]:.1%}; at the prompt's last token {answer[0]:.1%} and {answer[1]:.1%}. This is what causally "
        f"mediates recall of these {len(known)} prompts; it does not say where a fact could be edited (Hase et al. "
        "2023).",
        effects(found, middle),
        numbers(found, lost),
        curves=(
            layer_curve(
                "restored at the subject",
                "probability attention_output back",
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
                "probability attention_output back",
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
    title="factual recall depends on mid-layer FFNs",
    question="If the subject of a fact is blurred, which sublayer's clean values bring the answer back, and where?",
    method=f"Up to {FACTS} facts that the model knows: capitals, or of the questions it was given. Noise of "
    f"{DEVIATIONS:g} standard deviations of what enters the first layer at subjects is added to the subject's tokens. "
    "Total effect: P(answer) - P*(answer). Indirect effect: P* with clean `ffn.output` or `attn.output` put back, less "
    "P*, around a layer in a window of a third of the layers (1 at least). Windows of middle layers hold neither the "
    "first nor the last layer: the first FFN is known to stand in for the embedding. FFN and attention each have their "
    "best middle window, chosen on all other facts. The baseline puts back what the same place holds for another fact. "
    "Knock-out: P less P with one sublayer ablated at all tokens, the mean over layers. Counter-evidence: Hase et al. "
    "2023 (arXiv 2301.04213) find tracing effects unrelated to where an edit of a fact works (ρ = -0.13), so that this "
    "says what mediates recall, and no more.",
    rule=f"blurring the subject costs more than {MIN_TOTAL:.0%} of probability, and at its last token FFNs of "
    f"middle layers bring back over {MIN_LEAD:.0%} of what was lost more than attention does, and than another "
    "fact's values",
    source="Meng et al. 2022 (ROME), arXiv 2202.05262, section 2; against it Hase et al. 2023, arXiv 2301.04213",
    cost_tokens=cost_tokens,
    measure=measure,
)
