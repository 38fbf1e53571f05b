"""Graphs of the tiny specs, each traced once a test run."""

from functools import cache

import onnx
import onnx_ir as ir

from export.graphs import build
from tests.tiny import TINY_SPECS


@cache
def built(name: str, graph: str) -> onnx.ModelProto:
    """One graph of one of `TINY_SPECS`."""
    return ir.to_proto(build(TINY_SPECS[name], graph))
