"""Expands Edge's operators for experts: a `Loop` over the experts that some token chose, each with its tokens only.

Pairs of token and slot are sorted by expert. Each expert multiplies the rows of its pairs and appends the products to a
sequence; the joined sequence is put back in order. An expert that no token chose costs nothing: its matrix is not read.
Nodes inside a loop are named `inside|Gemm|7`, since their time is part of the loop's.
"""

from collections.abc import Callable, Iterator
from itertools import count

import numpy as np
import onnx_ir as ir

from export.constants import constant
from export.experts import ABOVE, NEURONS, OUTPUTS
from export.names import DOMAIN
from export.operands import ROUNDS
from export.steps import RUNTIME, Steps, release_domain, replace_node
from models.precision import Scheme, Zero
from models.quantized import groups_of
from models.spec import Activation

_LARGEST = 127.0
"""The largest number of 8 bits."""


def expand_experts(model: ir.Model) -> None:
    """Replaces every such operator of the main graph. Products with quantized matrices need ONNX Runtime's domain."""
    graph, numbers = model.graph, count()
    for node in [node for node in graph if node.domain == DOMAIN and node.op_type in (NEURONS, OUTPUTS)]:
        expansion = _Expansion(graph, node, numbers)
        result = expansion.neurons() if node.op_type == NEURONS else expansion.outputs()
        replace_node(graph, node, expansion.steps.nodes, result)
        if "bits" in node.attributes:
            model.opset_imports.setdefault(RUNTIME, 1)
    release_domain(model, DOMAIN)


