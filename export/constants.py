"""Small constants of a graph, stored in its file. Nodes that need the same one share it."""

import numpy as np
import onnx_ir as ir


def constant(graph: ir.Graph, name: str, numbers: np.ndarray) -> ir.Value:
    """The initializer of this name, added with `numbers` if the graph does not have it."""
    if name not in graph.initializers:
        tensor = ir.tensor(numbers, name=name)
        kind, shape = ir.TensorType(tensor.dtype), ir.Shape(numbers.shape)
        graph.initializers.add(ir.Value(name=name, type=kind, shape=shape, const_value=tensor))
    return graph.initializers[name]
