"""The mixture of the benchmark: its checkpoint opens, a token reads chosen experts, llama.cpp gets all of them."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from models.checkpoint import open_checkpoint
from models.parameters import parameter_shapes
from models.spec import MoE
from tests.bench.checkpoint import write_checkpoint
from tests.bench.mixture import FEW, MIXTURE, SMALL_MIXTURE
from tests.bench.traffic import dense

gguf = pytest.importorskip("gguf")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "mixture"
    write_checkpoint(folder, SMALL_MIXTURE)
    return folder


def test_the_checkpoint_is_the_mixture_that_is_stated(folder: Path) -> None:
    opened = open_checkpoint(folder)
    for layer in opened.spec.layers:
        assert isinstance(layer.ffn, MoE)
        assert (layer.ffn.n_experts, layer.ffn.top_k, layer.ffn.expert.d_ff) == (4, 2, 32)
    shapes = {name: weight.shape for name, weight in opened.weights.items()}
    assert shapes == dict(parameter_shapes(opened.spec))
    stored = load_file(folder / "model.safetensors")
    assert sum(weight.nbytes for weight in stored.values()) == SMALL_MIXTURE.float32_bytes


def test_a_token_reads_the_same_bytes_of_few_experts_and_of_many() -> None:
    routers = 4 * MIXTURE.n_layers * MIXTURE.d_model * (MIXTURE.n_experts - FEW.n_experts)
    assert dense(MIXTURE) - dense(FEW) == routers
    assert MIXTURE.float32_bytes > 2.5 * FEW.float32_bytes


def test_the_file_for_llama_cpp_has_every_expert(folder: Path, tmp_path: Path) -> None:
    from tests.models.sources.converted import write_gguf

    write_gguf(folder, tmp_path / "mixture.gguf", "F32")
    stored = load_file(folder / "model.safetensors")
    found = {tensor.name: tensor.data for tensor in gguf.GGUFReader(tmp_path / "mixture.gguf").tensors}
    assert sum(data.size for data in found.values()) == sum(weight.size for weight in stored.values())
    for expert in range(SMALL_MIXTURE.n_experts):
        wanted = stored[f"model.layers.1.mlp.experts.{expert}.down_proj.weight"]
        assert np.array_equal(found["blk.1.ffn_down_exps.weight"][expert], wanted)
    assert np.array_equal(found["blk.1.ffn_gate_inp.weight"], stored["model.layers.1.mlp.gate.weight"])
