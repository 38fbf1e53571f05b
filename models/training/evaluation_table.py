"""An evaluation as text, at most 100 characters wide."""

import textwrap
from collections.abc import Iterator, Sequence

import numpy as np

from edge.tables import Column, Table
from models.spec import Activation, DecoderSpec
from models.training.evaluation import SAMPLE_TOKENS, Evaluation, extremes, overall
from models.training.figures import LONGEST_WINDOW

_WIDTH, _MOST_HEADS = 100, 15  # characters per line of the table, and heads that fit in one line

Lines = Iterator[str]


def table(name: str, spec: DecoderSpec, evaluation: Evaluation) -> str:
    """The evaluation of one model as text, at most 100 characters wide."""
    sections = (
        f"{name} on {evaluation.engine}\n",
        *_text(spec, evaluation),
        *_zeros(spec, evaluation),
        *_experts(evaluation),
        *_induction(evaluation),
        *_recall(evaluation),
        *_samples(evaluation),
    )
    return "\n".join(sections)


def _text(spec: DecoderSpec, evaluation: Evaluation) -> Lines:
    width = min(spec.context, LONGEST_WINDOW)
    yield f"TEXT: {evaluation.tokens:,} tokens, {evaluation.text_bytes:,} bytes, in windows of {width:,} tokens without"
    yield "earlier context"
    yield f"  loss                 {evaluation.nats_per_token:.4f} nats per token"
    yield f"  bits per byte        {evaluation.bits_per_byte:.4f}"
    yield f"  perplexity per byte  {evaluation.perplexity_per_byte:.4f}"
    yield ""


def _zeros(spec: DecoderSpec, evaluation: Evaluation) -> Lines:
    kinds = tuple(dict.fromkeys(layer.ffn.activation for layer in spec.layers))
    yield f"EXACT ZEROS of {', '.join(kinds)}: share of activations that are 0, and of neurons that are always 0,"
    yield f"on the first {evaluation.neuron_tokens:,} tokens of the text"
    if rounded := [kind for kind in kinds if not kind.has_zeros]:
        where = " (float32 GELU is exactly 0 below about -5.6)" if Activation.GELU in rounded else ""
        yield f"Zeros of {', '.join(rounded)} are rounding errors: it is 0 only at 0{where}"
    columns = Column("layer", "layer"), Column("zero", "exactly 0", ".1%"), Column("always", "always 0", ".1%")
    shares = zip(evaluation.exact_zeros, evaluation.always_zero, strict=True)
    yield _body(columns, [(layer, zero, never) for layer, (zero, never) in enumerate(shares)])


def _experts(evaluation: Evaluation) -> Lines:
    if not any(evaluation.chosen):
        return
    yield "EXPERTS: share of tokens that choose the expert that most and the expert that fewest tokens choose"
    columns = (
        Column("layer", "layer"),
        Column("busiest", "busiest"),
        Column("most", "tokens", ".1%"),
        Column("least", "least used"),
        Column("fewest", "tokens", ".1%"),
    )
    yield _body(columns, [(layer, *extremes(shares)) for layer, shares in enumerate(evaluation.chosen) if shares])


def _induction(evaluation: Evaluation) -> Lines:
    layer, head, score = evaluation.best_head
    by_pair = evaluation.induction_by_pair[layer][head]
    yield "INDUCTION score by layer and head, 0 to 1: attention of a repeated token to the tokens that followed"
    yield "its earlier copies, on random tokens repeated four times (prefix matching, Olsson et al. 2022)"
    n_heads = len(evaluation.induction[0])
    for some in np.array_split(np.arange(n_heads), -(-n_heads // _MOST_HEADS)):
        columns = [Column(str(head), str(head), ".2f") for head in some]
        rows = [(layer, *(scores[head] for head in some)) for layer, scores in enumerate(evaluation.induction)]
        yield _body((Column("layer", "layer"), *columns), rows)
    yield f"  best: layer {layer}, head {head}: {score:.2f} ({by_pair:.2f} as a mean over pairs)"
    yield f"  copied: {evaluation.copied:.1%} of repeated random tokens are the top-1 prediction"
    yield ""


def _recall(evaluation: Evaluation) -> Lines:
    yield "RECALL of facts in phrasings held out from training. Top-1: share of prompts for which every token"
    yield "of the answer is the top-1 token at its position. Top-5: each is among the five most probable."
    yield "Next to each: the score of always giving the most frequent answer, or the five most frequent"
    columns = (
        Column("relation", "relation"),
        Column("facts", "facts", ","),
        Column("prompts", "prompts", ","),
        Column("first", "top-1", ".1%"),
        Column("baseline_first", "most frequent", ".1%"),
        Column("among_five", "top-5", ".1%"),
        Column("baseline_among_five", "five most frequent", ".1%"),
    )
    asked = [*evaluation.recall, overall(evaluation.recall)]
    yield _body(columns, [tuple(getattr(row, column.key) for column in columns) for row in asked])


def _samples(evaluation: Evaluation) -> Lines:
    yield f"SAMPLES: greedy decoding, at most {SAMPLE_TOKENS} tokens"
    for prompt, added in evaluation.samples:
        yield f"  {prompt}"
        yield textwrap.fill(" ".join(added.split()), _WIDTH, initial_indent="    ", subsequent_indent="    ")


def _body(columns: Sequence[Column], rows: Sequence[Sequence[str | int | float]]) -> str:
    return textwrap.indent(Table(columns, rows).text(), "  ") + "\n"
