"""Fuses quantized projections with the same input into one product: query, key and value; gate and up.

Each quantized product first quantizes its input and distributes rows among threads. For a single token these steps take
long compared with the product. So matrices with equal quantization schemes are stacked, and their product is split.
"""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import onnx_ir as ir

from export.constants import constant
from export.layout import Layout, fused_groups
from export.operands import row_axis
from models.spec import DecoderSpec

_ATTENTION = "GroupQueryAttention"


def fuse_projections(model: ir.Model, spec: DecoderSpec, layout: Layout) -> None:
    """Replaces each group of products in `export.layout.fused_groups` with one product."""
    for stem, members in fused_groups(spec, layout).items():
        products = [_product(model.graph, member) for member in members]
        fused = _stacked(model.graph, stem, products)
        model.graph.insert_before(products[0], fused)
        if readers := _attention_inputs(products):
            _feed_attention(model.graph, fused, readers, products[0].attributes["rows"].as_int())
        else:
            _split(model.graph, fused, products)
        model.graph.remove(products, safe=True)
    ir.passes.common.RemoveUnusedNodesPass()(model)


def make_external(value: ir.Value) -> None:
    """Makes an initializer external, without data: the session receives its values."""
    assert value.dtype is not None and value.shape is not None
    value.const_value = ir.ExternalTensor("weights", 0, 0, value.dtype, shape=value.shape, name=str(value.name))


def _product(graph: ir.Graph, stem: str) -> ir.Node:
    """The product that uses this matrix."""
    (product,) = graph.initializers[f"{stem}.codes"].consumers()
    return product


def _stacked(graph: ir.Graph, stem: str, products: Sequence[ir.Node]) -> ir.Node:
    """One product with the stacked rows of several matrices."""
    first = products[0]
    inputs: list[ir.Value | None] = [first.inputs[0]]
    for parts in list(zip(*(product.inputs for product in products), strict=True))[1:]:
        inputs.append(None if parts[0] is None else _initializer(graph, stem, [part for part in parts if part]))
    attributes = {name: attribute.value for name, attribute in first.attributes.items()}
    attributes["rows"] = sum(product.attributes["rows"].as_int() for product in products)
    fused = ir.node(first.op_type, inputs, attributes, domain=first.domain, metadata_props=dict(first.metadata_props))
    fused.outputs[0].type = first.outputs[0].type
    return fused


def _initializer(graph: ir.Graph, stem: str, parts: Sequence[ir.Value]) -> ir.Value:
    """An initializer of stacked codes, scales, zeros, offsets or biases."""
    shapes = [part.shape.numpy() for part in parts if part.shape is not None]
    part = str(parts[0].name).rpartition(".")[2]
    sizes, axis = list(shapes[0]), row_axis(part)
    sizes[axis] = sum(shape[axis] for shape in shapes)
    stacked = ir.Value(name=f"{stem}.{part}", type=parts[0].type, shape=ir.Shape(sizes))
    make_external(stacked)
    graph.initializers.add(stacked)
    return stacked


def _only_reader(value: ir.Value) -> ir.Node | None:
    readers = value.consumers()
    return readers[0] if len(readers) == 1 and not value.is_graph_output() else None


def _attention_inputs(products: Sequence[ir.Node]) -> list[ir.Node]:
    """The reshapes of query, key and value for an attention that accepts them stacked, and the scaling of the query.

    Empty for other products.
    """
    reshapes = [node for product in products if (node := _only_reader(product.outputs[0])) is not None]
    if len(reshapes) != 3 or any(node.op_type != "Reshape" for node in reshapes):
        return []
    scaled = _only_reader(reshapes[0].outputs[0])
    attention = _only_reader(scaled.outputs[0]) if scaled is not None and scaled.op_type == "Mul" else None
    if scaled is None or attention is None or attention.op_type != _ATTENTION:
        return []
    taken = [scaled.outputs[0], *(node.outputs[0] for node in reshapes[1:])]
    return [*reshapes, scaled] if list(attention.inputs[:3]) == taken else []


def _feed_attention(graph: ir.Graph, fused: ir.Node, readers: Sequence[ir.Node], query_width: int) -> None:
    """Connects stacked query, key and value to their attention; scales only the query."""
    (query, _, _, scaled), width = readers, fused.attributes["rows"].as_int()
    attention, (_, scale) = scaled.outputs[0].consumers()[0], scaled.inputs
    assert scale is not None and scale.const_value is not None
    factors = np.ones(width, scale.const_value.numpy().dtype)
    factors[:query_width] = scale.const_value.numpy()
    reshaped = ir.node("Reshape", [fused.outputs[0], _constant(graph, np.array([1, -1, width]))])
    mixed = ir.node("Mul", [reshaped.outputs[0], _constant(graph, factors)])
    for node, like in ((reshaped, query), (mixed, scaled)):
        node.metadata_props.update(like.metadata_props)
        node.outputs[0].type = like.outputs[0].type
    graph.insert_before(attention, [reshaped, mixed])
    for place, value in enumerate((mixed.outputs[0], None, None)):
        attention.replace_input_with(place, value)
    graph.remove([scaled, *readers[:3]], safe=True)


def _split(graph: ir.Graph, fused: ir.Node, products: Sequence[ir.Node]) -> None:
    """Splits the fused product into the outputs of the original products."""
    sizes = _constant(graph, np.array([product.attributes["rows"].as_int() for product in products]))
    metadata = dict(fused.metadata_props)
    node = ir.node("Split", [fused.outputs[0], sizes], {"axis": -1}, num_outputs=len(products), metadata_props=metadata)
    graph.insert_after(fused, node)
    for product, part in zip(products, node.outputs, strict=True):
        part.type = product.outputs[0].type
        ir.convenience.replace_all_uses_with(product.outputs[0], part)


def _constant(graph: ir.Graph, numbers: np.ndarray) -> ir.Value:
    """A small initializer; equal constants share one."""
    kind = "sizes" if numbers.dtype == np.int64 else "factors"
    runs = [f"{number}x{len(list(equal))}" for number, equal in groupby(numbers.tolist())]
    return constant(graph, ".".join([kind, *runs]), numbers)
