"""Names that outlive the exporter: nodes carry their scope, outputs their name and dimensions.

ONNX Runtime's profile keeps node names and drops metadata, so a node is called `layers.3.ffn.up|MatMul|2`
before a session is made: part, operator, and a number within the graph.
"""

import re

from models.parts import OTHER

Dims = tuple[str | int, ...]
"""Sizes of an array's axes; a named one varies."""

OPSET = 23
"""The first with Attention and RMSNormalization: the lowest for which ONNX Runtime has a kernel for every node."""

SCATTER_OPSET = 24
"""The first with TensorScatter, and the last whose Attention has a kernel: above it one node becomes about eighty."""

OLDEST_RUNTIME = {OPSET: "1.23", SCATTER_OPSET: "1.24"}
"""The first ONNX Runtime that opens graphs of each opset; the ones before refuse it."""

NEUTRAL = {"scale": 1.0, "shift": 0.0}
"""The two inputs that change a site, and the value of each that leaves it as it is."""


def change_name(site: str, part: str) -> str:
    """`layers.3.ffn.neurons.scale`: an input of `edit`."""
    return f"{site}.{part}"


_IN_NAME = re.compile(r"\b(embed|head|other|layers\.\d+\.(?:attn|ffn)\.\w+)\|")


def part_of_node(node_name: str) -> str:
    """The part in a node's name; a node that the runtime fused keeps the name of one it replaced."""
    found = _IN_NAME.search(node_name)
    return found[1] if found else OTHER
