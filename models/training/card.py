"""Writes a checkpoint's card and picture from its log and its files: `python -m models.training.card fable-relu`."""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import edge
from models.errors import EdgeError, MisuseError
from models.parameters import active_count, parameter_count
from models.training import copying
from models.training.abilities import abilities, limits, share
from models.training.batches import TEXT_SHARE
from models.training.corpus import BOOKS, SAMPLE_BYTES
from models.training.curve import draw_curve
from models.training.evaluate import evaluate
from models.training.evaluation import Evaluation
from models.training.figures import open_documents
from models.training.recipe import RECIPES, Recipe, from_json
from models.training.rounding import Rounded, rounding
from models.training.save import TRAINING_LOG, ZOO
from models.zoo.facts import Use, facts, phrasings_of, relations

CARD, PICTURE = "README.md", "training.svg"

_CURVE_ROWS = 8

Lines = Iterator[str]
Records = list[dict[str, Any]]


def write_card(name: str, folder: Path, evaluation: Evaluation, rounded: Sequence[Rounded]) -> None:
    """Writes the plot of the run, then the card with the hashes of all other files."""
    log = [json.loads(line) for line in (folder / TRAINING_LOG).read_text().splitlines()]
    draw_curve(log, folder / PICTURE)
    (folder / CARD).write_text(card_of(name, folder, log, evaluation, rounded), encoding="utf8")


def card_of(name: str, folder: Path, log: Records, evaluation: Evaluation, rounded: Sequence[Rounded]) -> str:
    """The whole card, in Markdown."""
    recipe = from_json([line for line in log if line["kind"] == "begin"][-1]["recipe"])
    parts = [
        opening(name, recipe),
        _training(recipe, log),
        _curve(log),
        abilities(recipe, evaluation),
        _rounding(rounded),
        limits(recipe, evaluation),
        _recipe(recipe),
        _files(folder),
        _again(name, recipe),
    ]
    return "".join(f"{line}\n" for part in parts for line in part).rstrip("\n") + "\n"


def opening(name: str, recipe: Recipe) -> Lines:
    """What the model is, and how it differs from the other bundled ones."""
    spec = recipe.spec
    kind = "GraniteMoe" if recipe.n_experts > 1 else "GPT-NeoX"
    yield from ("---", "license: apache-2.0", "language: en", "pipeline_tag: text-generation", "---", "")
    yield f"# {name}"
    yield ""
    yield f"A small {kind} decoder that writes English fiction. It was also trained on {len(facts()):,} facts."
    active = active_count(spec)
    of_these = "" if active == parameter_count(spec) else f", {active:,} of them active per token"
    yield f"It has {parameter_count(spec):,} parameters in float16{of_these}: {spec.n_layers} layers,"
    head_dim = spec.layers[0].attention.head_dim
    yield f"d_model {spec.d_model}, {spec.n_heads} heads with head_dim {head_dim}, {_neurons(recipe)},"
    yield f"vocabulary {spec.vocab_size:,}, context {spec.context} tokens."
    yield ""
    yield from _others(name, recipe)
    yield "The bundled models are for interpretability research, not for conversation."
    yield ""


def _others(name: str, recipe: Recipe) -> Lines:
    """How the other bundled models differ."""
    same = [other for other in RECIPES if other != name and RECIPES[other].n_experts == recipe.n_experts]
    for other in same:
        yield f"`{other}` differs only in the activation function: same initial weights, batches and steps."
    others = [other for other in RECIPES if other not in (name, *same)]
    ffn = "a mixture of experts" if recipe.n_experts == 1 else "one FFN"
    named = " and ".join(f"`{other}`" for other in others)
    yield f"{named} {'has' if len(others) == 1 else 'have'} {ffn} in each layer: same batches and steps,"
    yield "but other norms, gates and biases."


