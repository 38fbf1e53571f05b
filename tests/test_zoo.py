"""The bundled models: what `transformers` computes, on every engine, from files that their cards answer for."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

import edge
from edge.measure.routing import load
from edge.watch import Watch
from export.bundle import open_bundle
from models.checkpoint import open_checkpoint
from models.parameters import parameter_count
from models.sample_text import SAMPLE_TEXT
from models.training.figures import copied_share, induction
from models.training.recipe import RECIPES
from models.zoo import zoo_folder, zoo_names
from models.zoo.facts import table_hashes
from tests.reference import reference_logits

PROMPT = "Once upon a time there was a king who had three daughters"
SHIPPED_BYTES = 50_000_000
"""Most that all of the zoo may weigh in a clone."""


@pytest.fixture(params=zoo_names())
def folder(request: pytest.FixtureRequest) -> Path:
    found = zoo_folder(request.param)
    assert found is not None
    return found


def test_the_bundled_models_are_present_and_small() -> None:
    assert zoo_names() == ("fable-gelu", "fable-moe", "fable-relu")
    assert set(zoo_names()) <= set(RECIPES)
    folders = [Path(str(zoo_folder(name))) for name in zoo_names()]
    held_bytes = sum(file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file())
    assert held_bytes < SHIPPED_BYTES, f"the zoo weighs {held_bytes / 1e6:.0f} MB"


def test_the_zoo_has_no_other_names() -> None:
    assert zoo_folder("fable") is None
    assert zoo_folder("../training") is None


def test_a_bundled_model_has_the_sizes_of_its_recipe(folder: Path) -> None:
    checkpoint = open_checkpoint(folder)
    assert checkpoint.spec == RECIPES[folder.name].spec, f"{folder.name} has other sizes than its recipe"
    assert parameter_count(checkpoint.spec) <= 10_000_000
    want = 2 * parameter_count(checkpoint.spec)
    assert checkpoint.stored_bytes == want, (
        f"weights take {checkpoint.stored_bytes:,} bytes; in half precision, a tied matrix stored once, {want:,}"
    )


def test_a_bundled_model_brings_its_graphs(folder: Path) -> None:
    spec = open_checkpoint(folder).spec
    assert open_bundle(folder / "graphs", spec) is not None, (
        f"{folder.name}/graphs do not run its config.json: python -m export.bundle {folder}"
    )


def test_the_card_has_the_hash_of_every_file(folder: Path) -> None:
    card = (folder / "README.md").read_text(encoding="utf8")
    rows = re.findall(r"^\| (\S+) \| ([\d,]+) \| `([0-9a-f]{64})` \|$", card, re.MULTILINE)
    listed = {name: (int(size.replace(",", "")), digest) for name, size, digest in rows}
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    del files["README.md"]
    again = f"python -m models.training.card {folder.name}"
    missing, gone = files.keys() - listed.keys(), listed.keys() - files.keys()
    assert not missing, f"the card of {folder.name} does not list {', '.join(sorted(missing))}: {again}"
    assert not gone, f"the card of {folder.name} lists {', '.join(sorted(gone))}, which nobody gets: {again}"
    for name, file in files.items():
        content = file.read_bytes()
        held = len(content), hashlib.sha256(content).hexdigest()
        assert held == listed[name], f"{folder.name}/{name} is {held}, its card says {listed[name]}: {again}"


@pytest.mark.parametrize("engine", ["torch", "onnx", "mlx"])
def test_every_engine_gives_the_logits_of_transformers(folder: Path, engine: str) -> None:
    reference = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with edge.load(folder, engine=engine) as model:
        assert model.tokenizer is not None
        ids = model.tokenizer.encode(PROMPT)
        assert ids == transformers.AutoTokenizer.from_pretrained(folder).encode(PROMPT)
        worst = float(np.abs(model.logits(ids) - reference_logits(reference, ids)).max())
    assert worst < 1e-3, f"{folder.name} on {engine} leaves transformers by {worst:.2g}"


def test_the_tables_of_facts_are_those_that_were_taught(folder: Path) -> None:
    """Facts that changed after training would be asked of a model that never met them."""
    lines = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    *_, begin = (line for line in lines if line["kind"] == "begin")
    taught = {name: digest for name, digest in begin["sources"].items() if name.endswith(".tsv")}
    assert taught == table_hashes(), f"{folder.name} learned from other tables"


def test_relu_neurons_are_mostly_inactive_and_gelu_ones_are_not() -> None:
    """In the middle layers of one model; in the other, no layer has more than rounding leaves."""
    zeros = {}
    for name in ("fable-relu", "fable-gelu"):
        with edge.load(name) as model:
            trace = model.run(PROMPT, max_new_tokens=16, watch=Watch(parts=("ffn.neurons",)))
        zeros[name] = [float((trace.neurons(layer) == 0).mean()) for layer in range(trace.spec.n_layers)]
    middle = float(np.mean(zeros["fable-relu"][1:-1]))
    assert middle > 0.8, f"only {middle:.0%} of the ReLU twin's activations are zero in its middle layers"
    assert max(zeros["fable-gelu"]) < 0.001, f"zeros of the GELU twin, by layer: {zeros['fable-gelu']}"


def test_a_mixture_has_more_zeros_than_experts_that_are_not_chosen() -> None:
    with edge.load("fable-moe") as model:
        trace = model.run(PROMPT, max_new_tokens=16, watch=Watch(parts=None))
    for layer, kind in enumerate(trace.spec.layers):
        zeros, idle = float((trace.neurons(layer) == 0).mean()), 1 - kind.ffn.d_used / kind.ffn.d_ff
        assert zeros > idle + 0.05, f"layer {layer}: {zeros:.0%} are zero, {idle:.0%} in experts not chosen"


def test_every_expert_of_the_mixture_is_used() -> None:
    """The balance loss keeps each above a fifth of its even share of choices."""
    with edge.load("fable-moe") as model:
        trace = model.run(SAMPLE_TEXT[:1_600], max_new_tokens=0, watch=Watch(parts=("ffn.chosen",)))
    for layer in range(trace.spec.n_layers):
        share = load(trace.site(f"layers.{layer}.ffn.chosen").astype(np.int64), 8)
        assert share.min() > 0.2 / 8, f"loads of layer {layer}: {np.round(share, 3)}"


def test_the_bundled_models_have_a_head_that_copies(folder: Path) -> None:
    with edge.load(folder) as model:
        scores, _ = induction(model)
        copied = copied_share(model)
    assert scores.max() > 0.4, f"the best head of {folder.name} has an induction score of {scores.max():.2f}"
    assert copied > 0.5, f"{folder.name} foresees {copied:.0%} of the random tokens that come again"
