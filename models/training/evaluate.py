"""Evaluates a model on any engine: `python -m models.training.evaluate fable-relu -e onnx`."""

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.commands.options import print_message
from edge.session import Model, load
from edge.tables import Column, Table
from models.errors import EdgeError, MisuseError
from models.progress import Progress
from models.spec import Activation, DecoderSpec
from models.training.corpus import BOOKS
from models.training.figures import (
    LONGEST_WINDOW,
    copied_share,
    induction,
    neuron_zeros,
    open_documents,
    text_nats,
    token_stream,
)
from models.training.recall import Recall, recall
from models.zoo.facts import relations

__all__ = ["PROMPTS", "Evaluation", "Recall", "evaluate", "overall", "table"]

PROMPTS = (
    "Once upon a time",
    "The old captain looked out over the sea and said",
    "In the middle of the forest stood a house, and in the house",
    "The capital of France is",
)
"""The prompts of the samples; all samples are shown."""

_SAMPLE_TOKENS = 60
_WIDTH, _MOST_HEADS = 100, 15  # characters per line of the table, and heads that fit in one line

Lines = Iterator[str]


@dataclass(frozen=True)
class Evaluation:
    """Figures of one model on one engine. Shares are 0 to 1.

    Attributes:
        engine: Engine and precision, as users write them.
        tokens: Tokens of the text that were scored: all but the first.
        text_bytes: UTF-8 bytes of those tokens.
        nats: Sum of their cross-entropy losses, in nats.
        exact_zeros: For each layer, the share of neuron activations that are exactly 0.
        always_zero: For each layer, the share of neurons that are 0 on each of `neuron_tokens`.
        neuron_tokens: Tokens of the text on which both shares are measured.
        induction: For each layer and head, `edge.measure.attention.prefix_matching`, mean over 10 random sequences.
        induction_by_pair: The same with `prefix_matching_by_pair`, the other variant of Olsson et al. 2022.
        copied: Share of repeated random tokens that are the top-1 prediction.
        recall: Recall of the facts of each relation.
        samples: Each prompt with its greedy continuation.
    """

    engine: str
    tokens: int
    text_bytes: int
    nats: float
    exact_zeros: tuple[float, ...]
    always_zero: tuple[float, ...]
    neuron_tokens: int
    induction: tuple[tuple[float, ...], ...]
    induction_by_pair: tuple[tuple[float, ...], ...]
    copied: float
    recall: tuple[Recall, ...]
    samples: tuple[tuple[str, str], ...]

    @property
    def nats_per_token(self) -> float:
        """Mean cross-entropy loss per scored token, the loss that is trained."""
        return self.nats / self.tokens

    @property
    def bits_per_byte(self) -> float:
        """`nats / ln 2 / bytes`: comparable between tokenizers, since the bytes do not depend on the tokenizer."""
        return float(self.nats / np.log(2) / self.text_bytes)

    @property
    def perplexity_per_byte(self) -> float:
        """`2 ** bits_per_byte`: the number of equally probable bytes with the same entropy."""
        return float(2**self.bits_per_byte)

    @property
    def best_head(self) -> tuple[int, int, float]:
        """Layer, head and score of the head with the highest induction score."""
        scores = np.array(self.induction)
        layer, head = np.unravel_index(scores.argmax(), scores.shape)
        return int(layer), int(head), float(scores[layer, head])


def _check(most_facts: int | None) -> None:
    if most_facts is not None and most_facts < 1:
        raise MisuseError(f"most_facts is {most_facts}; at least 1 fact of each relation is required")


def _ignore(message: str) -> None:
    """Ignores progress."""


