"""Sections of a card on abilities and limits, written from the evaluation of the checkpoint."""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from models.spec import Activation
from models.training.evaluation import Evaluation, extremes, overall
from models.training.recall import Recall
from models.training.recipe import Recipe

INDUCTION_HEAD = 0.4
"""Minimum score of an induction head on a card."""

_REPEATED_WORDS = 4
_MARKS = re.compile(r"([\\`*_\[\]<>|#~])")

Lines = Iterator[str]


def abilities(recipe: Recipe, evaluation: Evaluation) -> Lines:
    """The results as tables, and all samples."""
    yield from ("## Evaluation", "")
    yield f"Measured on the `{evaluation.engine}` engine with the files of this folder, whose weights are in float16."
    yield ""
    yield from _text(recipe.spec.context, evaluation)
    yield from _layers(recipe.activation, evaluation)
    yield from _experts(recipe, evaluation)
    yield from _induction(evaluation)
    yield from _recall(evaluation.recall)
    yield from _samples(evaluation.samples)


def _text(context: int, evaluation: Evaluation) -> Lines:
    yield from ("### Validation text", "")
    yield f"Cross-entropy of {evaluation.tokens:,} tokens of the validation text ({evaluation.text_bytes:,} bytes), in"
    yield f"windows of {context} tokens. Each window starts with an empty context."
    yield ""
    yield "| bits per byte | perplexity per byte | nats per token |"
    yield "|---:|---:|---:|"
    nats = evaluation.nats_per_token
    yield f"| **{evaluation.bits_per_byte:.3f}** | {evaluation.perplexity_per_byte:.3f} | {nats:.3f} |"
    yield ""


def _layers(activation: Activation, evaluation: Evaluation) -> Lines:
    scores, by_pair = np.array(evaluation.induction), np.array(evaluation.induction_by_pair)
    yield from ("### Layer by layer", "")
    yield "| layer | exact zeros | zero on all tokens | best induction head | score | by pair |"
    yield "|---:|---:|---:|---:|---:|---:|"
    for layer, (zeros, never) in enumerate(zip(evaluation.exact_zeros, evaluation.always_zero, strict=True)):
        head = int(scores[layer].argmax())
        found = f"{scores[layer, head]:.3f} | {by_pair[layer, head]:.3f}"
        yield f"| {layer} | {share(zeros)} | {share(never)} | {head} | {found} |"
    yield ""
    yield f"Both shares of zeros are measured on {evaluation.neuron_tokens:,} validation tokens. Exact zeros: share of"
    yield "activations that are exactly 0. Zero on all tokens: share of neurons that are 0 on every token."
    if any(evaluation.chosen):
        yield "The neurons of experts that a token does not choose count as zeros."
    yield _meaning_of_zero(activation)
    yield ""


def _experts(recipe: Recipe, evaluation: Evaluation) -> Lines:
    if not any(evaluation.chosen):
        return
    yield from ("### Experts", "")
    yield "| layer | busiest expert | share of tokens | least used expert | share of tokens |"
    yield "|---:|---:|---:|---:|---:|"
    for layer, shares in enumerate(evaluation.chosen):
        if shares:
            busiest, most, least, fewest = extremes(shares)
            yield f"| {layer} | {busiest} | {share(most)} | {least} | {share(fewest)} |"
    yield ""
    even = share(recipe.top_k / recipe.n_experts)
    yield f"Share of tokens: those that choose the expert, of {evaluation.neuron_tokens:,} validation tokens. Each"
    yield f"token chooses {recipe.top_k} of {recipe.n_experts} experts; with an even load, each expert is chosen"
    yield f"by {even} of tokens."
    yield ""


def _meaning_of_zero(activation: Activation) -> str:
    if activation is Activation.RELU:
        return "ReLU is 0 for every input up to 0; such a neuron contributes nothing at that token."
    return (
        f"The activation, {activation.value}, is 0 only at 0. Other zeros are rounding errors: its float32 output is 0 "
        "for inputs below about -5.6."
    )


def _induction(evaluation: Evaluation) -> Lines:
    formed = [f"{layer}.{head} ({score:.2f})" for layer, head, score in induction_heads(evaluation)]
    yield from ("### Induction heads", "")
    yield "Induction score: `mean_i Σ_j p[i, j+1]`, where `j` are the earlier copies of token `i`. It is the attention"
    yield "to the tokens that followed these copies (prefix matching, Olsson et al. 2022, erratum of 2022-09-20)."
    yield "It is the mean over 10 sequences in which 25 random tokens are repeated four times. *By pair*:"
    yield "`mean_(i,j) p[i, j+1]`, which is at most 1 / copies for a token with several earlier copies."
    yield ""
    if formed:
        yield f"- Heads that score {INDUCTION_HEAD} or more (layer.head): {', '.join(formed)}."
    else:
        yield f"- No head scores {INDUCTION_HEAD} or more; the best is {_best_head(evaluation)}."
    yield f"- Copying: {share(evaluation.copied)} of repeated random tokens are the top-1 prediction."
    yield ""


