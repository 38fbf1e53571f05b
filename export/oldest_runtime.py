"""The oldest ONNX Runtime that opens some graphs: their opset needs one, and so do some of their operators."""

from collections.abc import Iterable
from pathlib import Path

from export.names import OLDEST_OPERATOR, OLDEST_RUNTIME


def oldest_runtime(opset: int, files: Iterable[Path]) -> str:
    """The oldest release for graphs of an opset. Operators inside loops count too."""
    import onnx_ir as ir

    operators = {node.op_type for file in files for node in ir.load(file).graph.all_nodes()}
    needed = [OLDEST_RUNTIME[opset], *(OLDEST_OPERATOR[operator] for operator in operators & OLDEST_OPERATOR.keys())]
    return max(needed, key=release)


def release(version: str) -> tuple[int, ...]:
    """`1.31.0` in an order: `(1, 31)`."""
    return tuple(int(part) for part in version.split(".")[:2])