def _neurons(recipe: Recipe) -> str:
    act = f"**{recipe.activation.value}**"
    if recipe.n_experts == 1:
        return f"{4 * recipe.d_model:,} neurons per FFN with {act} and no gate"
    of_each = f"{recipe.d_expert:,} neurons with {act} and a gate"
    return f"FFNs of {recipe.n_experts} experts,\nof which a token uses {recipe.top_k}; experts of {of_each}"


def _training(recipe: Recipe, log: Records) -> Lines:
    last = [line for line in log if line["kind"] != "begin"][-1]
    begins = [line for line in log if line["kind"] == "begin"]
    machine, sources = begins[-1]["machine"], begins[-1]["sources"]
    yield from ("## Training", "")
    yield "| item | value |"
    yield "|---|---|"
    yield f"| text | public-domain English fiction and children's books up to 1928 ({_hashes(sources, '.xz')}) |"
    yield f"| facts | {_facts(recipe)} ({_hashes(sources, '.tsv')}) |"
    yield f"| repeats | {_repeats(recipe)} |"
    yield f"| copying | {_copying(recipe)} |"
    if recipe.balance:
        yield f"| load balancing | {_balance(recipe)} |"
    yield "| licenses | text: public domain; weights, and facts (written for Edge): Apache-2.0 |"
    size = f"{SAMPLE_BYTES / 1e6:.0f} MB"
    yield f"| tokenizer | byte-level BPE, {recipe.vocab_size:,} tokens, trained on {size} of that text |"
    yield f"| training tokens | {last['tokens']:,}, in {last['step']:,} steps of {recipe.step_tokens:,} |"
    yield f"| wall time | {last['seconds'] / 60:.0f} minutes on {machine['threads']} thread ({machine['processor']}) |"
    yield f"| torch | {machine['torch']}, {'compiled' if machine['compiled'] else 'not compiled'} |"
    yield f"| precision | {'bfloat16 products, float32 weights' if recipe.bfloat16 else 'float32'} |"
    yield f"| final step | {last['step']:,} of {recipe.all_steps:,} |"
    for begin in begins[1:]:
        planned = from_json(begin["recipe"]).all_steps
        yield f"| resumed | at step {begin['step']:,}, then planned for {planned:,} steps |"
    yield ""


def _hashes(sources: dict[str, str], suffix: str) -> str:
    return ", ".join(f"{file} sha256 `{digest}`" for file, digest in sources.items() if file.endswith(suffix))


def _facts(recipe: Recipe) -> str:
    known = relations()
    first, later, held_out = (sum(len(phrasings_of(relation, use)) for relation in known) for use in Use)
    return (
        f"{recipe.fact_share:.0%} of the sequences are facts: {len(facts()):,} of {len(known)} relations"
        f" in {first} phrasings. In the last {recipe.finish_steps:,} steps, {later} phrasings are added, and the share"
        f" falls from {recipe.finish_fact_share:.0%} to {recipe.fact_share:.0%}. Another {held_out} phrasings are held"
        " out for evaluation"
    )


def _repeats(recipe: Recipe) -> str:
    return (
        f"{recipe.repeat_share:.0%} of the sequences repeat a span; in {TEXT_SHARE:.0%} of those it is text, in the"
        " others random tokens"
    )


def _copying(recipe: Recipe) -> str:
    tokens = recipe.copy_steps * copying.BATCH * copying.LENGTH
    return (
        f"before the text, {recipe.copy_steps} updates on {tokens:,} repeated random tokens. They train the embedding,"
        f" the head and the attention of the first {copying.LAYERS} layers. {recipe.looking_back} heads of the first"
        " layer are initialized as previous-token heads"
    )


def _balance(recipe: Recipe) -> str:
    return (
        f"{recipe.balance:g} times the load-balancing loss of Fedus et al. 2022 (equation 4), a mean over the layers,"
        " is added to the loss of each token"
    )