class _Expansion:
    """One operator's expansion.

    Attributes:
        steps: The nodes that replace it.
    """

    def __init__(self, graph: ir.Graph, node: ir.Node, numbers: Iterator[int]) -> None:
        self._graph, self._node = graph, node
        self.steps = Steps(str(node.outputs[0].name), numbers)
        self._slots, self._rows = (node.attributes[name].as_int() for name in ("slots", "rows"))
        inputs = [*node.inputs, *[None] * 8]
        self._matrix, self._scales, self._zeros, self._offsets, self._order, self._bias = inputs[2:8]
        kind = inputs[0].dtype if inputs[0] is not None else None
        self._kind = kind or ir.DataType.FLOAT

    def neurons(self) -> ir.Value:
        """(token, slot, neuron) of each token's chosen experts."""
        chosen = self._node.inputs[1]
        x = self._rounded(self._in_order(self._node.inputs[0]))
        attributes, slots = self._node.attributes, self._whole(self._slots)
        gated, activation = bool(attributes["gated"].as_int()), Activation(attributes["activation"].as_string())
        limit = attributes["limit"].as_float() if "limit" in attributes else None
        width = self._rows // 2 if gated else self._rows

        def computed(inside: Steps, pairs: ir.Value, expert: ir.Value) -> ir.Value:
            rows = inside.add("Gather", x, inside.add("Div", pairs, slots))
            product = self._product(inside, rows, expert)
            if not gated:
                return _activated(inside, product, activation)
            # Not two gathers: the runtime fuses those into nodes whose names say nothing.
            by_neuron, axis = inside.add("Reshape", product, self._whole([-1, width, 2])), self._whole([2])
            halves = inside.add_many(2, "Split", by_neuron, axis=2, num_outputs=2)
            gate, up = (inside.add("Squeeze", half, axis) for half in halves)
            if limit is None:
                return inside.add("Mul", _activated(inside, gate, activation), up)
            return self._clamped(inside, gate, up, limit, attributes["slope"].as_float())

        return self.steps.add("Reshape", self._by_expert(chosen, computed), self._whole([-1, self._slots, width]))

    def outputs(self) -> ir.Value:
        """(token, model): the sum over slots of weighted outputs."""
        neurons, chosen, weights = (self._node.inputs[at] for at in (0, 1, 8))
        pair_neurons = self._rounded(self._in_order(self.steps.add("Flatten", neurons, axis=2)))

        def computed(inside: Steps, pairs: ir.Value, expert: ir.Value) -> ir.Value:
            return self._product(inside, inside.add("Gather", pair_neurons, pairs), expert)

        steps, one = self.steps, self._whole([1])
        values = steps.add("Reshape", self._by_expert(chosen, computed), self._whole([-1, self._slots, self._rows]))
        summed = steps.add("MatMul", steps.add("Unsqueeze", weights, one), values)
        return steps.add("Squeeze", summed, one)

    def _by_expert(
        self, chosen: ir.Value | None, computed: Callable[[Steps, ir.Value, ir.Value], ir.Value]
    ) -> ir.Value:
        """(pair, number): what is computed for each pair of token and slot, one chosen expert after the other.

        Args:
            computed: Adds nodes that compute the numbers of one expert's pairs, from their indices and its index.
        """
        steps = self.steps
        pairs = steps.add("Reshape", chosen, self._whole([-1]))
        experts, _, _, counts = steps.add_many(4, "Unique", pairs, sorted=1)
        ends = steps.add("CumSum", counts, self._whole(0))
        starts, n_pairs = steps.add("Sub", ends, counts), steps.add("Shape", pairs)
        order = _sorting(steps, pairs, n_pairs)
        body = self._body(computed, experts, starts, ends, order)
        empty = steps.add("SequenceEmpty", dtype=int(self._kind))
        (results,) = steps.add_many(1, "Loop", steps.add("Size", experts), None, empty, body=body)
        joined = steps.add("ConcatFromSequence", results, axis=0)
        return steps.add("Gather", joined, _sorting(steps, order, n_pairs))

    def _body(
        self,
        computed: Callable[[Steps, ir.Value, ir.Value], ir.Value],
        experts: ir.Value,
        starts: ir.Value,
        ends: ir.Value,
        order: ir.Value,
    ) -> ir.Graph:
        """The graph of one turn: the next chosen expert computes its pairs."""
        inside, axis, scalar = self.steps.inner(), self._whole([0]), ir.Shape(())
        turn = ir.Value(name=f"{inside.stem}.turn", type=ir.TensorType(ir.DataType.INT64), shape=scalar)
        going = ir.Value(name=f"{inside.stem}.going", type=ir.TensorType(ir.DataType.BOOL), shape=scalar)
        before = ir.Value(name=f"{inside.stem}.before", type=ir.SequenceType(ir.TensorType(self._kind)))
        at = inside.add("Unsqueeze", turn, axis)
        start, end = (inside.add("Gather", bounds, at) for bounds in (starts, ends))
        own = inside.add("Slice", order, start, end, axis)
        after = inside.add("SequenceInsert", before, computed(inside, own, inside.add("Gather", experts, turn)))
        goes_on = inside.add("Identity", going)
        after.type, goes_on.type = before.type, going.type
        return ir.Graph([turn, going, before], [goes_on, after], nodes=inside.nodes, name=inside.stem)

    def _product(self, inside: Steps, rows: ir.Value, expert: ir.Value) -> ir.Value:
        """(pair, row): rows of numbers times one expert's transposed matrix, plus its bias."""
        bias = None if self._bias is None else inside.add("Gather", self._bias, expert)
        attributes = self._node.attributes
        if "bits" not in attributes:
            return inside.add("Gemm", rows, inside.add("Gather", self._matrix, expert), bias, transB=1)
        bits, group = (attributes[name].as_int() for name in ("bits", "block_size"))
        scheme = Scheme(bits, group, Zero(attributes["zero"].as_string()))
        columns = attributes["columns"].as_int()
        grouping = {"bits": scheme.bits, "block_size": scheme.group}
        if _dequantizes_one(scheme, columns):
            parts, axes = (self._matrix, expert, self._scales, self._zeros), {"gather_axis": 0, "quantize_axis": 2}
            matrix = inside.add("GatherBlockQuantized", *parts, domain=RUNTIME, **axes, **grouping)
            product = inside.add("Gemm", rows, matrix, bias, transB=1)
            return product if self._offsets is None else self._with_offsets(inside, product, rows, expert, group)
        codes, scales, zeros = (
            part and inside.add("Gather", part, expert) for part in (self._matrix, self._scales, self._zeros)
        )
        codes = inside.add("Reshape", codes, self._whole([self._rows, groups_of(columns, scheme), -1]))
        grouping |= {"K": columns, "N": self._rows}
        return inside.add("MatMulNBits", rows, codes, scales, zeros, None, bias, domain=RUNTIME, **grouping)

    def _with_offsets(self, inside: Steps, product: ir.Value, rows: ir.Value, expert: ir.Value, group: int) -> ir.Value:
        """Adds the offsets of one expert, each times the sum of its group of the input, as in `export.products`."""
        grouped = inside.add("Reshape", rows, self._whole([0, -1, group]))
        sums = inside.add("ReduceSum", grouped, self._whole([-1]), keepdims=0)
        return inside.add("Gemm", sums, inside.add("Gather", self._offsets, expert), product)

    def _in_order(self, rows: ir.Value | None) -> ir.Value | None:
        """Rows of numbers in the order in which columns are stored."""
        return rows if self._order is None else self.steps.add("Gather", rows, self._order, axis=-1)

    def _rounded(self, rows: ir.Value | None) -> ir.Value | None:
        """Rows of numbers, rounded to 8 bits in groups if the accuracy says so: as products of constant codes do.

        Products inside a loop do not: their codes are gathered, and such products use the numbers as they are.
        """
        attributes, steps = self._node.attributes, self.steps
        if "accuracy" not in attributes or attributes["accuracy"].as_int() != ROUNDS:
            return rows
        groups = attributes["columns"].as_int() // attributes["block_size"].as_int()
        grouped = steps.add("Reshape", rows, self._whole([0, groups, -1]))
        largest = steps.add("ReduceMax", steps.add("Abs", grouped), self._whole([2]))
        smallest = float(np.finfo(self._kind.numpy()).tiny)
        scale = steps.add("Max", steps.add("Div", largest, self._number(_LARGEST)), self._number(smallest))
        codes = steps.add("Round", steps.add("Div", grouped, scale))
        return steps.add("Flatten", steps.add("Mul", codes, scale))

    def _clamped(self, inside: Steps, gate: ir.Value, up: ir.Value, limit: float, slope: float) -> ir.Value:
        """(pair, neuron) of clamped experts."""
        low, high = self._number(-limit), self._number(limit)
        gate, up = inside.add("Clip", gate, None, high), inside.add("Clip", up, low, high)
        share = inside.add("Sigmoid", inside.add("Mul", gate, self._number(slope)))
        return inside.add("Mul", inside.add("Mul", gate, share), inside.add("Add", up, self._number(ABOVE)))

    def _whole(self, numbers: int | list[int]) -> ir.Value:
        return self._constant(np.array(numbers, np.int64))

    def _number(self, number: float) -> ir.Value:
        return self._constant(np.array(number, self._kind.numpy()))

    def _constant(self, numbers: np.ndarray) -> ir.Value:
        """A small initializer of the main graph; equal constants share one."""
        text = "_".join(str(number) for number in numbers.flatten().tolist())
        return constant(self._graph, f"experts.{numbers.dtype}.{numbers.ndim}.{text}", numbers)


