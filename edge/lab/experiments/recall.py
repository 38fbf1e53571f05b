"""F5: which sublayers bring a fact back, FFN against attention."""

from edge.lab.claim import Experiment, Finding, Number, Verdict, layer_curve, not_applicable
from edge.lab.experiments.tracing import (
    DEVIATIONS,
    DRAWS,
    Silenced,
    Traced,
    passes,
    silence_facts,
    trace_facts,
    tried_layers,
    watched,
)
from edge.lab.subject import Known, Subject

FEWEST_FACTS, FACTS = 8, 12
"""Known facts that are needed, and that are tried at most."""

LEAST_EFFECT = 0.01
"""Of probability, by which the FFN must lead. Our own choice; in GPT-2 XL it leads by 0.05."""


def verdict(found: Traced) -> Verdict:
    """Of Meng et al.'s finding: the subject's last token, FFNs, and neither end of the stack."""
    ffn, attention = found.subject_end.T
    leads = ffn.max() > max(attention.max(), found.borrowed[:, 0].max()) + LEAST_EFFECT
    return Verdict.HOLDS if leads and 0 < ffn.argmax() < len(ffn) - 1 else Verdict.FAILS


def numbers(found: Traced, lost: Silenced) -> tuple[Number, ...]:
    """Means over facts first, then the largest over layers."""
    made = [Number("total_effect", "probability lost as the subject is blurred", found.total, "share", 0.0)]
    for place, (name, word) in enumerate((("ffn", "FFN"), ("attention", "attention"))):
        borrowed = float(found.borrowed[:, place].max())
        for key, where, effects, baseline in (
            ("indirect", "the subject's last token", found.subject_end, borrowed),
            ("subject", "all of its tokens", found.subject, None),
            ("answer", "the prompt's last token", found.prompt_end, None),
        ):
            means = f"brought back by {word} at {where}"
            made.append(Number(f"{name}_{key}_effect", means, float(effects[:, place].max()), "share", baseline))
        for key, where, losses in (
            ("knockout", "", lost.everywhere),
            ("knockout_subject", " at the subject's last token", lost.subject_end),
        ):
            means = f"lost on average without {word} of one layer{where}"
            made.append(Number(f"{name}_{key}_loss", means, float(losses[:, place].mean()), "share", 0.0))
    state = float(found.state.max())
    return (*made, Number("state_indirect_effect", "brought back by the residual stream there", state, "share"))


def tried_facts(subject: Subject) -> tuple[Known, ...]:
    """The first facts that the model knows; none where they are too few."""
    return subject.known[:FACTS] if len(subject.known) >= FEWEST_FACTS else ()


def measure(subject: Subject) -> Finding:
    if not tried_facts(subject):
        return not_applicable(
            f"the model answers {len(subject.known)} of the facts that it is asked for; {FEWEST_FACTS} are needed "
            "to trace, so try a model that knows some facts, or give it --questions that it knows"
        )
    known, layers = watched(subject, tried_facts(subject)), tried_layers(subject.spec.n_layers)
    found, lost = trace_facts(subject, known), silence_facts(subject, known)
    end, whole, answer = (effects.max(axis=0) for effects in (found.subject_end, found.subject, found.prompt_end))
    return Finding(
        verdict(found),
        f"With its subject blurred, the answer loses {found.total:.1%} of probability. Restored at the subject's last "
        f"token, FFNs bring back {end[0]:.1%} and attention {end[1]:.1%}; at all its tokens {whole[0]:.1%} and "
        f"{whole[1]:.1%}; at the prompt's last token {answer[0]:.1%} and {answer[1]:.1%}. This is what causally "
        f"mediates recall of these {len(known)} prompts; it does not say where a fact could be edited (Hase et al. "
        "2023).",
        numbers(found, lost),
        curves=(
            layer_curve(
                "restored at the subject",
                "probability brought back",
                {
                    "FFN, last token": found.subject_end[:, 0],
                    "attention, last token": found.subject_end[:, 1],
                    "FFN, all tokens": found.subject[:, 0],
                    "attention, all tokens": found.subject[:, 1],
                    "FFN of another fact, last token": found.borrowed[:, 0],
                },
                layers,
            ),
            layer_curve(
                "restored at the prompt's last token",
                "probability brought back",
                {"FFN": found.prompt_end[:, 0], "attention": found.prompt_end[:, 1]},
                layers,
            ),
        ),
    )


def cost_tokens(subject: Subject) -> int:
    return passes(subject.spec.n_layers) * sum(len(known.ids) for known in tried_facts(subject))


EXPERIMENT = Experiment(
    key="F5",
    claim="factual recall depends on mid-layer FFNs",
    asks="If the subject of a fact is blurred, which sublayer's clean values bring the answer back, and where?",
    how=f"Up to {FACTS} facts that the model knows: capitals, or of the questions it was given. Noise of "
    f"{DEVIATIONS:g} standard deviations of what enters the first layer at subjects is added to the subject's tokens, "
    f"{DRAWS} draws a fact. Total effect: P(answer) - "
    "P*(answer). Indirect effect: P* with clean `ffn.output` or `attn.output` put back, less P*, around each layer in "
    "a window of a third of the layers (1 at least); the mean over facts, then the largest over layers. The baseline "
    "puts back what the same place holds for another fact. Knock-out: P less P with one sublayer silenced at all "
    "tokens, the mean over layers. Counter-evidence: Hase et al. 2023 (arXiv 2301.04213) find tracing effects "
    "unrelated to where an edit of a fact works (ρ = -0.13), so that this says what mediates recall, and no more.",
    rule=f"at the subject's last token FFNs bring back {LEAST_EFFECT:g} more than attention and than another fact's "
    "values, most around a layer that is neither the first nor the last",
    source="Meng et al. 2022 (ROME), arXiv 2202.05262, section 2; against it Hase et al. 2023, arXiv 2301.04213",
    cost_tokens=cost_tokens,
    measure=measure,
)
