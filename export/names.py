"""Names of nodes and inputs in graphs.

ONNX Runtime's profile has node names but no metadata. So a node is named `layers.3.attn.out|MatMul|2`: part, operator,
and number within the graph.
"""

import re

from models.parts import OTHER

Dims = tuple[str | int, ...]
"""Sizes of an array's axes; a named axis is dynamic."""

OPSET = 23
"""The first opset with Attention and RMSNormalization, and the lowest with an ONNX Runtime kernel for every node."""

SCATTER_OPSET = 24
"""The first opset with TensorScatter, and the last with a kernel for Attention; later ones expand it to 80 nodes."""

OLDEST_RUNTIME = {OPSET: "1.23", SCATTER_OPSET: "1.25"}
"""The oldest ONNX Runtime that opens graphs of each opset: 1.24 knows TensorScatter, and has no kernel for it."""

OLDEST_OPERATOR = {"QMoE": "1.31"}
"""The oldest ONNX Runtime that opens graphs with these operators; all others are as old as the opset."""

NEUTRAL = {"scale": 1.0, "shift": 0.0}
"""The two inputs that edit a site, with their neutral values."""


def change_name(site: str, part: str) -> str:
    """Name of an input of `edit`, such as `layers.3.attn.heads.scale`."""
    return f"{site}.{part}"


DOMAIN = "edge"
"""The domain of operators that a traced graph has until it is finished."""

INSIDE = "inside"
"""First word in the names of nodes inside a loop: `inside|Gemm|7`. Their time is part of the loop's own."""

_INSIDE = re.compile(rf"\b{INSIDE}\|")

_IN_NAME = re.compile(r"\b(embed|head|other|layers\.\d+\.\w+\.\w+)\|")


def part_of_node(node_name: str) -> str:
    """The part in a node's name. A fused node has the name of one of the nodes that it replaced."""
    match = _IN_NAME.search(node_name)
    return match[1] if match else OTHER


def is_inside(node_name: str) -> bool:
    """Whether a node is inside a loop."""
    return _INSIDE.search(node_name) is not None
