"""What `edge export --for genai` writes, onnxruntime-genai opens, and generates the tokens that Edge generates."""

import json
from pathlib import Path

import onnx
import pytest
from transformers import MixtralConfig

from edge.session import load
from export.quantizing import prepare_quantized
from export.standalone import export_checkpoint
from export.targets import TARGETS
from models.checkpoint import open_checkpoint
from models.precision import Scheme, Zero
from models.tokenizer import open_tokenizer
from tests.reference import REFERENCES, write_reference

genai = pytest.importorskip("onnxruntime_genai")

PROMPT = [3, 1, 4, 1, 5]


def quiet(_: str) -> None:
    """Progress that is ignored."""


def generated(folder: Path, count: int) -> list[int]:
    """Greedy tokens, the prompt included."""
    model = genai.Model(str(folder))
    length = len(PROMPT) + count
    params = genai.GeneratorParams(model)
    params.set_search_options(max_length=length, do_sample=False, batch_size=1)
    generator = genai.Generator(model, params)
    generator.append_tokens(PROMPT)
    while not generator.is_done():
        generator.generate_next_token()
    return [int(token) for token in generator.get_sequence(0)]


CONFIGS = REFERENCES | {
    "mixtral-whole-groups": lambda: MixtralConfig(
        vocab_size=96, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=64, num_local_experts=6, num_experts_per_tok=2, pad_token_id=None, bos_token_id=0,
        eos_token_id=0,
    ),
}  # fmt: skip
OPERATORS = {("mixtral-whole-groups", "fp32"): "MoE", ("mixtral-whole-groups", "int4"): "QMoE"}
"""The operators that compute experts."""

CASES = [
    ("llama-linear-scaling", "fp32"),
    ("qwen2-tied", "fp32"),
    ("neox-tied-without-attention-bias", "fp32"),
    ("gemma2-odd-head-dim", "fp32"),
    ("ministral3-one-kv-head-window-tied", "fp32"),
    ("hunyuan-norms-after-rotation-alpha", "fp32"),
    ("llama-linear-scaling", "int4"),
    ("mixtral-one-expert-of-three-odd-sizes", "fp32"),
    *OPERATORS,
]
"""Shared and full heads, a family that its own builder lacks, and a head size that its fast operator refuses;
mixtures of experts in a loop and in one operator."""


@pytest.mark.parametrize(("name", "precision"), CASES, ids=["-".join(case) for case in CASES])
def test_genai_generates_what_edge_generates(tmp_path: Path, name: str, precision: str) -> None:
    folder, out = tmp_path / "checkpoint", tmp_path / "out"
    write_reference(CONFIGS[name](), folder)
    held = open_checkpoint(folder)
    if precision == "int4":
        held = prepare_quantized(held, Scheme(4, 32, Zero.WHOLE), quiet)
    export_checkpoint(held, out, quiet, TARGETS["genai"])
    if operator := OPERATORS.get((name, precision)):
        assert operator in {node.op_type for node in onnx.load(out / "model.onnx", load_external_data=False).graph.node}
    # Torch needs no graphs; products of int4 round activations in ONNX Runtime only.
    with load(folder, "torch" if precision == "fp32" else f"onnx:{precision}", threads=1) as model:
        count = min(64, model.spec.context - len(PROMPT))
        want = model.run(ids=PROMPT, max_new_tokens=count, stop_tokens=())
    assert generated(out, count) == list(want.tokens)


def test_the_config_names_the_tokens_that_end_a_text(byte_llama: Path, tmp_path: Path) -> None:
    """The checkpoint's own stop tokens, in the words of genai; the graph's names are patterns over layers."""
    out = tmp_path / "out"
    export_checkpoint(open_checkpoint(byte_llama), out, quiet, TARGETS["genai"])
    table = json.loads((out / "genai_config.json").read_text())["model"]
    spec, tokenizer = open_checkpoint(byte_llama).spec, open_tokenizer(byte_llama)
    assert tokenizer is not None and table["eos_token_id"] == list(tokenizer.stop_tokens)
    assert (table["vocab_size"], table["context_length"]) == (spec.vocab_size, spec.context)
    assert table["decoder"]["inputs"]["past_key_names"] == "past_key_values.%d.key"
    assert (out / "tokenizer.json").is_file() and (out / table["decoder"]["filename"]).is_file()
