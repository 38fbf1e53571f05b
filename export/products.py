"""Expands Edge's operators for quantized matrices to those of ONNX Runtime: products, and rows of the embedding.

With offsets, a group's weights are `scale · (code - middle) + offset`. So a product is `MatMulNBits` with the middle as
zero, plus `sums @ offsets`, where `sums` are those of the input over each group. This is exact, and costs as much more
time as the offsets take bytes. `MatMulNBits` itself accepts zeros between codes, but is 24 times slower with them.

A matrix in two planes multiplies the input twice in one product: its columns are those of the high halves, then those
of the low ones. This takes as long as a dense product, where `MatMulNBits` of 8 bits takes at least 7 times as long.
"""

from itertools import count

import numpy as np
import onnx_ir as ir

from export.constants import constant
from export.names import DOMAIN
from export.operands import Operand
from export.steps import RUNTIME, Steps, release_domain, replace_node

PRODUCT, ROWS = "QuantizedProduct", "QuantizedRows"

PARTS = ("codes", "scales", "zeros", "offsets", "order")
"""The inputs of both operators after the first; absent ones are omitted. A product has a bias too."""


def attributes_of(operand: Operand, axes: int) -> dict[str, int]:
    """The attributes of both operators, for a first input with this number of axes."""
    return {
        "axes": axes,
        "rows": operand.shape[0],
        "columns": operand.columns,
        "padded": operand.padded,
        "bits": operand.bits,
        "block_size": operand.scheme.group,
        "planes": int(operand.has_planes),
        "accuracy": operand.accuracy,
    }


def expand_products(model: ir.Model) -> None:
    """Replaces every such operator of the main graph."""
    numbers = count()
    for node in [node for node in model.graph if node.domain == DOMAIN and node.op_type in (PRODUCT, ROWS)]:
        expansion = _Expansion(model.graph, node, Steps(str(node.outputs[0].name), numbers))
        result = expansion.product() if node.op_type == PRODUCT else expansion.rows()
        replace_node(model.graph, node, expansion.steps.nodes, result)
        model.opset_imports.setdefault(RUNTIME, 1)
    release_domain(model, DOMAIN)


class _Expansion:
    """One operator's expansion.

    Attributes:
        steps: The nodes that replace it.
    """

    def __init__(self, graph: ir.Graph, node: ir.Node, steps: Steps) -> None:
        self.steps, self._graph = steps, graph
        attributes = {name: attribute.as_int() for name, attribute in node.attributes.items()}
        self._axes, self._columns, self._padded = (attributes[name] for name in ("axes", "columns", "padded"))
        self._group, self._rows, self._accuracy = (attributes[name] for name in ("block_size", "rows", "accuracy"))
        self._has_planes = bool(attributes["planes"])
        self._format = {"bits": attributes["bits"], "block_size": self._group}
        inputs = [*node.inputs, *[None] * 7]
        self._given, self._codes, self._scales, self._zeros, self._offsets, self._order, self._bias = inputs[:7]

    def product(self) -> ir.Value:
        """(…, row): the input times the transposed matrix, plus the bias."""
        steps, given, columns = self.steps, self._given, self._columns
        if self._order is not None:
            given = steps.add("Gather", given, self._order, axis=-1)
        x = given
        if self._has_planes:
            if columns < self._padded:
                x = steps.add("Pad", x, self._whole([0, self._padded - columns]), None, self._whole([-1]))
            x, columns = steps.add("Concat", x, x, axis=-1), 2 * self._padded
        inputs = (x, self._codes, self._scales, self._zeros, None, self._bias)
        attributes = {"K": columns, "N": self._rows, "accuracy_level": self._accuracy} | self._format
        product = steps.add("MatMulNBits", *_without_end(inputs), domain=RUNTIME, **attributes)
        if self._offsets is None:
            return product
        grouped = steps.add("Reshape", given, self._whole([*[0] * (self._axes - 1), -1, self._group]))
        sums = steps.add("ReduceSum", grouped, self._whole([-1]), keepdims=0)
        return steps.add("Add", product, steps.add("MatMul", sums, self._offsets))

    def rows(self) -> ir.Value:
        """(…, column): the rows with the given indices, dequantized."""
        steps = self.steps
        inputs = _without_end((self._codes, self._given, self._scales, self._zeros))
        axes = {"gather_axis": 0, "quantize_axis": 1}
        rows = steps.add("GatherBlockQuantized", *inputs, domain=RUNTIME, **axes, **self._format)
        if self._has_planes:
            rows = steps.add("Add", *steps.add_many(2, "Split", rows, axis=-1, num_outputs=2))
        if self._offsets is not None:
            rows = self._with_offsets(rows)
        if self._order is not None:
            rows = steps.add("Gather", rows, self._order, axis=-1)
        if self._columns < self._padded:
            rows = steps.add("Slice", rows, self._whole([0]), self._whole([self._columns]), self._whole([-1]))
        return rows

    def _with_offsets(self, rows: ir.Value) -> ir.Value:
        """Rows plus the offset of each of their groups."""
        steps, first, last = self.steps, [0] * self._axes, self._whole([-1])
        groups = self._padded // self._group
        # The offsets are (group, row), since the product reads them too.
        chosen = steps.add("Gather", self._offsets, self._given, axis=1)
        by_group = steps.add("Unsqueeze", steps.add("Transpose", chosen, perm=[*range(1, self._axes + 1), 0]), last)
        grouped = steps.add("Reshape", rows, self._whole([*first, groups, self._group]))
        return steps.add("Reshape", steps.add("Add", grouped, by_group), self._whole([*first, self._padded]))

    def _whole(self, numbers: list[int]) -> ir.Value:
        """A small initializer; equal ones are shared."""
        text = "_".join(str(number) for number in numbers)
        return constant(self._graph, f"sizes.{text}", np.array(numbers, np.int64))


def _without_end(inputs: tuple[ir.Value | None, ...]) -> tuple[ir.Value | None, ...]:
    """The inputs of an operator without absent ones at the end."""
    last = max(place for place, value in enumerate(inputs) if value is not None)
    return inputs[: last + 1]
