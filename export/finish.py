"""What a freshly exported graph still needs: names that say where a node belongs, dimensions, and no notes."""

import re
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from export.names import Dims
from models.parts import OTHER, part_of_module

_BLOCK = re.compile(r"^(?:decoder\.)?(layers\.\d+)$")


def finish(model: ir.Model, opset: int, inputs: Mapping[str, Dims], outputs: Mapping[str, Dims]) -> None:
    """Names nodes and outputs, stamps dimensions, drops the exporter's notes, checks the opset."""
    if model.opset_imports[""] != opset:
        raise AssertionError(f"the graph asks for opset {model.opset_imports['']}, its kernels for {opset}")
    _name_nodes(model.graph)
    _drop_notes(model)
    _stamp(model.graph.inputs, inputs)
    _stamp(model.graph.outputs, outputs)
    model.graph.name = "decoder"


def _name_nodes(graph: ir.Graph) -> None:
    scopes: dict[ir.Node, str] = {}
    for number, node in enumerate(graph):
        scopes[node] = _scope(node, scopes)
        node.name = f"{scopes[node]}|{node.op_type}|{number}"


def _scope(node: ir.Node, scopes: Mapping[ir.Node, str]) -> str:
    """The part whose module made the node; what adds a sublayer's result to the stream counts with its last part."""
    modules = re.findall(r"'([^']*)'", node.metadata_props.get("pkg.torch.onnx.name_scopes", ""))
    for module in reversed(modules):
        if part := part_of_module(module):
            return part
    blocks = [found[1] for module in modules if (found := _BLOCK.match(module))]
    for value in reversed(node.inputs):
        made_by = value.producer() if value is not None else None
        scope = scopes.get(made_by, OTHER) if made_by is not None else OTHER
        if blocks and scope.startswith(f"{blocks[-1]}."):
            return scope
    return OTHER


def _drop_notes(model: ir.Model) -> None:
    """What the exporter noted on nodes and values: half of the file, and nothing the runtime reads."""
    for node in model.graph:
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
            value.shape = None
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    model.metadata_props.clear()
    model.graph.metadata_props.clear()


def _stamp(values: Sequence[ir.Value], planned: Mapping[str, Dims]) -> None:
    if len(set(values)) != len(planned):
        raise AssertionError(f"the graph has {len(set(values))} inputs or outputs, {len(planned)} were planned")
    for value, (name, dims) in zip(values, planned.items(), strict=True):
        value.name, value.shape = name, ir.Shape(dims)