def induction_heads(evaluation: Evaluation) -> list[tuple[int, int, float]]:
    """Layer, head and score of every head that scores `INDUCTION_HEAD` or more, the best first."""
    scores = [
        (layer, head, score) for layer, heads in enumerate(evaluation.induction) for head, score in enumerate(heads)
    ]
    return sorted((found for found in scores if found[2] >= INDUCTION_HEAD), key=lambda found: -found[2])


def _best_head(evaluation: Evaluation) -> str:
    layer, head, score = evaluation.best_head
    return f"{layer}.{head} with {score:.2f}"


def _recall(recalls: Sequence[Recall]) -> Lines:
    yield from ("### Facts", "")
    yield "Recall of the trained facts in phrasings that were held out from training. *Top-1*: each token of the answer"
    yield "is the top-1 token at its position. *Top-5*: each is among the five most probable tokens. The two baselines"
    yield "always give the most frequent answer of the relation, or its five most frequent answers."
    yield ""
    yield "| relation | facts | prompts | top-1 | most frequent | top-5 | five most frequent |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for recall in recalls:
        yield _recall_row(recall.relation, recall)
    yield _recall_row("**all**", overall(recalls))
    yield ""


def _recall_row(name: str, recall: Recall) -> str:
    first = f"**{share(recall.first)}** | {share(recall.baseline_first)}"
    five = f"{share(recall.among_five)} | {share(recall.baseline_among_five)}"
    return f"| {name} | {recall.facts:,} | {recall.prompts:,} | {first} | {five} |"


def _samples(samples: Sequence[tuple[str, str]]) -> Lines:
    yield from ("### Samples", "")
    yield "Greedy decoding of a fixed list of prompts. All samples are shown."
    yield ""
    for prompt, added in samples:
        yield f"> **{_literal(prompt)}**{_literal(added)}"
        yield ""


def _literal(text: str) -> str:
    """The text escaped for Markdown, with line breaks."""
    return _MARKS.sub(r"\\\1", text).replace("\n", "<br>")


def share(part: float) -> str:
    """A share in percent with one decimal. Only 0 shows 0.0%, and only 1 shows 100.0%."""
    if 0 < part < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= part < 1 else f"{part:.1%}"


def limits(recipe: Recipe, evaluation: Evaluation) -> Lines:
    """The limits of the model."""
    yield from ("## Limits", "")
    yield from _limits_of_recall(evaluation.recall)
    if formed := induction_heads(evaluation):
        which = f"{len(formed)} induction heads formed"
    else:
        which = f"no induction head formed (none scores {INDUCTION_HEAD})"
    yield f"- It predicts {share(evaluation.copied)} of the repeated random tokens in a prompt; {which}."
    yield "- It was trained to continue text, not to follow instructions or to chat."
    if repeating := sum(_repeats(added) for _, added in evaluation.samples):
        yield f"- Greedy decoding repeats itself: {repeating} of the {len(evaluation.samples)} samples above contain"
        yield f"  the same {_REPEATED_WORDS} consecutive words more than once."
    yield "- It writes English only, with the vocabulary and the attitudes of books published up to 1928."
    yield f"- It was trained on sequences of {recipe.length} tokens, not on longer ones. They start anywhere in a text."
    yield "- The validation text is from other books of the same kind, so its loss does not show how well the model"
    yield "  predicts modern English."
    yield ""


def _limits_of_recall(recalls: Sequence[Recall]) -> Lines:
    known = overall(recalls)
    yield f"- It was trained only on the facts of facts.tsv. In held-out phrasings it predicts {share(known.first)} of"
    yield f"  the answers; always giving the most frequent answer would score {share(known.baseline_first)}."
    if not_learned := [recall.relation for recall in recalls if recall.first <= recall.baseline_first]:
        named = ", ".join(f"`{relation}`" for relation in not_learned)
        yield f"- No better than the most frequent answer, so not learned: {named}."


def _repeats(text: str) -> bool:
    """Whether some consecutive words occur twice."""
    words = re.findall(r"[\w']+", text.lower())
    runs = [tuple(words[place : place + _REPEATED_WORDS]) for place in range(len(words) - _REPEATED_WORDS + 1)]
    return len(set(runs)) < len(runs)
