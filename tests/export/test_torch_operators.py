"""Graphs are translated with torch's own table of operators, which is built once."""

import pytest
import torch
from torch.onnx._internal.exporter._registration import ONNXRegistry

from export import torch_operators
from export.torch_operators import build_operators_once, operators

OPSET = 21


def test_the_table_is_torchs() -> None:
    ours, own = operators(OPSET), torch_operators._built(opset_version=OPSET)
    assert ours.opset_version == own.opset_version == OPSET
    names = {name: [found.onnx_function for found in listed] for name, listed in own.functions.items()}
    assert {name: [found.onnx_function for found in listed] for name, listed in ours.functions.items()} == names


def test_what_one_export_adds_stays_in_it() -> None:
    first = operators(OPSET)
    first.register_op(torch.ops.aten.relu.default, lambda x: x)
    name = torch.ops.aten.relu.default.name()
    assert len(first.functions[name]) == len(operators(OPSET).functions[name]) + 1


def test_torch_builds_no_table_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ONNXRegistry, "from_torchlib", ONNXRegistry.from_torchlib)  # put back at the end
    operators(OPSET)
    build_operators_once()
    monkeypatch.setattr(torch_operators, "_built", None)
    assert ONNXRegistry().from_torchlib(opset_version=OPSET).functions, "the exporter has no operators"
