"""What every exported graph promises: its opset, its names, its dimensions, and no weights inside."""

import re
from math import prod

import onnx
import pytest

from edge.timing import Grain
from export.buffered_kernels import FusedRotary, GroupedQuery, Standard
from export.initializers import initializer_shapes
from export.kernels import kernels_of
from export.names import SCATTER_OPSET, part_of_node
from export.rotation import fuses
from models.parts import sublayer_of
from models.sites import place_of, sites_of
from models.spec import DecoderSpec, Rotary
from tests.export.built import built
from tests.scopes import scopes_of
from tests.tiny import TINY_SPECS

GRAPHS = ("fast", "probe", "edit", "std")


def dims(value: onnx.ValueInfoProto) -> tuple[str | int, ...]:
    return tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("name", TINY_SPECS)
def test_opset_stays_where_the_runtime_has_kernels(name: str, graph: str) -> None:
    opsets = {opset.domain: opset.version for opset in built(name, graph).opset_import}
    assert opsets.pop("") == kernels_of(TINY_SPECS[name])[graph].opset <= SCATTER_OPSET, (
        f"{graph} of {name} asks for an opset whose Attention has no kernel"
    )
    assert set(opsets) <= {"com.microsoft"}, f"{graph} of {name} uses domains {set(opsets)}"
    assert not built(name, graph).functions, f"{graph} of {name} carries functions"
    if graph == "std":
        assert not opsets, "the portable graph uses operators that are not standard"


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("name", TINY_SPECS)
def test_every_node_names_its_part(name: str, graph: str) -> None:
    spec, nodes = TINY_SPECS[name], built(name, graph).graph.node
    wanted = scopes_of(spec, Grain.PART) | {"other"}
    for node in nodes:
        scope, operator, _ = node.name.split("|")
        assert scope in wanted and operator == node.op_type, f"{graph}: node '{node.name}' names no part"
    reported = {sublayer_of(part_of_node(node.name)) for node in nodes}
    assert reported == scopes_of(spec, Grain.SUBLAYER) | {"other"}, f"{graph} of {name} has sublayers without nodes"
    assert len({node.name for node in nodes}) == len(nodes), f"{graph} of {name} has two nodes of one name"


@pytest.mark.parametrize("name", TINY_SPECS)
def test_every_gemm_counts_with_the_sublayer_that_owns_its_weight(name: str) -> None:
    for node in built(name, "fast").graph.node:
        for weight in (used for used in node.input if used.endswith(".weight")):
            owner = re.sub(
                r"(_sum|(\.(experts|shared))?\.(norm|after|query_norm|key_norm|query|key|value|out|gate|up|gate_up|down|project|"
                r"router|shared_gate)(\.norms\.\d+)?)?\.weight$",
                "",
                weight,
            )
            if owner == "embed" and part_of_node(node.name) == "head":
                continue  # a tied head reads with the embedding
            part = part_of_node(node.name)
            assert sublayer_of(part) == owner, f"'{node.name}' uses {weight}, which belongs to {owner}"


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("name", TINY_SPECS)
def test_graphs_ship_without_weights(name: str, graph: str) -> None:
    wanted, held = initializer_shapes(TINY_SPECS[name]), built(name, graph).graph.initializer
    external = {tensor.name: tuple(tensor.dims) for tensor in held if tensor.external_data}
    assert external == wanted, f"{graph} of {name} declares other initializers than the spec has parameters"
    small = [tensor for tensor in held if not tensor.external_data]
    assert all(prod(tensor.dims) <= 8 for tensor in small), f"{graph} of {name} carries numbers of its own"


def state_names(prefix: str, spec: DecoderSpec) -> list[str]:
    return [f"{prefix}.{layer}.{part}" for layer in range(spec.n_layers) for part in ("key", "value")]


@pytest.mark.parametrize("graph", ["probe", "edit"])
@pytest.mark.parametrize("name", TINY_SPECS)
def test_outputs_carry_their_dimensions(name: str, graph: str) -> None:
    spec = TINY_SPECS[name]
    held = (1, spec.layers[0].attention.n_kv_heads, "capacity", spec.layers[0].attention.head_dim)
    outputs = {value.name: dims(value) for value in built(name, graph).graph.output}
    assert outputs.pop("logits") == ("row", spec.vocab_size)
    for cached in state_names("present", spec):
        assert outputs.pop(cached) == held, f"{cached} is not the buffer it was given"
    sites = {place_of(name): ("token", *site.row_shape) for name, site in sites_of(spec).items() if name != "logits"}
    assert outputs == sites, f"the outputs of {graph} are not the places of the sites"


@pytest.mark.parametrize("name", TINY_SPECS)
def test_std_has_the_names_that_the_ecosystem_expects(name: str) -> None:
    spec, graph = TINY_SPECS[name], built(name, "std").graph
    past = ("batch", spec.layers[0].attention.n_kv_heads, "past", spec.layers[0].attention.head_dim)
    inputs = {value.name: dims(value) for value in graph.input}
    assert inputs == {
        "input_ids": ("batch", "token"),
        "attention_mask": ("batch", "past + token"),
        "position_ids": ("batch", "token"),
    } | dict.fromkeys(state_names("past_key_values", spec), past)
    assert [value.name for value in graph.output] == ["logits", *state_names("present", spec)]
    assert dims(graph.output[0]) == ("batch", "token", spec.vocab_size)


def test_kernels_fit_the_size_of_a_head() -> None:
    chosen = {name: kernels_of(spec)["fast"] for name, spec in TINY_SPECS.items()}
    assert chosen["neox-full-rotary-relu"] is FusedRotary, "16 features are enough to rotate inside attention"
    assert chosen["llama-shared-heads-tied"] is GroupedQuery, "8 features need a rotation of their own"
    assert chosen["neox-partial-rotary-parallel"] is Standard, "12 features are refused by the grouped-query operator"
    assert {kernels_of(spec)["probe"] for spec in TINY_SPECS.values()} == {GroupedQuery, Standard}
    assert not fuses(Rotary(base=1e4, features=24), head_dim=32), "24 of 32 features are no multiple of 16"
    used = {node.op_type for node in built("layers-that-differ", "fast").graph.node}
    assert {"GroupQueryAttention", "RotaryEmbedding"} <= used


@pytest.mark.parametrize(
    "fused", ["layers.3.ffn.act|Mul|27/QuickGeluFusion/_kernel_time", "fused layers.3.ffn.act|Gemm|14"]
)
def test_fused_nodes_keep_their_sublayer(fused: str) -> None:
    assert part_of_node(fused) == "layers.3.ffn.act"


def test_an_unknown_node_belongs_to_no_sublayer() -> None:
    assert part_of_node("SkipLayerNorm_AddBias_7_kernel_time") == "other"
