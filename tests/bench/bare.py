"""Only the matrix products of a decoder: a lower bound for the time of every runtime on this machine."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from export.onnx_runtime import ort

FEATURES, HEAD = "x", "head"


def product_chain(d_model: int, d_ff: int, pairs: int, vocab: int) -> onnx.ModelProto:
    """`pairs` pairs of products, up to `d_ff` and down to `d_model`, each with separate weights; then the head."""
    nodes, flows, weights = [], FEATURES, {}
    for pair in range(pairs):
        for way, shape in (("up", (d_ff, d_model)), ("down", (d_model, d_ff))):
            name = f"{pair}.{way}"
            weights[f"{name}.weight"] = shape
            nodes.append(helper.make_node("Gemm", [flows, f"{name}.weight"], [name], transB=1))
            flows = name
    weights[f"{HEAD}.weight"] = (vocab, d_model)
    nodes.append(helper.make_node("Gather", [flows, "last"], ["row"], axis=0))
    nodes.append(helper.make_node("Gemm", ["row", f"{HEAD}.weight"], [HEAD], transB=1))
    graph = helper.make_graph(
        nodes,
        "products",
        [
            helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["token", d_model]),
            helper.make_tensor_value_info("last", TensorProto.INT64, [1]),
        ],
        [helper.make_tensor_value_info(HEAD, TensorProto.FLOAT, [1, vocab])],
        initializer=[_external(name, shape) for name, shape in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def open_products(folder: Path, threads: int) -> ort.InferenceSession:
    """A session whose products have as many weights as the checkpoint in `folder`."""
    config = json.loads((folder / "config.json").read_text())
    d_model, d_ff, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    keys = config["num_key_value_heads"] * config["head_dim"]
    layer = 2 * d_model * (d_model + keys) + 3 * d_model * d_ff
    pairs = round(config["num_hidden_layers"] * layer / (2 * d_model * d_ff))
    model = product_chain(d_model, d_ff, pairs, vocab)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    random = np.random.default_rng(0)
    # Weights are scaled so that features keep their magnitude; denormal numbers would be slow.
    scaled = {
        tensor.name: np.float32(tensor.dims[1] ** -0.5)
        * random.standard_normal((tensor.dims[0], tensor.dims[1]), dtype=np.float32)
        for tensor in model.graph.initializer
    }
    values = [ort.OrtValue.ortvalue_from_numpy(value) for value in scaled.values()]
    options.add_external_initializers(list(scaled), values)
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _external(name: str, shape: tuple[int, int]) -> TensorProto:
    tensor = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="given to the session")
    return tensor
