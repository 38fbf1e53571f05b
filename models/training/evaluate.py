"""Evaluates a model on any engine: `python -m models.training.evaluate fable-relu -e onnx`."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edge.commands.options import print_message
from edge.session import Model, load
from models.errors import EdgeError, MisuseError
from models.progress import Progress
from models.training.corpus import BOOKS
from models.training.evaluation import SAMPLE_TOKENS, Evaluation, overall
from models.training.evaluation_table import table
from models.training.figures import (
    copied_share,
    ffn_sparsity,
    induction,
    open_documents,
    text_nats,
    token_stream,
)
from models.training.recall import recall
from models.zoo.facts import relations

PROMPTS = (
    "Once upon a time",
    "The old captain looked out over the sea and said",
    "In the middle of the forest stood a house, and in the house",
    "The capital of France is",
)
"""The prompts of the samples; all samples are shown."""


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
        raise MisuseError(f"no text can be scored: {model.checkpoint.source.without_tokenizer()}")
    _check(most_facts)
    stream = token_stream(tokenizer, documents)
    progress("measuring inactive neurons and induction heads")
    sparsity, (per_token, by_pair) = ffn_sparsity(model, stream.ids), induction(model)
    progress(f"measuring the loss on {len(stream.ids):,} tokens of text")
    nats = text_nats(model, stream.ids)
    progress("measuring recall of facts, and generating samples")
    return Evaluation(
        engine=model.engine,
        tokens=len(stream.ids) - 1,
        text_bytes=stream.scored_bytes,
        nats=nats,
        exact_zeros=sparsity.exact_zeros,
        always_zero=sparsity.always_zero,
        chosen=sparsity.chosen,
        neuron_tokens=sparsity.tokens,
        induction=_nested(per_token),
        induction_by_pair=_nested(by_pair),
        copied=copied_share(model),
        recall=tuple(recall(model, tokenizer, relation, most_facts) for relation in relations()),
        samples=tuple((prompt, model.run(prompt, max_new_tokens=SAMPLE_TOKENS).text) for prompt in PROMPTS),
    )


def _nested(scores: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in scores.tolist())


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
