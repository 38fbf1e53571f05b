"""External data of a graph: all weights in one file, streamed from the checkpoint tensor by tensor."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from export.initializers import initializer_values
from export.layout import Layout
from models.checkpoint import Checkpoint

if TYPE_CHECKING:
    import onnx_ir as ir

_ALIGNMENT = 4096
"""Alignment of tensors in bytes: one page, so that a runtime can memory-map them."""


@dataclass(frozen=True)
class Extent:
    """Offset and length of one tensor in the data file, in bytes."""

    offset: int
    length: int


NO_EXTENTS: Mapping[str, Extent] = {}
"""No external data: the session receives the weights."""


def write_weights(checkpoint: Checkpoint, layout: Layout, file: Path) -> dict[str, Extent]:
    """Writes every initializer to one file; returns the extent of each."""
    extents: dict[str, Extent] = {}
    with file.open("wb") as opened:
        for name, values in initializer_values(checkpoint, layout):
            opened.write(b"\0" * (-opened.tell() % _ALIGNMENT))
            extents[name] = Extent(opened.tell(), values.nbytes)
            opened.write(values.data.cast("B"))
    return extents


def save_graph(model: "ir.Model", file: Path, data: str, extents: Mapping[str, Extent]) -> None:
    """Writes a graph whose external initializers refer to the file `data`."""
    import onnx_ir

    for value in model.graph.initializers.values():
        extent = extents.get(str(value.name))
        if extent is not None:
            assert value.dtype is not None and value.shape is not None and value.name is not None
            value.const_value = onnx_ir.ExternalTensor(
                data, extent.offset, extent.length, value.dtype, shape=value.shape, name=value.name
            )
    onnx_ir.save(model, file)
