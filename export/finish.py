"""Post-processes an exported graph: names nodes by their part, sets dimensions, removes metadata."""

import re
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from export.names import Dims
from models.parts import OTHER, TimedParts

_BLOCK = re.compile(r"^(?:decoder\.)?(layers\.\d+)$")


def finish(
    model: ir.Model, parts: TimedParts, opset: int, inputs: Mapping[str, Dims], outputs: Mapping[str, Dims]
) -> None:
    """Names nodes and outputs, sets dimensions, removes the exporter's metadata, checks the opset."""
    if model.opset_imports[""] != opset:
        raise AssertionError(f"the graph needs opset {model.opset_imports['']}, its kernels for {opset}")
    _name_nodes(model.graph, parts)
    _drop_metadata(model)
    _set_dims(model.graph.inputs, inputs)
    _set_dims(model.graph.outputs, outputs)
    model.graph.name = "decoder"


def _name_nodes(graph: ir.Graph, parts: TimedParts) -> None:
    scopes: dict[ir.Node, str] = {}
    for number, node in enumerate(graph):
        scopes[node] = _scope(node, parts, scopes)
        node.name = f"{scopes[node]}|{node.op_type}|{number}"


def _scope(node: ir.Node, parts: TimedParts, scopes: Mapping[ir.Node, str]) -> str:
    """The part whose module created the node. The residual addition belongs to the last part of its sublayer."""
    modules = re.findall(r"'([^']*)'", node.metadata_props.get("pkg.torch.onnx.name_scopes", ""))
    for module in reversed(modules):
        if part := parts.of_module(module):
            return part
    blocks = [found[1] for module in modules if (found := _BLOCK.match(module))]
    for value in reversed(node.inputs):
        producer = value.producer() if value is not None else None
        scope = scopes.get(producer, OTHER) if producer is not None else OTHER
        if blocks and scope.startswith(f"{blocks[-1]}."):
            return scope
    return OTHER


def _drop_metadata(model: ir.Model) -> None:
    """Removes metadata of nodes and values: half of the file, not read by the runtime."""
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


def _set_dims(values: Sequence[ir.Value], planned: Mapping[str, Dims]) -> None:
    if len(set(values)) != len(planned):
        raise AssertionError(f"the graph has {len(set(values))} inputs or outputs, {len(planned)} were planned")
    for value, (name, dims) in zip(values, planned.items(), strict=True):
        value.name, value.shape = name, ir.Shape(dims)
