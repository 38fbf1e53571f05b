"""GGUF files of every architecture, as llama.cpp converts them: Edge reads the decoder that transformers runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import MistralConfig, MixtralConfig, PreTrainedModel, Qwen2Config, Starcoder2Config

import edge
from models.checkpoint import Checkpoint, open_checkpoint
from models.sources.gguf.config import ARCHITECTURES
from models.spec import DecoderSpec, Full, NoScaling, Rotary, Sliding
from tests.models.sources.architectures import CASES, FIRST, SMALL, Make, Small
from tests.models.sources.converted import write_gguf
from tests.reference import write_reference

IDS = [3, 1, 41, 59, 26, 5, 35, 89, 79, 32, 38, 46, 26, 43]


@dataclass(frozen=True)
class Case:
    """A model, and what Edge opens: its folder, and its GGUF file."""

    name: str
    small: Small
    folder: Checkpoint
    file: Checkpoint


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, small: Callable[[str], Small]) -> Case:
    made = small(request.param)
    return Case(request.param, made, open_checkpoint(made.folder), open_checkpoint(made.file))


def logits_of(model: PreTrainedModel) -> np.ndarray:
    """(token, vocab) logits of transformers."""
    if hasattr(model.config, "num_experts_per_tok"):
        model.set_experts_implementation("eager")  # the grouped one needs sizes that are multiples of 16 bytes
    with torch.no_grad():
        return np.asarray(model(torch.tensor([IDS])).logits[0])


def test_logits_are_those_of_transformers(case: Case) -> None:
    want = logits_of(case.small.model)
    with edge.load(case.small.file, "torch") as model:
        worst = float(np.abs(model.logits(IDS) - want).max())
    assert worst < 1e-4 * max(1.0, float(np.abs(want).max())), f"{case.name} leaves transformers by {worst:.2g}"


def test_parameters_are_those_of_the_folder(case: Case) -> None:
    """Bit for bit, with all multipliers."""
    want, found = case.folder.weights, case.file.weights
    assert want.keys() == found.keys()
    for name, array in want.items():
        assert np.array_equal(found[name], array), f"'{name}' of {case.name} differs"


def test_the_spec_is_that_of_the_folder(case: Case) -> None:
    want, found = case.folder.spec, case.file.spec
    if case.name in CHANGED:
        assert found != want, f"{case.name} is no exception any more"
        found, want = CHANGED[case.name](found), CHANGED[case.name](want)
    assert found == want


def without_scaling(spec: DecoderSpec) -> DecoderSpec:
    """Llama 3's scaling is a list of divisors in the file."""
    return of_rotary(spec, lambda rotary: replace(rotary, scaling=NoScaling()))


def with_a_float32_base(spec: DecoderSpec) -> DecoderSpec:
    """The file has the scaled base of HunYuan as float32, and always the same context."""
    return replace(of_rotary(spec, lambda rotary: replace(rotary, base=float(np.float32(rotary.base)))), context=1)


def of_rotary(spec: DecoderSpec, changed: Callable[[Rotary], Rotary]) -> DecoderSpec:
    layers = []
    for layer in spec.layers:
        position = layer.attention.position
        assert isinstance(position, Rotary)
        layers.append(replace(layer, mixer=replace(layer.attention, position=changed(position))))
    return replace(spec, layers=tuple(layers))


CHANGED: Mapping[str, Callable[[DecoderSpec], DecoderSpec]] = {
    "llama-llama3-scaling": without_scaling,
    "exaone4-without-window-llama3-scaling": without_scaling,
    "hunyuan-dense-alpha-tied": with_a_float32_base,
}
"""What the file states in another form, left out."""

WINDOWS: Mapping[str, Make] = {
    "llama (Mistral)": lambda size: MistralConfig(**size.usual, sliding_window=4),
    "llama (Mixtral)": lambda size: MixtralConfig(
        **size.experts, intermediate_size=32, num_local_experts=4, num_experts_per_tok=2, sliding_window=4
    ),
    "qwen2": lambda size: Qwen2Config(**size.usual, use_sliding_window=True, sliding_window=4, max_window_layers=0),
    "starcoder2": lambda size: Starcoder2Config(**size.usual, sliding_window=4),
}
"""Windows that the file does not state."""


@pytest.mark.parametrize("name", WINDOWS)
def test_a_window_that_the_file_does_not_state_is_full(name: str, tmp_path: Path) -> None:
    write_reference(WINDOWS[name](SMALL), tmp_path / "model")
    write_gguf(tmp_path / "model", tmp_path / "model.gguf", "F32")
    spec = open_checkpoint(tmp_path / "model").spec
    assert {layer.attention.window for layer in spec.layers} == {Sliding(4)}
    full = tuple(replace(layer, mixer=replace(layer.attention, window=Full())) for layer in spec.layers)
    assert open_checkpoint(tmp_path / "model.gguf").spec == replace(spec, layers=full)


def test_every_architecture_is_tested() -> None:
    assert set(FIRST) == set(ARCHITECTURES)
