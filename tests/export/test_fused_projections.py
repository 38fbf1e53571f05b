"""Products that read the same rows are one product in every graph, where matrices are quantized the same."""

from functools import cache

import onnx
import onnx_ir as ir
import pytest

from export.graphs import build
from export.initializers import initializer_values
from export.layout import fused_groups, layout_of
from export.quantizing import prepare_quantized
from models.checkpoint import Checkpoint
from models.precision import Mixed, Scheme, Zero
from tests.mixed import mixed_checkpoint
from tests.tiny import TINY_SPECS, tiny_checkpoint

SCHEME = Scheme(4, 32, Zero.WHOLE)


CASES = [(name, "fast") for name in TINY_SPECS] + [("llama-shared-heads-tied", graph) for graph in ("probe", "std")]


@pytest.fixture(autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path_factory.getbasetemp() / "joined-cache"))


def quantized(name: str, keep: tuple[str, ...] = ()) -> Checkpoint:
    return prepare_quantized(tiny_checkpoint(name), SCHEME, lambda _: None, keep)


@cache
def traced(name: str, graph: str, keep: tuple[str, ...] = ()) -> onnx.GraphProto:
    """One graph of one of `TINY_SPECS` with its matrices quantized, traced once."""
    return ir.to_proto(build(TINY_SPECS[name], graph, layout_of(quantized(name, keep)))).graph


def products(graph: onnx.GraphProto) -> list[str]:
    """The matrices that products read, in the order in which they are computed."""
    found = [node.input[1] for node in graph.node if node.op_type == "MatMulNBits"]
    return [codes.removesuffix(".codes") for codes in found]


@pytest.mark.parametrize(("name", "graph"), CASES, ids=["-".join(case) for case in CASES])
def test_a_graph_wants_the_initializers_that_it_is_given(name: str, graph: str) -> None:
    checkpoint, held = quantized(name), traced(name, graph).initializer
    given = {name: values.shape for name, values in initializer_values(checkpoint, layout_of(checkpoint))}
    assert {tensor.name: tuple(tensor.dims) for tensor in held if tensor.external_data} == given
    inside = {tensor.name: len(tensor.raw_data) for tensor in held if not tensor.external_data}
    heavy = [name for name, size in inside.items() if size > 64 and not name.startswith("factors.")]
    assert not heavy, f"numbers of the model lie in the graph: {heavy}"


@pytest.mark.parametrize("graph", ["fast", "probe"])
def test_query_key_and_value_are_one_product_and_so_are_gate_and_up(graph: str) -> None:
    name = "llama-shared-heads-tied"
    within = ("attn.qkv", "attn.out", "ffn.gate_up", "ffn.down")
    wanted = [f"layers.{layer}.{part}" for layer in range(TINY_SPECS[name].n_layers) for part in within]
    assert products(traced(name, graph)) == [*wanted, "head"], f"{graph} computes other products"


def test_an_attention_that_rotates_takes_the_three_as_they_are_stacked() -> None:
    nodes = traced("neox-full-rotary-relu", "fast").node
    attention = [node for node in nodes if node.op_type == "GroupQueryAttention"]
    assert attention, "no attention takes heads by groups"
    assert all(node.input[0] and not node.input[1] and not node.input[2] for node in attention)
    assert "Split" not in {node.op_type for node in nodes}, "what attention takes whole was split"


def test_a_matrix_that_is_quantized_otherwise_keeps_a_product_of_its_own() -> None:
    name, keep = "llama-shared-heads-tied", ("layers.0.attn.value", "layers.1.ffn.gate")
    assert (
        not {"layers.0.attn.qkv", "layers.1.ffn.gate_up"}
        & fused_groups(TINY_SPECS[name], layout_of(quantized(name, keep))).keys()
    )
    found = products(traced(name, "fast", keep))
    assert found[:4] == ["layers.0.attn.query", "layers.0.attn.key", "layers.0.attn.out", "layers.0.ffn.gate_up"]


@cache
def mixed(graph: str, accuracy: int) -> onnx.GraphProto:
    checkpoint = mixed_checkpoint()
    return ir.to_proto(build(checkpoint.spec, graph, layout_of(checkpoint, Mixed(accuracy)))).graph


@pytest.mark.parametrize(("graph", "accuracy"), [("fast", 0), ("std", 4)])
def test_matrices_in_many_schemes_want_the_initializers_that_they_are_given(graph: str, accuracy: int) -> None:
    checkpoint, held = mixed_checkpoint(), mixed(graph, accuracy).initializer
    values = dict(initializer_values(checkpoint, layout_of(checkpoint, Mixed(accuracy))))
    given = {name: (onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape) for name, value in values.items()}
    assert {one.name: (one.data_type, tuple(one.dims)) for one in held if one.external_data} == given


def test_matrices_are_fused_that_have_equal_schemes_in_the_graph() -> None:
    """Codes of 2 and of 4 bits are both of 4 bits there. Matrices with an order are not fused."""
    found = products(mixed("fast", 0))
    assert {"layers.0.attn.qkv", "layers.1.attn.qkv", "layers.1.ffn.gate_up"} <= set(found)
    assert {f"layers.2.attn.{part}" for part in ("query", "key", "value", "out")} <= set(found)
    operators = {node.op_type for node in mixed("fast", 0).node}
    assert {"QMoE", "Loop"} <= operators, "experts without offsets are computed in one operator, the others in a loop"


def test_no_matrix_of_many_schemes_is_dense() -> None:
    for graph, accuracy in (("fast", 0), ("std", 4)):
        dense = {tensor.name for tensor in mixed(graph, accuracy).initializer if tensor.name.endswith(".weight")}
        kept = {name for name in dense if name.removesuffix(".weight").rpartition(".")[2] not in ("norm", "router")}
        assert kept == {"layers.0.ffn.shared_gate.weight", "layers.2.ffn.shared_gate.weight"}
