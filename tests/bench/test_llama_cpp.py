"""llama.cpp runs the same model: the file written for it holds the checkpoint's weights, and its tokens are Edge's."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import edge
from edge.worker_process import WorkerProcess
from models.progress import Progress
from tests.bench.checkpoint import SMALL, write_checkpoint
from tests.bench.traffic import dense, q4_0

gguf = pytest.importorskip("gguf")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with weights large enough for logits that differ."""
    folder = tmp_path_factory.mktemp("models") / "small"
    write_checkpoint(folder, SMALL)
    return folder


@pytest.mark.parametrize("kind", ["F32", "Q4_0"])
def test_every_weight_is_in_the_file(folder: Path, tmp_path: Path, kind: str) -> None:
    """Those of one head in llama.cpp's order, where halves are neighbors; to half a step of 16 in Q4_0."""
    from gguf.quants import dequantize

    from tests.models.sources.converted import write_gguf

    write_gguf(folder, tmp_path / "small.gguf", kind)
    stored = load_file(folder / "model.safetensors")
    found = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "small.gguf").tensors}
    assert len(found) == len(stored)
    head = stored["model.layers.1.self_attn.k_proj.weight"]
    wanted = {
        "token_embd.weight": stored["model.embed_tokens.weight"],
        "blk.0.ffn_down.weight": stored["model.layers.0.mlp.down_proj.weight"],
        "blk.1.attn_k.weight": np.stack([head[:16], head[16:]], axis=1).reshape(head.shape),
    }
    for name, weight in wanted.items():
        tensor = found[name]
        np.testing.assert_allclose(
            dequantize(tensor.data, tensor.tensor_type), weight, atol=0 if kind == "F32" else 0.08 / 8
        )
    matrices = sum(int(tensor.n_bytes) for tensor in found.values() if len(tensor.shape) == 2)
    norms = sum(weight.nbytes for weight in stored.values() if weight.ndim == 1)
    assert matrices == (dense(SMALL) - norms if kind == "F32" else q4_0(SMALL))


def open_llama(progress: Progress, file: Path) -> Any:
    from llama_cpp import Llama

    return Llama(str(file), n_ctx=SMALL.context, n_threads=1, n_threads_batch=1, verbose=False)


def greedy(llama: Any, prompt: list[int], count: int) -> list[int]:
    llama.reset()
    tokens = llama.generate(prompt, temp=0.0)
    return [next(tokens) for _ in range(count)]


@pytest.mark.skipif(find_spec("llama_cpp") is None, reason="llama.cpp is built for benchmarks only")
def test_its_tokens_are_edge_s(folder: Path, tmp_path: Path) -> None:
    """In its own process: it leaves files open."""
    from tests.models.sources.converted import write_gguf

    write_gguf(folder, tmp_path / "small.gguf", "F32")
    prompt = [5, 3, 1, 2, 40, 17]
    with edge.load(folder, "torch", threads=1) as model:
        wanted = model.run(ids=prompt, max_new_tokens=12, stop_tokens=()).tokens[len(prompt) :]
    with WorkerProcess("llama.cpp", open_llama, lambda _: None, {}, tmp_path / "small.gguf") as llama:
        for _ in range(2):
            assert llama.call(greedy, prompt, len(wanted)) == list(wanted), "llama.cpp runs another model"
