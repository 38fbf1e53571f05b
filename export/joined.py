"""Products that read the same rows, joined into one: query, key and value; gate and up.

Every product in few bits first rounds what it reads, and shares its rows out among threads. For a single token both
take long beside the product itself, so matrices that are packed alike are stacked, and their product is split.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from export.layout import Layout, joins

_ATTENTION = "GroupQueryAttention"


def join_products(model: ir.Model, layout: Layout) -> None:
    """Puts one product in place of those that `export.layout.joins` names together."""
    for stem, members in joins(layout).items():
        products = [_product(model.graph, member) for member in members]
        joined = _stacked(model.graph, stem, products)
        model.graph.insert_before(products[0], joined)
        if readers := _read_at_once(products):
            _feed_attention(model.graph, joined, readers)
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
    """The nodes that lay three products out for one attention, which can take them stacked; none elsewhere."""
    laid_out = [node for product in products if (node := _only_reader(product.outputs[0])) is not None]
    if len(laid_out) != 3 or any(node.op_type != "Reshape" for node in laid_out):
        return []
    attention = _only_reader(laid_out[0].outputs[0])
    if attention is None or attention.op_type != _ATTENTION:
        return []
    return laid_out if list(attention.inputs[:3]) == [node.outputs[0] for node in laid_out] else []


def _feed_attention(graph: ir.Graph, joined: ir.Node, laid_out: Sequence[ir.Node]) -> None:
    """Hands query, key and value to their attention as they are stacked."""
    attention, first = laid_out[0].outputs[0].consumers()[0], laid_out[0]
    layout = _constant(graph, [1, -1, joined.attributes["N"].as_int()])
    node = ir.node("Reshape", [joined.outputs[0], layout], metadata_props=dict(first.metadata_props))
    node.outputs[0].type = first.outputs[0].type
    graph.insert_before(attention, node)
    for place, value in enumerate((node.outputs[0], None, None)):
        attention.replace_input_with(place, value)
    graph.remove(laid_out, safe=True)


def _split(graph: ir.Graph, joined: ir.Node, products: Sequence[ir.Node]) -> None:
    """Gives every reader the rows that it had."""
    sizes = _constant(graph, [product.attributes["N"].as_int() for product in products])
    notes = dict(joined.metadata_props)
    node = ir.node("Split", [joined.outputs[0], sizes], {"axis": -1}, num_outputs=len(products), metadata_props=notes)
    graph.insert_after(joined, node)
    for product, part in zip(products, node.outputs, strict=True):
        part.type = product.outputs[0].type
        ir.convenience.replace_all_uses_with(product.outputs[0], part)


def _constant(graph: ir.Graph, numbers: Sequence[int]) -> ir.Value:
    """A few whole numbers as an initializer, each list once."""
    name = "sizes." + ".".join(map(str, numbers))
    if name not in graph.initializers:
        tensor = ir.tensor(np.array(numbers, np.int64), name=name)
        graph.initializers.add(ir.Value(name=name, type=ir.TensorType(ir.DataType.INT64), const_value=tensor))
    return graph.initializers[name]