def evaluate(
    model: Model, documents: Sequence[str], *, most_facts: int | None = None, progress: Progress = _ignore
) -> Evaluation:
    """Runs the whole evaluation.

    Args:
        documents: The validation text.
        most_facts: Maximum number of facts of each relation; None for all.

    Raises:
        MisuseError: the model has no tokenizer, the text is too short, or `most_facts` is below 1.
    """
    tokenizer = model.tokenizer
    if tokenizer is None:
        raise MisuseError(f"{model.checkpoint.folder} has no tokenizer.json, so no text can be scored")
    _check(most_facts)
    stream = token_stream(tokenizer, documents)
    progress("measuring inactive neurons and induction heads")
    zeros, (per_token, by_pair) = neuron_zeros(model, stream.ids), induction(model)
    progress(f"measuring the loss on {len(stream.ids):,} tokens of text")
    nats = text_nats(model, stream.ids)
    progress("measuring recall of facts, and generating samples")
    return Evaluation(
        engine=model.engine,
        tokens=len(stream.ids) - 1,
        text_bytes=stream.scored_bytes,
        nats=nats,
        exact_zeros=zeros.exact_zeros,
        always_zero=zeros.always_zero,
        neuron_tokens=zeros.tokens,
        induction=_nested(per_token),
        induction_by_pair=_nested(by_pair),
        copied=copied_share(model),
        recall=tuple(recall(model, tokenizer, relation, most_facts) for relation in relations()),
        samples=tuple((prompt, model.run(prompt, max_new_tokens=_SAMPLE_TOKENS).text) for prompt in PROMPTS),
    )


def _nested(scores: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in scores.tolist())


def table(name: str, spec: DecoderSpec, evaluation: Evaluation) -> str:
    """The evaluation of one model as text, at most 100 characters wide."""
    sections = (
        f"{name} on {evaluation.engine}\n",
        *_text(spec, evaluation),
        *_zeros(spec, evaluation),
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


def overall(recalls: Sequence[Recall]) -> Recall:
    """All relations as one: means weighted by the number of prompts of each relation."""
    prompts = [row.prompts for row in recalls]
    shares = ("first", "among_five", "baseline_first", "baseline_among_five")
    means = {share: float(np.average([getattr(row, share) for row in recalls], weights=prompts)) for share in shares}
    return Recall(relation="all", facts=sum(row.facts for row in recalls), prompts=sum(prompts), **means)


def _samples(evaluation: Evaluation) -> Lines:
    yield f"SAMPLES: greedy decoding, at most {_SAMPLE_TOKENS} tokens"
    for prompt, added in evaluation.samples:
        yield f"  {prompt}"
        yield textwrap.fill(" ".join(added.split()), _WIDTH, initial_indent="    ", subsequent_indent="    ")


def _body(columns: Sequence[Column], rows: Sequence[Sequence[str | int | float]]) -> str:
    return textwrap.indent(Table(columns, rows).text(), "  ") + "\n"


def record(model: Model, evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation of one model as JSON values."""
    return {
        "model": model.name,
        "threads": model.threads,
        "versions": model.versions,
        "activations": [layer.ffn.activation.value for layer in model.spec.layers],
        "nats_per_token": evaluation.nats_per_token,
        "bits_per_byte": evaluation.bits_per_byte,
        "perplexity_per_byte": evaluation.perplexity_per_byte,
        "best_head": evaluation.best_head,
        "recall_of_all": asdict(overall(evaluation.recall)),
        **asdict(evaluation),
    }


def write_json(file: Path, figures: dict[str, Any]) -> None:
    """Writes to a second file and renames it, so that no process reads a partial file."""
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        os.replace(part, file)
    except OSError as error:
        raise EdgeError(f"the evaluation cannot be written to {file}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m models.training.evaluate", description=__doc__)
    parser.add_argument("checkpoint", help="name of a bundled model, folder of a checkpoint, or id on the hub")
    parser.add_argument("-e", "--engine", default="onnx", help="engine: onnx, torch or mlx")
    parser.add_argument("--threads", type=int, help="number of CPU threads; default: physical cores")
    parser.add_argument("--text", type=Path, default=BOOKS / "valid.txt.xz", help="validation text, plain or xz")
    parser.add_argument("--lines", type=int, help="maximum number of lines of the text")
    parser.add_argument("--facts", type=int, help="maximum number of facts of each relation")
    parser.add_argument("--json", type=Path, help="also write the evaluation to this file")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.json and not chosen.json.absolute().parent.is_dir():
            raise MisuseError(f"the folder {chosen.json.absolute().parent} does not exist; create it first")
        _check(chosen.facts)
        documents = open_documents(chosen.text, chosen.lines)
        with load(chosen.checkpoint, chosen.engine, threads=chosen.threads, progress=print_message) as model:
            evaluation = evaluate(model, documents, most_facts=chosen.facts, progress=print_message)
            if chosen.json:
                write_json(chosen.json, record(model, evaluation))
            print(table(model.name, model.spec, evaluation))
    except EdgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
