"""What a card says that a checkpoint can and cannot do; what training may bring about follows from its evaluation."""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from models.spec import Activation
from models.training.evaluate import Evaluation, Recall, overall
from models.training.recipe import Recipe

INDUCTION_HEAD = 0.4
"""Score from which on a card calls a head an induction head."""

_CIRCLE_WORDS = 4
_MARKS = re.compile(r"([\\`*_\[\]<>|#~])")

Lines = Iterator[str]


def abilities(recipe: Recipe, evaluation: Evaluation) -> Lines:
    """The figures, as tables, and all samples."""
    yield from ("## What it does", "")
    yield f"Measured on the files of this folder, with their float16 weights, by the `{evaluation.engine}` engine."
    yield ""
    yield from _text(recipe.spec.context, evaluation)
    yield from _layers(recipe.activation, evaluation)
    yield from _induction(evaluation)
    yield from _recall(evaluation.recall)
    yield from _samples(evaluation.samples)


def _text(context: int, evaluation: Evaluation) -> Lines:
    yield from ("### Text it has not seen", "")
    yield f"The validation text: {evaluation.tokens:,} scored tokens, which stand for {evaluation.text_bytes:,} bytes,"
    yield f"in windows of {context} tokens that begin with nothing known."
    yield ""
    yield "| bits per byte | perplexity per byte | nats per token |"
    yield "|---:|---:|---:|"
    nats = evaluation.nats_per_token
    yield f"| **{evaluation.bits_per_byte:.3f}** | {evaluation.perplexity_per_byte:.3f} | {nats:.3f} |"
    yield ""


def _layers(activation: Activation, evaluation: Evaluation) -> Lines:
    scores, by_pair = np.array(evaluation.induction), np.array(evaluation.induction_by_pair)
    yield from ("### Layer by layer", "")
    yield "| layer | neurons that are exactly 0 | 0 on every token | best induction head | its score | by pair |"
    yield "|---:|---:|---:|---:|---:|---:|"
    for layer, (zeros, never) in enumerate(zip(evaluation.exact_zeros, evaluation.never_fired, strict=True)):
        head = int(scores[layer].argmax())
        found = f"{scores[layer, head]:.3f} | {by_pair[layer, head]:.3f}"
        yield f"| {layer} | {share(zeros)} | {share(never)} | {head} | {found} |"
    yield ""
    yield f"Zeros are counted among the neurons' activations on {evaluation.neuron_tokens:,} validation tokens."
    yield _meaning_of_zero(activation)
    yield ""


def _meaning_of_zero(activation: Activation) -> str:
    if activation is Activation.RELU:
        return "ReLU gives 0 for every input that is not above 0: such a neuron writes nothing for that token."
    return (
        f"The activation, {activation.value}, is 0 at 0 alone: its other zeros are rounding, as float32 cannot tell its"
        " output from 0 where the input is below about -5.6."
    )


def _induction(evaluation: Evaluation) -> Lines:
    formed = [f"{layer}.{head} ({score:.2f})" for layer, head, score in induction_heads(evaluation)]
    yield from ("### Repeats", "")
    yield "The induction score is the share of attention that goes to what followed the same token earlier, where 25"
    yield "random tokens come four times: the mean of 10 such sequences, as prefix matching is defined by Olsson et al."
    yield "2022 (erratum of 2022-09-20), attention to several earlier copies added up. *By pair* averages its single"
    yield "entries and is at most 1 / copies where a token comes often."
    yield ""
    if formed:
        yield f"- Heads that score {INDUCTION_HEAD} or more (layer.head): {', '.join(formed)}."
    else:
        yield f"- No head scores {INDUCTION_HEAD} or more; the best is {_best_head(evaluation)}."
    yield f"- Copying: of random tokens that come a second time, {share(evaluation.copied)} are predicted first."
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
    yield "Facts that it was taught, asked in every phrasing that was kept back. *Likeliest*: each token of the answer"
    yield "is the likeliest in its place. *Among five*: each is one of the five likeliest. Beside both, what saying the"
    yield "relation's most frequent answer, or its five most frequent ones, would score."
    yield ""
    yield "| relation | facts | prompts | likeliest | most frequent | among five | five most frequent |"
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
    yield "Greedy continuations of a fixed list of prompts, all of the list:"
    yield ""
    for prompt, added in samples:
        yield f"> **{_literal(prompt)}**{_literal(added)}"
        yield ""


def _literal(text: str) -> str:
    """Text that Markdown shows as it is, line ends included."""
    return _MARKS.sub(r"\\\1", text).replace("\n", "<br>")


def share(part: float) -> str:
    """A share in percent, with a decimal; what is not 0 never reads 0.0%, nor what is not all 100.0%."""
    if 0 < part < 0.0005:
        return "<0.1%"
    return ">99.9%" if 0.9995 <= part < 1 else f"{part:.1%}"


def limits(recipe: Recipe, evaluation: Evaluation) -> Lines:
    """What not to expect."""
    yield from ("## Limits", "")
    yield from _limits_of_recall(evaluation.recall)
    if formed := induction_heads(evaluation):
        which = f"heads that look for repeats formed ({len(formed)} of them)"
    else:
        which = f"no head that looks for repeats formed (none scores {INDUCTION_HEAD})"
    yield f"- Of what a prompt says twice it foresees {share(evaluation.copied)}, in random tokens; {which}."
    yield "- It was trained to go on with a text, not to follow instructions or to talk with a reader."
    if circles := sum(_goes_in_circles(added) for _, added in evaluation.samples):
        yield f"- Greedy text goes round in circles: {circles} of the {len(evaluation.samples)} samples above say"
        yield f"  some {_CIRCLE_WORDS} words in a row twice or more."
    yield "- English only, in the words and with the attitudes of books up to 1928."
    yield f"- Trained on sequences of {recipe.length} tokens that start anywhere in a text; it never read a longer one."
    yield "- The validation text is by other books of the same kind, so its cost says nothing about today's English."
    yield ""


def _limits_of_recall(recalls: Sequence[Recall]) -> Lines:
    known = overall(recalls)
    yield "- It was taught no facts on purpose but those of the tables. Asked for them in new words, it gives"
    yield f"  {share(known.first)} of the answers; the most frequent ones alone would be {share(known.baseline_first)}."
    if guessed := [recall.relation for recall in recalls if recall.first <= recall.baseline_first]:
        yield f"- No better than the most frequent answer, so not known: {', '.join(guessed)}."


def _goes_in_circles(text: str) -> bool:
    """Whether some words in a row come a second time."""
    words = re.findall(r"[\w']+", text.lower())
    runs = [tuple(words[place : place + _CIRCLE_WORDS]) for place in range(len(words) - _CIRCLE_WORDS + 1)]
    return len(set(runs)) < len(runs)
