"""A checkpoint as a folder for other tools or other machines, proved to be the same model before it appears."""

import shutil
from dataclasses import replace
from math import prod
from pathlib import Path

from export.atomic_folder import atomic_folder
from export.bundle import describe, need_exporter
from export.layout import Layout, layout_of
from export.logit_difference import QUANTIZATION
from export.manifest import FILE, is_bundle
from export.targets import TARGETS, Standalone, Target, stored_bytes, text_files
from models.checkpoint import Checkpoint
from models.errors import MisuseError
from models.parameters import parameter_count, parameter_shapes
from models.precision import FP32, Precision
from models.progress import Progress

_PACKAGES_BYTES = 520_000_000
"""What torch, onnx and ONNX Runtime take, a traced graph among it, before any weight is held."""

_LARGEST_TENSORS = 2
"""Of its size on top: one more while kernels are laid out, and as much again that freed weights leave behind."""


def export_checkpoint(
    checkpoint: Checkpoint,
    out: Path,
    progress: Progress,
    target: Target = TARGETS["std"],
    precision: Precision = FP32,
    original: Checkpoint | None = None,
) -> Path:
    """Writes folder `out`: weights, graphs, tokenizer, and a manifest with the parity that was measured.

    Args:
        precision: How products with quantized matrices are computed.
        original: The checkpoint before its matrices were quantized; what quantizing cost is then measured too.

    Raises:
        MisuseError: `out` exists and Edge did not write it.
        MissingPackageError: torch, onnx or onnxscript is absent.
        EdgeError: the disk refuses, or the export is not the same model; nothing is left behind.
    """
    out = out.expanduser().absolute()
    check_target(checkpoint, out)
    need_exporter()
    texts = text_files(checkpoint)
    with atomic_folder(out, "free some space, or name another folder to write to") as folder:
        layout = layout_of(checkpoint, precision)
        target.write(checkpoint, layout, folder, progress)
        for file in texts:
            shutil.copyfile(file, folder / file.name)
        _prove(checkpoint, layout, folder, target, original, progress)
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


def peak_bytes(checkpoint: Checkpoint, layout: Layout, target: Target = TARGETS["std"]) -> int:
    """What an export holds at most, while its parity is measured: torch's float32 weights, or those of a session.

    A session lays out what its graph's file holds, and lets go of the file; what it is given stays beside that.
    """
    torch, stored = 4 * parameter_count(checkpoint.spec), stored_bytes(checkpoint, layout)
    session = stored if isinstance(target, Standalone) else 2 * stored
    largest = 4 * max(prod(shape) for shape in parameter_shapes(checkpoint.spec).values())
    return _PACKAGES_BYTES + max(torch, session) + _LARGEST_TENSORS * largest


def _prove(
    checkpoint: Checkpoint,
    layout: Layout,
    folder: Path,
    target: Target,
    original: Checkpoint | None,
    progress: Progress,
) -> None:
    """Checks the graphs, measures parity, and writes the manifest that says so."""
    from export.check import check_graph, check_parity, measure_parity, quantization_cost, tolerance
    from export.kernels import kernels_of

    kernels = {name: kernels_of(checkpoint.spec)[name] for name in target.graphs}
    progress("checking the graphs and their parity with torch")
    whole = isinstance(target, Standalone)
    for file in target.graphs.values() if whole else ():
        check_graph(folder / file)
    parity = measure_parity(
        checkpoint, layout, {name: folder / file for name, file in target.graphs.items()}, not whole
    )
    check_parity(parity, tolerance(layout))
    if original is not None:
        parity |= {QUANTIZATION: quantization_cost(checkpoint, original)}
    described = describe(checkpoint.spec, layout, folder, kernels, weights=target.weights)
    (folder / FILE).write_text(replace(described, parity=parity).to_json(), encoding="utf8")
