"""Exports for other tools compute with quantized matrices of all schemes what torch computes."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from export.layout import layout_of
from export.manifest import read_manifest
from export.standalone import export_checkpoint
from export.targets import TARGETS, stored_bytes
from models.precision import Mixed
from tests.mixed import mixed_checkpoint


@pytest.mark.parametrize(("tool", "tied"), [("std", True), ("genai", False)])
def test_an_export_with_many_schemes_agrees_with_torch(tool: str, tied: bool, tmp_path: Path) -> None:
    """Exports above the tolerance of float32 raise; here the difference is that of arithmetic in another order."""
    held, out = mixed_checkpoint(tied), tmp_path / "out"
    export_checkpoint(held, out, lambda _: None, TARGETS[tool], Mixed(0))
    manifest = read_manifest(out)
    assert manifest is not None and manifest.precision == "int4+int8"
    assert manifest.parity[tool].max_logit_difference < 5e-5
    graph = onnx.load(out / TARGETS[tool].graphs[tool], load_external_data=False).graph
    tensors = [tensor for tensor in graph.initializer if tensor.external_data]
    sizes = [onnx.helper.tensor_dtype_to_np_dtype(one.data_type).itemsize * np.prod(one.dims) for one in tensors]
    assert sum(sizes) == stored_bytes(held, layout_of(held, Mixed(0)))
