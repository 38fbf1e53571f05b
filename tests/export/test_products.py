"""Products with quantized matrices, and rows of embeddings, are those with the dequantized matrices."""

from functools import cache

import numpy as np
import onnx_ir as ir
import pytest

from export.constants import constant
from export.layout import layout_of
from export.names import DOMAIN, OPSET
from export.onnx_runtime import ort
from export.operands import Operand, in_graphs
from export.products import PARTS, PRODUCT, ROWS, attributes_of, expand_products
from export.widened import values_of
from models.errors import CheckpointError
from models.precision import Scheme, Zero
from models.quantized import QuantizedMatrix
from tests.quantized_matrices import SCHEMES, error_of, quantized_checkpoint, random_matrix
from tests.tiny import TINY_SPECS, tiny_weights

HEIGHT, WIDE, NARROW = 24, 256, 72
"""Sizes of the matrices. The narrow ones end in a group that is not full."""

X = np.random.default_rng(0).normal(size=(5, WIDE)).astype(np.float32)
BIAS = np.arange(HEIGHT, dtype=np.float32)
IDS = np.array([3, 0, 23, 3, 7])


def _is_padded(scheme: Scheme) -> bool:
    """Whether rows of matrices in this scheme may end in a group that is not full."""
    return scheme.zero is not Zero.OFFSET and not scheme.ordered


CASES = [(scheme, WIDE) for scheme in SCHEMES] + [(scheme, NARROW) for scheme in SCHEMES if _is_padded(scheme)]
MATRICES = [random_matrix(scheme, HEIGHT, columns, seed) for seed, (scheme, columns) in enumerate(CASES)]


def _node(graph: ir.Graph, operator: str, given: ir.Value, matrix: QuantizedMatrix, accuracy: int, place: int) -> None:
    """Adds the product with a matrix, or its rows, as an output."""
    operand = Operand(
        "embed.weight" if operator == ROWS else "m.weight", matrix.shape, in_graphs(matrix.scheme), accuracy
    )
    parts, stem = values_of(operand, matrix), f"{operator}.{place}"
    inputs = [_initializer(graph, f"{stem}.{part}", parts[part]) if part in parts else None for part in PARTS]
    if operator == PRODUCT:
        inputs.append(_initializer(graph, f"{stem}.bias", BIAS) if place % 2 else None)
    if operator == PRODUCT and matrix.columns < WIDE:
        bounds = [
            _initializer(graph, f"{stem}.{name}", np.array([at]))
            for name, at in (("start", 0), ("end", matrix.columns), ("axis", -1))
        ]
        cut = ir.node("Slice", [given, *bounds], name=f"{stem}.cut")
        graph.append(cut)
        given = cut.outputs[0]
    axes = graph.inputs[0].shape.rank() - (operator == ROWS)
    node = ir.node(operator, [given, *inputs], attributes_of(operand, axes), domain=DOMAIN, name=stem)
    node.outputs[0].name, node.outputs[0].type = stem, ir.TensorType(ir.DataType.FLOAT)
    graph.append(node)
    graph.outputs.append(node.outputs[0])


def _initializer(graph: ir.Graph, name: str, values: np.ndarray) -> ir.Value:
    return constant(graph, name, np.array(values))


@cache
def results(accuracy: int, batched: bool = False) -> list[np.ndarray]:
    """The product with each matrix, and rows of each: all in one graph."""
    batch = ("batch",) if batched else ()
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([*batch, "token", WIDE]))
    ids = ir.Value(name="ids", type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([*batch, "token"]))
    graph = ir.Graph([x, ids], [], nodes=[], name="products", opset_imports={"": OPSET, DOMAIN: 1})
    for place, matrix in enumerate(MATRICES):
        _node(graph, PRODUCT, x, matrix, accuracy, place)
        _node(graph, ROWS, ids, matrix, accuracy, place)
    model = ir.Model(graph, ir_version=10)
    expand_products(model)
    assert set(model.opset_imports) == {"", "com.microsoft"}
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": X[None] if batched else X, "ids": IDS[None] if batched else IDS})
    return [value[0] for value in found] if batched else list(found)