def _sorting(steps: Steps, values: ir.Value, n_values: ir.Value) -> ir.Value:
    """The indices that sort some values. For a permutation this is the inverse."""
    return steps.add_many(2, "TopK", values, n_values, axis=0, largest=0, sorted=1)[1]


def _activated(steps: Steps, value: ir.Value, activation: Activation) -> ir.Value:
    """An activation function as standard operators."""
    match activation:
        case Activation.RELU:
            return steps.add("Relu", value)
        case Activation.RELU2:
            positive = steps.add("Relu", value)
            return steps.add("Mul", positive, positive)
        case Activation.GELU:
            return steps.add("Gelu", value)
        case Activation.GELU_TANH:
            return steps.add("Gelu", value, approximate="tanh")
        case Activation.SILU:
            return steps.add("Mul", value, steps.add("Sigmoid", value))


def _dequantizes_one(scheme: Scheme, columns: int) -> bool:
    """Whether one operator can gather and dequantize a matrix, which is faster than a product with gathered codes.

    It does not support padded rows. Up to ONNX Runtime 1.26 it read wrong zero points of 4 bits from rows with an odd
    number of groups.
    """
    odd = scheme.bits == 4 and groups_of(columns, scheme) % 2 == 1
    return columns % scheme.group == 0 and not (scheme.zero is Zero.WHOLE and odd)
