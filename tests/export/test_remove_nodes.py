"""A graph without some sublayers computes what the model computes with them ablated, and is cut without onnx."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import edge
from edge.edits import Ablate
from edge.engines.onnx_engine import _REMOVED, OnnxEngine
from edge.engines.onnx_session import Graph
from edge.profile.rounds import example_ids
from edge.session import Model
from export.bundle import prepare
from export.layout import DENSE
from export.remove_nodes import remove_nodes
from models.checkpoint import open_checkpoint
from models.errors import EdgeError
from models.find_model import find_model
from models.sites import LOGITS
from models.spec import Activation, After, MoE
from models.zoo import zoo_names
from tests.tiny import TINY_SPECS, FakeCheckpoint, tiny_weights

needs_zoo = pytest.mark.skipif("fable-relu" not in zoo_names(), reason="fable-relu is not in the zoo of this checkout")
ABLATED = {"attn": ("attn",), "ffn": ("ffn",), "layers": ("attn", "ffn")}


def _with_experts(activation: Activation, **fields: Any) -> FakeCheckpoint:
    """A mixture of gated experts with this activation, and other fields of its layers."""
    spec = TINY_SPECS["experts-in-groups-shared-and-a-dense-layer"]
    layers = [
        replace(layer, ffn=replace(layer.ffn, expert=replace(layer.ffn.expert, activation=activation)), **fields)
        if isinstance(layer.ffn, MoE)
        else layer
        for layer in spec.layers
    ]
    spec = replace(spec, layers=tuple(layers))
    return FakeCheckpoint(spec, tiny_weights(spec, 0))


MIXTURES: dict[str, tuple[str, Callable[[], FakeCheckpoint]]] = {
    "fused": ("MoE", lambda: _with_experts(Activation.SILU)),
    "in a loop": ("Loop", lambda: _with_experts(Activation.GELU)),
    "in a loop that reads the residual stream": ("Loop", lambda: _with_experts(Activation.GELU, placement=After())),
}
"""The operator that computes experts in `fast`, and the checkpoint."""


def check_cut(model: Model, kind: str, file: Path) -> None:
    """The graph without some sublayers gives the logits of the model with them ablated."""
    ids = example_ids(model.spec, 9)
    ablated = [Ablate(f"layers.{layer}.{part}") for layer in range(model.spec.n_layers) for part in ABLATED[kind]]
    wanted = model.logits(ids, ablated)[-1]

    def run(engine: OnnxEngine) -> np.ndarray:
        cut = remove_nodes(engine._bundle.graph("fast").read_bytes(), _REMOVED[kind])
        file.write_bytes(cut.model)
        graph = Graph(file, engine._weights.only(cut.initializers), 1, "cpu")
        logits = np.empty((1, engine.spec.vocab_size), np.float32)
        engine.clear()
        engine.reserve(len(ids))
        engine._pass(graph, np.array(ids, np.int64), {LOGITS: logits}, {})
        return logits[0]

    found = model.with_engine(run)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max(), err_msg=f"without {kind}")


@needs_zoo
@pytest.mark.parametrize("kind", ABLATED)
def test_a_cut_graph_is_the_model_with_those_sublayers_ablated(kind: str, tmp_path: Path) -> None:
    with edge.load("fable-relu", "onnx") as model:
        check_cut(model, kind, tmp_path / "cut.onnx")


@pytest.mark.parametrize("name", MIXTURES)
def test_mixtures_are_cut_with_what_their_loops_read(name: str, tmp_path: Path) -> None:
    operator, checkpoint = MIXTURES[name]
    with Model(checkpoint(), "onnx", 1, lambda _: None) as model:
        raw = model.with_engine(lambda engine: engine._bundle.graph("fast").read_bytes())  # type: ignore[attr-defined]
        assert operator in {node.op_type for node in onnx.load_from_string(raw).graph.node}
        for kind in ABLATED:
            check_cut(model, kind, tmp_path / f"{kind}.onnx")
        whole, same = (onnx.load_from_string(one) for one in (raw, remove_nodes(raw, lambda _: False).model))
    assert list(same.graph.node) == list(whole.graph.node), "cutting nothing changes nodes"
    kept = {one.name for one in same.graph.initializer}
    assert kept == {one.name for one in whole.graph.initializer}, "what a loop reads is dropped"


@needs_zoo
def test_what_is_left_is_read_by_onnx_as_it_was(tmp_path: Path) -> None:
    raw = prepare(open_checkpoint(find_model("fable-relu")), lambda _: None, DENSE).graph("fast").read_bytes()
    whole = onnx.load_from_string(raw)
    same = onnx.load_from_string(remove_nodes(raw, lambda _: False).model)
    assert list(same.graph.node) == list(whole.graph.node), "cutting nothing changes nodes"
    assert same.graph.input == whole.graph.input and same.graph.output == whole.graph.output
    ffn = onnx.load_from_string(remove_nodes(raw, _REMOVED["ffn"]).model)
    assert [node for node in ffn.graph.node if ".ffn." in node.name] == []
    assert not any(".ffn." in one.name for one in ffn.graph.initializer), "weights of what is gone are still asked for"
    assert {one.name for one in ffn.graph.output} == {one.name for one in whole.graph.output}, "keys or values are lost"


def test_what_does_not_end_in_an_addition_is_not_cut() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["y"], name="layers.0.ffn.act|Relu|0"),
        helper.make_node("Neg", ["y"], ["z"], name="head|Neg|1"),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xz"]
    raw = helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:])).SerializeToString()
    with pytest.raises(EdgeError, match="'y' is used outside"):
        remove_nodes(raw, lambda name: ".ffn." in name)


@needs_zoo
def test_passes_without_sublayers_leave_the_engine_as_it_was() -> None:
    with edge.load("fable-relu", "onnx") as model:
        ids = np.array(example_ids(model.spec, 6), np.int64)

        def work(engine: OnnxEngine) -> tuple[int, set[str], set[int]]:
            engine.clear()
            engine.reserve(len(ids))
            engine.feed(ids[:5], edge.Watch.nothing())
            found = engine.feed_without(ids[5:], 2)
            return engine.fed, set(found), {len(pairs) for pairs in found.values()}

        assert model.with_engine(work) == (5, {"attn", "ffn", "layers"}, {2})  # type: ignore[arg-type]
