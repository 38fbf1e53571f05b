"""Nodes that replace one node of a graph, collected in order."""

from collections.abc import Iterator, Sequence

import onnx_ir as ir

from export.names import INSIDE

RUNTIME = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""

Attribute = int | str | list[int] | ir.Graph


class Steps:
    """Collects nodes in order. Values get unique names, since a graph inside another shares its names."""

    def __init__(self, stem: str, numbers: Iterator[int], prefix: str = "") -> None:
        self.nodes: list[ir.Node] = []
        self.stem, self._numbers, self._prefix = stem, numbers, prefix

    def add(self, operator: str, *inputs: ir.Value | None, domain: str = "", **attributes: Attribute) -> ir.Value:
        """Adds a node; returns its output."""
        return self.add_many(1, operator, *inputs, domain=domain, **attributes)[0]

    def add_many(
        self,
        n_outputs: int,
        operator: str,
        *inputs: ir.Value | None,
        domain: str = "",
        **attributes: Attribute,
    ) -> Sequence[ir.Value]:
        """Adds a node; returns all its outputs."""
        number = next(self._numbers)
        made = [ir.Value(name=f"{self.stem}.{number}.{at}") for at in range(n_outputs)]
        name = f"{self._prefix}|{operator}|{number}" if self._prefix else None
        self.nodes.append(ir.node(operator, inputs, attributes, domain=domain, outputs=made, name=name))
        return made

    def inner(self) -> "Steps":
        """Nodes of a graph inside."""
        return Steps(f"{self.stem}.{INSIDE}", self._numbers, INSIDE)


def replace_node(graph: ir.Graph, node: ir.Node, nodes: Sequence[ir.Node], result: ir.Value) -> None:
    """Puts new nodes in the place of `node`. They keep its metadata of the scope in the decoder."""
    replaced = node.outputs[0]
    result.type, result.shape = replaced.type, replaced.shape
    for new in nodes:
        new.metadata_props.update(node.metadata_props)
    graph.insert_before(node, nodes)
    ir.convenience.replace_all_uses_with(replaced, result, replace_graph_outputs=True)
    graph.remove(node, safe=True)


def release_domain(model: ir.Model, domain: str) -> None:
    """Removes a domain from the model's imports if no node uses it."""
    if not any(node.domain == domain for node in model.graph):
        model.opset_imports.pop(domain, None)
