"""A checkpoint as ONNX files that need nothing else: `std` for other tools, `fast` and `probe` beside it.

The three graphs share one file of external data, streamed from the checkpoint tensor by tensor.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from export.bundle import Progress, describe, need_exporter
from export.initializers import initializer_values
from export.layout import layout_of
from export.manifest import FILE, is_bundle
from export.names import OPSET
from export.staging import staged
from models.checkpoint import Checkpoint
from models.errors import MisuseError

if TYPE_CHECKING:
    import onnx_ir as ir

GRAPHS = ("std", "fast", "probe")
DATA = "std.onnx.data"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "config.json",
    "chat_template.jinja",
)
_ALIGNMENT = 4096
"""Tensors start at a page, so that a runtime may map them."""


@dataclass(frozen=True)
class Extent:
    """Where one tensor lies in the data file, in bytes."""

    offset: int
    length: int


def export_checkpoint(checkpoint: Checkpoint, out: Path, progress: Progress, accuracy: int = 4) -> Path:
    """Writes folder `out`: graphs, weights, tokenizer and a manifest with the parity that was measured.

    Args:
        accuracy: `accuracy_level` of products with matrices that the checkpoint has in groups.

    Raises:
        MisuseError: `out` exists and Edge did not write it.
        MissingPackageError: torch, onnx or onnxscript is absent.
        EdgeError: the disk refuses, or the export is not the same model; nothing is left behind.
    """
    out = out.expanduser().absolute()
    check_target(checkpoint, out)
    need_exporter()
    way_out = "free some space, or name another folder to write to"
    with staged(out, way_out) as folder:
        progress("writing weights")
        extents = write_weights(checkpoint, folder / DATA)
        kernels = _write_graphs(checkpoint, folder, extents, accuracy, progress)
        for name in TOKENIZER_FILES:
            if (checkpoint.folder / name).is_file():
                shutil.copyfile(checkpoint.folder / name, folder / name)
        _prove(checkpoint, folder, kernels, accuracy, progress)
    return out


def check_target(checkpoint: Checkpoint, out: Path) -> None:
    """Only an absent or empty folder, or a bundle, may be written over."""
    if out.resolve() in (checkpoint.folder.resolve(), *checkpoint.folder.resolve().parents):
        raise MisuseError(f"{out} holds the checkpoint itself; name another folder to export to")
    if not out.exists() or is_bundle(out):
        return
    if not out.is_dir():
        raise MisuseError(f"{out} is a file; name a folder to export to")
    if any(out.iterdir()):
        raise MisuseError(
            f"{out} exists and was not written by Edge; remove it yourself, or name another folder to export to"
        )


def write_weights(checkpoint: Checkpoint, file: Path) -> dict[str, Extent]:
    """Streams every initializer into one file; returns where each lies."""
    extents: dict[str, Extent] = {}
    with file.open("wb") as opened:
        for name, values in initializer_values(checkpoint):
            opened.write(b"\0" * (-opened.tell() % _ALIGNMENT))
            extents[name] = Extent(opened.tell(), values.nbytes)
            opened.write(values.data.cast("B"))
    return extents


def _write_graphs(
    checkpoint: Checkpoint, folder: Path, extents: dict[str, Extent], accuracy: int, progress: Progress
) -> dict[str, str]:
    import onnx_ir

    from export.graphs import build
    from export.kernels import kernels_of

    for number, name in enumerate(GRAPHS, 1):
        progress(f"exporting graph {number} of {len(GRAPHS)}: {name}")
        model = build(checkpoint.spec, name, layout_of(checkpoint, accuracy))
        _point(model.graph, extents)
        onnx_ir.save(model, folder / f"{name}.onnx")
    return {name: kernels_of(checkpoint.spec)[name].__name__ for name in GRAPHS}


def _point(graph: "ir.Graph", extents: dict[str, Extent]) -> None:
    """Makes external initializers refer to their bytes in the data file."""
    import onnx_ir

    for value in graph.initializers.values():
        extent = extents.get(str(value.name))
        if extent is not None:
            assert value.dtype is not None and value.shape is not None and value.name is not None
            value.const_value = onnx_ir.ExternalTensor(
                DATA, extent.offset, extent.length, value.dtype, shape=value.shape, name=value.name
            )


def _prove(checkpoint: Checkpoint, folder: Path, kernels: dict[str, str], accuracy: int, progress: Progress) -> None:
    """Checks the graphs, measures parity, and writes the manifest that says so."""
    from export.check import check_graph, check_parity, measure_parity

    progress(f"checking opset {OPSET} and parity with torch")
    check_graph(folder / "std.onnx")
    parity = measure_parity(checkpoint, folder, GRAPHS)
    check_parity(parity)
    manifest = replace(
        describe(checkpoint.spec, layout_of(checkpoint, accuracy), folder, kernels, weights=DATA), parity=parity
    )
    (folder / FILE).write_text(manifest.to_json(), encoding="utf8")