def _bias(place: int) -> np.ndarray:
    return BIAS if place % 2 else np.zeros_like(BIAS)


@pytest.mark.parametrize("batched", [False, True], ids=["tokens", "batches"])
@pytest.mark.parametrize("accuracy", [0, 1])
def test_products_of_every_scheme_are_exact(accuracy: int, batched: bool) -> None:
    found = results(accuracy, batched)[0::2]
    for place, (matrix, product) in enumerate(zip(MATRICES, found, strict=True)):
        extended = np.concatenate([matrix.dense(), _bias(place)[:, None].astype(np.float32)], axis=1)
        x = np.concatenate([X[:, : matrix.columns], np.ones((len(X), 1), np.float32)], axis=1)
        assert error_of(product, x, extended) < 1e-6, f"{matrix.scheme} with {matrix.columns} columns"


@pytest.mark.parametrize("accuracy", [0, 4])
def test_rows_of_every_scheme_are_exact(accuracy: int) -> None:
    for matrix, rows in zip(MATRICES, results(accuracy)[1::2], strict=True):
        wanted = matrix.dense()[IDS]
        largest = np.abs(matrix.dense()).max()
        assert rows.shape == wanted.shape and np.abs(rows - wanted).max() < 3e-7 * largest, str(matrix.scheme)


def test_products_that_round_their_input_are_as_near_as_its_rounding() -> None:
    """A group of the input is rounded to 8 bits, and multiplied with what a weight is beside the offset."""
    for place, (matrix, product) in enumerate(zip(MATRICES, results(4)[0::2], strict=True)):
        x = X[:, : matrix.columns].astype(np.float64)
        wanted = x @ matrix.dense().T + _bias(place)
        bound = _rounding_bound(matrix, x)
        error = np.abs(product - wanted)
        assert (error <= bound).all(), f"{matrix.scheme}: {(error / bound).max():.2f} of what rounding explains"
        assert error.max() > 1e-3 * bound.max(), f"{matrix.scheme}: the input is not rounded"


def _rounding_bound(matrix: QuantizedMatrix, x: np.ndarray) -> np.ndarray:
    """The largest errors: half a step of each input times the weight without its offset from the middle code."""
    middle = {Zero.OFFSET: matrix.group_offsets() + 2 ** (matrix.scheme.bits - 1) * matrix.scales}
    centers = np.repeat(middle.get(matrix.scheme.zero, np.zeros_like(matrix.scales)), matrix.scheme.group, axis=1)
    order = np.arange(matrix.columns) if matrix.order is None else matrix.order
    weights = np.abs(matrix.dense()[:, order] - centers[:, : matrix.columns])
    groups, padding = matrix.scales.shape[1], matrix.scales.shape[1] * matrix.scheme.group - matrix.columns
    grouped = np.pad(x[:, order], ((0, 0), (0, padding))).reshape(len(x), groups, -1)
    steps = np.abs(grouped).max(axis=-1) / 127 / 2
    by_column = np.repeat(steps, matrix.scheme.group, axis=1)[:, : matrix.columns]
    return by_column @ weights.T * 1.01 + 1e-6 * (
        np.abs(x[:, order]) @ (weights + np.abs(centers[:, : matrix.columns])).T
    )


@pytest.mark.parametrize("scheme", [Scheme(4, 64, Zero.OFFSET), Scheme(4, 64, Zero.MIDDLE, ordered=True)], ids=str)
def test_a_matrix_with_offsets_or_an_order_has_whole_groups(scheme: Scheme) -> None:
    spec, name = TINY_SPECS["llama-shared-heads-tied"], "layers.0.attn.out.weight"
    weights = tiny_weights(spec, 0)
    checkpoint = quantized_checkpoint(spec, weights, {name: random_matrix(scheme, *weights[name].shape, 0)})
    with pytest.raises(CheckpointError, match=r"'layers.0.attn.out' of .* has 32 columns, which groups of 64"):
        layout_of(checkpoint)
