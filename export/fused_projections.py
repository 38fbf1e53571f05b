"""Products that read the same rows, joined into one: query, key and value; gate and up.

Every product in few bits first rounds what it reads, and shares its rows out among threads. For a single token both
take long beside the product itself, so matrices that are quantized alike are stacked, and their product is split.
"""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import onnx_ir as ir

from export.layout import Layout, fused_groups

_ATTENTION = "GroupQueryAttention"


def fuse_projections(model: ir.Model, layout: Layout) -> None:
    """Puts one product in place of those that `export.layout.fused_groups` names together."""
    for stem, members in fused_groups(layout).items():
        products = [_product(model.graph, member) for member in members]
        joined = _stacked(model.graph, stem, products)
        model.graph.insert_before(products[0], joined)
        if readers := _read_at_once(products):
            _feed_attention(model.graph, joined, readers, products[0].attributes["N"].as_int())
        else:
            _split(model.graph, joined, products)
        model.graph.remove(products, safe=True)
    ir.passes.common.RemoveUnusedNodesPass()(model)


def make_external(value: ir.Value) -> None:
    """Leaves the numbers of an initializer to whoever opens the graph."""
    assert value.dtype is not None and value.shape is not None
    value.const_value = ir.ExternalTensor("weights", 0, 0, value.dtype, shape=value.shape, name=str(value.name))


def _product(graph: ir.Graph, stem: str) -> ir.Node:
    """The one product with a matrix."""
    (product,) = graph.initializers[f"{stem}.codes"].consumers()
    return product


def _stacked(graph: ir.Graph, stem: str, products: Sequence[ir.Node]) -> ir.Node:
    """One product with all rows of several matrices."""
    first = products[0]
    inputs: list[ir.Value | None] = [first.inputs[0]]
    for parts in list(zip(*(product.inputs for product in products), strict=True))[1:]:
        inputs.append(None if parts[0] is None else _initializer(graph, stem, [part for part in parts if part]))
    attributes = {name: attribute.value for name, attribute in first.attributes.items()}
    attributes["N"] = sum(product.attributes["N"].as_int() for product in products)
    joined = ir.node(first.op_type, inputs, attributes, domain=first.domain, metadata_props=dict(first.metadata_props))
    joined.outputs[0].type = first.outputs[0].type
    return joined


def _initializer(graph: ir.Graph, stem: str, parts: Sequence[ir.Value]) -> ir.Value:
    """The codes, scales, zeros or biases of several matrices, stacked."""
    shapes = [part.shape.numpy() for part in parts if part.shape is not None]
    name = f"{stem}.{str(parts[0].name).rpartition('.')[2]}"
    shape = ir.Shape((sum(shape[0] for shape in shapes), *shapes[0][1:]))
    stacked = ir.Value(name=name, type=parts[0].type, shape=shape)
    make_external(stacked)
    graph.initializers.add(stacked)
    return stacked


def _only_reader(value: ir.Value) -> ir.Node | None:
    readers = value.consumers()
    return readers[0] if len(readers) == 1 and not value.is_graph_output() else None


def _read_at_once(products: Sequence[ir.Node]) -> list[ir.Node]:
    """The nodes that lay query, key and value out for one attention, which can take them stacked, and last the one
    that scales the query; none elsewhere."""
    laid_out = [node for product in products if (node := _only_reader(product.outputs[0])) is not None]
    if len(laid_out) != 3 or any(node.op_type != "Reshape" for node in laid_out):
        return []
    scaled = _only_reader(laid_out[0].outputs[0])
    attention = _only_reader(scaled.outputs[0]) if scaled is not None and scaled.op_type == "Mul" else None
    if scaled is None or attention is None or attention.op_type != _ATTENTION:
        return []
    taken = [scaled.outputs[0], *(node.outputs[0] for node in laid_out[1:])]
    return [*laid_out, scaled] if list(attention.inputs[:3]) == taken else []


def _feed_attention(graph: ir.Graph, joined: ir.Node, readers: Sequence[ir.Node], query_width: int) -> None:
    """Hands query, key and value to their attention as they are stacked, the query alone scaled."""
    (query, _, _, scaled), width = readers, joined.attributes["N"].as_int()
    attention, (_, scale) = scaled.outputs[0].consumers()[0], scaled.inputs
    assert scale is not None and scale.const_value is not None
    factors = np.ones(width, scale.const_value.numpy().dtype)
    factors[:query_width] = scale.const_value.numpy()
    laid_out = ir.node("Reshape", [joined.outputs[0], _constant(graph, np.array([1, -1, width]))])
    mixed = ir.node("Mul", [laid_out.outputs[0], _constant(graph, factors)])
    for node, like in ((laid_out, query), (mixed, scaled)):
        node.metadata_props.update(like.metadata_props)
        node.outputs[0].type = like.outputs[0].type
    graph.insert_before(attention, [laid_out, mixed])
    for place, value in enumerate((mixed.outputs[0], None, None)):
        attention.replace_input_with(place, value)
    graph.remove([scaled, *readers[:3]], safe=True)


def _split(graph: ir.Graph, joined: ir.Node, products: Sequence[ir.Node]) -> None:
    """Gives every reader the rows that it had."""
    sizes = _constant(graph, np.array([product.attributes["N"].as_int() for product in products]))
    notes = dict(joined.metadata_props)
    node = ir.node("Split", [joined.outputs[0], sizes], {"axis": -1}, num_outputs=len(products), metadata_props=notes)
    graph.insert_after(joined, node)
    for product, part in zip(products, node.outputs, strict=True):
        part.type = product.outputs[0].type
        ir.convenience.replace_all_uses_with(product.outputs[0], part)


def _constant(graph: ir.Graph, numbers: np.ndarray) -> ir.Value:
    """A few numbers as an initializer, equal ones once."""
    kind = "sizes" if numbers.dtype == np.int64 else "factors"
    runs = [f"{number}x{len(list(equal))}" for number, equal in groupby(numbers.tolist())]
    name = ".".join([kind, *runs])
    if name not in graph.initializers:
        tensor = ir.tensor(numbers, name=name)
        graph.initializers.add(ir.Value(name=name, type=ir.TensorType(tensor.dtype), const_value=tensor))
    return graph.initializers[name]
