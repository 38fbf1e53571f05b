"""Writes a checkpoint's card from its log and its files: `python -m models.training.card fable-relu`."""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from models.errors import EdgeError
from models.parameters import parameter_count
from models.spec import Activation
from models.training.corpus import BOOKS, SAMPLE_BYTES, open_corpus
from models.training.evaluate import Evaluation, evaluate
from models.training.recipe import RECIPES, Recipe, from_json
from models.training.save import TRAINING_LOG, ZOO

_CURVE_ROWS, _BAR = 12, 40

Lines = Iterator[str]
Records = list[dict[str, Any]]


def card_of(name: str, folder: Path, evaluation: Evaluation) -> str:
    """The whole card, in Markdown."""
    log = [json.loads(line) for line in (folder / TRAINING_LOG).read_text().splitlines()]
    recipe = from_json([line for line in log if line["kind"] == "begin"][-1]["recipe"])
    parts = [
        _opening(name, recipe),
        _training(recipe, log),
        _curve(log),
        _abilities(recipe, evaluation),
        _limits(recipe),
        _recipe(recipe),
        _files(folder),
        _again(name, recipe),
    ]
    return "\n".join(line for part in parts for line in part)


def _opening(name: str, recipe: Recipe) -> Lines:
    spec = recipe.spec
    yield from ("---", "license: apache-2.0", "language: en", "pipeline_tag: text-generation", "---", "")
    yield f"# {name}"
    yield ""
    yield f"A small GPT-NeoX decoder that writes English fiction: {parameter_count(spec):,} parameters,"
    yield f"{spec.n_layers} layers, d_model {spec.d_model}, {spec.n_heads} heads of {spec.head_dim}, plain FFN of"
    yield f"{4 * spec.d_model:,} neurons with **{recipe.activation.value}**, vocabulary {spec.vocab_size:,},"
    yield f"context {spec.context} tokens, weights in float16."
    yield ""
    for twin in _twins(name):
        yield f"Its twin `{twin}` differs in the activation alone: same start, same batches, same steps."
    yield "Made to be looked into, not to be talked to."
    yield ""


def _twins(name: str) -> list[str]:
    return [other for other in RECIPES if other != name]


def _training(recipe: Recipe, log: Records) -> Lines:
    last = [line for line in log if line["kind"] != "begin"][-1]
    begins = [line for line in log if line["kind"] == "begin"]
    machine = begins[-1]["machine"]
    yield from ("## Training", "")
    yield "| what | how much |"
    yield "|---|---|"
    yield f"| text | public-domain English fiction and children's books up to 1928 ({_sources(begins[-1])}) |"
    yield "| licence | text: public domain; weights: Apache-2.0 |"
    yield f"| tokenizer | byte-level BPE, {recipe.vocab_size:,} tokens, from {SAMPLE_BYTES / 1e6:.0f} MB of that text |"
    yield f"| tokens learned from | {last['tokens']:,}, in {last['step']:,} steps of {recipe.step_tokens:,} |"
    yield f"| wall time | {last['seconds'] / 60:.0f} minutes on {machine['threads']} thread ({machine['processor']}) |"
    yield f"| torch | {machine['torch']}, {'compiled' if machine['compiled'] else 'not compiled'} |"
    yield f"| precision | {'bfloat16 products, float32 weights' if recipe.bfloat16 else 'float32'} |"
    yield f"| final step | {last['step']:,} of {recipe.steps:,} |"
    for begin in begins[1:]:
        planned = from_json(begin["recipe"]).steps
        yield f"| resumed | at step {begin['step']:,}, from then on towards {planned:,} steps in all |"
    yield ""


def _sources(begin: dict[str, Any]) -> str:
    return ", ".join(f"{file} sha256 {digest[:12]}…" for file, digest in begin["sources"].items())