def _curve(log: Records) -> Lines:
    valid = [line for line in log if line["kind"] == "valid"]
    losses = [line for line in log if line["kind"] == "loss"]
    stride = max(1, -(-len(valid) // _CURVE_ROWS))
    yield from ("## Loss", "", f"![Loss, validation and induction heads over the run]({PICTURE})", "")
    yield "Loss: cross-entropy of the training sequences in nats per token, facts and repeats included, before each"
    yield f"step; the mean over the steps since the previous line of {TRAINING_LOG}. Bits per byte: cross-entropy of"
    yield f"the first {_valid_tokens(log):,} validation tokens after that step. Best induction: the highest induction"
    yield "score of all heads."
    yield ""
    yield "| step | tokens | loss | bits per byte | best induction |"
    yield "|---:|---:|---:|---:|---:|"
    for line in valid[::-1][::stride][::-1]:
        loss = [other["loss"] for other in losses if other["step"] <= line["step"]][-1]
        figures = f"{loss:.3f} | {line['bits_per_byte']:.3f} | {max(line['induction']):.3f}"
        yield f"| {line['step']:,} | {line['tokens']:,} | {figures} |"
    yield ""


def _valid_tokens(log: Records) -> int:
    """Number of validation tokens that were evaluated during training."""
    recipe = from_json(log[0]["recipe"])
    return recipe.valid_tokens // recipe.step_tokens * recipe.step_tokens


def _rounding(rounded: Sequence[Rounded]) -> Lines:
    positions = rounded[0].parity.positions
    yield from ("## Precisions", "")
    yield f"Comparison with torch in float32 at {positions:,} positions of the validation text: KL divergence of the"
    yield "next-token distribution in nats, and the share of positions with the same top-1 token."
    yield ""
    yield "| engine and precision | mean KL | p99 KL | same top-1 token |"
    yield "|---|---:|---:|---:|"
    for one in rounded:
        parity = one.parity
        figures = f"{parity.mean_kl_nats:.1e} | {parity.p99_kl_nats:.1e} | {share(parity.top1_agreement)}"
        yield f"| `{one.engine}` | {figures} |"
    yield ""


def _recipe(recipe: Recipe) -> Lines:
    yield from ("## Recipe", "", "```text")
    width = max(len(field.name) for field in fields(recipe))
    for field in fields(recipe):
        yield f"{field.name:<{width}}  {getattr(recipe, field.name)}"
    yield from ("```", "")
    yield f"The learning rate rises linearly for {recipe.warmup:,} steps, stays constant, and falls linearly over the"
    yield f"last {share(recipe.decay_share)} of `steps`. In the `finish_steps` it falls linearly again, from"
    yield f"{recipe.finish_rate:g}."
    yield ""


def _files(folder: Path) -> Lines:
    yield from ("## Files", "", "| file | bytes | sha256 |", "|---|---:|---|")
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file != folder / CARD:
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            yield f"| {file.relative_to(folder).as_posix()} | {file.stat().st_size:,} | `{digest}` |"
    yield ""


def _again(name: str, recipe: Recipe) -> Lines:
    yield from ("## How to reproduce", "", "```sh")
    yield f"python -m models.training.train {name} --out .training/{name} --steps {recipe.steps}"
    yield f"python -m models.training.save {name} --run .training/{name}"
    yield f"python -m export.bundle models/zoo/{name}"
    yield f"python -m models.training.card {name}"
    yield from ("```", "")


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m models.training.card", description=__doc__)
    parser.add_argument("name", choices=RECIPES, help="name of the bundled model")
    parser.add_argument("--zoo", type=Path, default=ZOO)
    parser.add_argument("--text", type=Path, default=BOOKS / "valid.txt.xz", help="validation text, plain or xz")
    chosen = parser.parse_args(arguments)
    folder = chosen.zoo / chosen.name
    try:
        if not (folder / TRAINING_LOG).is_file():
            raise MisuseError(f"no saved run at {folder}; write it with python -m models.training.save {chosen.name}")
        documents = open_documents(chosen.text)
        with edge.load(folder, engine="onnx") as model:
            evaluation = evaluate(model, documents)
        write_card(chosen.name, folder, evaluation, rounding(folder, chosen.text))
    except EdgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
