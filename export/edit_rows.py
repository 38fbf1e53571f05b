"""Edits of neurons of experts: the rows of an edit that belong to the experts that each token chose."""

import numpy as np
import onnx_ir as ir

from export.constants import constant


def rows_of_edit(graph: ir.Graph, mark: ir.Node, operand: ir.Value) -> ir.Value:
    """(token, slot, neuron) from an edit (token, expert, neuron) and the chosen experts, the second input of a mark.

    Each axis of the edit has its full size or 1.
    """
    chosen = mark.inputs[1]

    def add(operator: str, *inputs: ir.Value | None, **attributes: int) -> ir.Value:
        node = ir.node(operator, inputs, attributes, metadata_props=mark.metadata_props)
        graph.insert_before(mark, node)
        return node.outputs[0]

    def whole(*numbers: int) -> ir.Value:
        name = f"edit.{len(numbers)}.{'_'.join(map(str, numbers))}"
        return constant(graph, name, np.array(numbers, np.int64))

    tokens, experts = (add("Shape", operand, start=at, end=at + 1) for at in (0, 1))
    n_tokens = add("Squeeze", add("Shape", chosen, start=0, end=1), whole(0))
    zero, one = (add("Squeeze", whole(number), whole(0)) for number in (0, 1))
    token = add("Min", add("Range", zero, n_tokens, one), add("Sub", tokens, whole(1)))
    expert = add("Min", chosen, add("Sub", experts, whole(1)))
    row = add("Add", add("Mul", add("Unsqueeze", token, whole(1)), experts), expert)
    flat = add("Reshape", operand, add("Concat", whole(-1), add("Shape", operand, start=2, end=3), axis=0))
    return add("Gather", flat, row, axis=0)