def _curve(log: Records) -> Lines:
    valid = [line for line in log if line["kind"] == "valid"]
    losses = [line for line in log if line["kind"] == "loss"]
    stride = max(1, -(-len(valid) // _CURVE_ROWS))
    shown = valid[::-1][::stride][::-1]
    top = max(line["bits_per_byte"] for line in shown)
    tokens = _valid_tokens(log)
    yield from ("## Loss", "")
    yield f"Training loss in nats a token (mean of the steps before), and bits per byte of the first {tokens:,}"
    yield "validation tokens, which bars show."
    yield ""
    yield "```text"
    yield f"{'step':>6} {'tokens':>12} {'loss':>6} {'bits/byte':>9}"
    for line in shown:
        loss = [other["loss"] for other in losses if other["step"] <= line["step"]][-1]
        bits = line["bits_per_byte"]
        yield f"{line['step']:>6,} {line['tokens']:>12,} {loss:>6.3f} {bits:>9.3f}  {'█' * round(bits / top * _BAR)}"
    yield from ("```", "")


def _valid_tokens(log: Records) -> int:
    """Validation tokens that were read during training."""
    recipe = from_json(log[0]["recipe"])
    return recipe.valid_tokens // recipe.step_tokens * recipe.step_tokens


def _abilities(recipe: Recipe, evaluation: Evaluation) -> Lines:
    zeros = " · ".join(f"{share:.1%}" for share in evaluation.exact_zeros)
    never = " · ".join(f"{share:.1%}" for share in evaluation.never_fired)
    yield from ("## What it does", "")
    yield f"- Validation: **{evaluation.bits_per_byte:.3f} bits per byte** over all {evaluation.valid_tokens:,} tokens,"
    yield "  in windows that begin knowing nothing, from the float16 weights."
    yield f"- Neurons that are exactly 0, layer by layer: {zeros} ({evaluation.neuron_tokens:,} validation tokens)."
    if recipe.activation is not Activation.RELU:
        yield f"  All of it is rounding: {recipe.activation.value} is 0 at 0 alone, but float32 loses it far below."
    yield f"- Neurons that are 0 on every one of these tokens: {never}."
    yield f"- Copying: random tokens that come a second time are predicted first {evaluation.copied:.0%} of the time."
    yield ""
    yield "Greedy continuations of a fixed list of prompts, all of the list:"
    yield ""
    for prompt, added in evaluation.samples:
        yield f"> **{prompt}**{' '.join(added.split(chr(10)))}"
        yield ""


def _limits(recipe: Recipe) -> Lines:
    yield from ("## Limits", "")
    yield "- It knows no facts, follows no instructions and cannot count; a sentence holds together, a story does not."
    yield "- Greedy text soon goes round in circles, as above."
    yield "- English only, in the words and with the attitudes of books up to 1928."
    yield f"- Trained on sequences of {recipe.length} tokens that start anywhere in a text; longer ones are untried."
    yield "- The validation text is by other books of the same kind, so its cost says nothing about today's English."
    yield ""


def _recipe(recipe: Recipe) -> Lines:
    yield from ("## Recipe", "", "```text")
    width = max(len(field.name) for field in fields(recipe))
    for field in fields(recipe):
        yield f"{field.name:<{width}}  {getattr(recipe, field.name)}"
    yield from ("```", "")
    yield f"{recipe.repeat_share:.0%} of the sequences repeat a span: half of them a span of their text, half random"
    yield "tokens over and over. The learning rate climbs, stays, and falls in a straight line over the last steps."
    yield ""


def _files(folder: Path) -> Lines:
    yield from ("## Files", "", "| file | bytes | sha256 |", "|---|---|---|")
    for file in sorted(folder.iterdir()):
        if file.is_file() and file.name != "README.md":
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            yield f"| {file.name} | {file.stat().st_size:,} | `{digest}` |"
    yield ""


def _again(name: str, recipe: Recipe) -> Lines:
    yield from ("## Again", "", "```sh")
    yield f"python -m models.training.train {name} --out .training/{name} --steps {recipe.steps}"
    yield f"python -m models.training.save {name} --run .training/{name}"
    yield f"python -m models.training.card {name}"
    yield from ("```", "")


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m models.training.card", description=__doc__)
    parser.add_argument("name", choices=RECIPES, help="name of the folder in the zoo")
    parser.add_argument("--zoo", type=Path, default=ZOO)
    parser.add_argument("--books", type=Path, default=BOOKS, help="folder with train.txt.xz and valid.txt.xz")
    parser.add_argument("--work", type=Path, default=Path(".training/corpus"), help="where tokens are kept")
    chosen = parser.parse_args(arguments)
    folder, recipe = chosen.zoo / chosen.name, RECIPES[chosen.name]
    try:
        evaluation = evaluate(folder, recipe, open_corpus(chosen.books, chosen.work, recipe.vocab_size))
        (folder / "README.md").write_text(card_of(chosen.name, folder, evaluation))
    except EdgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
