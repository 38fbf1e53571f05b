"""Graphs of the tiny specs, each traced once a test run."""

from functools import cache

import onnx
import onnx_ir as ir

from export.graphs import builds
from tests.tiny import TINY_SPECS

_ALIKE = ("probe", "edit")


@cache
def _traced(name: str, graphs: tuple[str, ...]) -> dict[str, onnx.ModelProto]:
    models = builds(TINY_SPECS[name], graphs)
    return {graph: ir.to_proto(model) for graph, model in zip(graphs, models, strict=True)}


def built(name: str, graph: str) -> onnx.ModelProto:
    """One graph of one of `TINY_SPECS`."""
    return _traced(name, _ALIKE if graph in _ALIKE else (graph,))[graph]
