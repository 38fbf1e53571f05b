"""Exports a checkpoint to a folder for other tools or machines, after comparing it with torch."""

import shutil
from dataclasses import replace
from math import prod
from pathlib import Path

from export.bundle import describe, need_exporter
from export.layout import Layout, layout_of
from export.logit_difference import QUANTIZATION
from export.manifest import FILE, is_bundle
from export.targets import TARGETS, Standalone, Target, stored_bytes, text_files
from models.atomic_folder import atomic_folder
from models.checkpoint import Checkpoint
from models.errors import MisuseError
from models.parameters import parameter_count, parameter_shapes
from models.precision import FP32, Precision
from models.progress import Progress

_PACKAGES_BYTES = 520_000_000
"""Memory of torch, onnx, ONNX Runtime and a traced graph, without weights."""

_LARGEST_TENSORS = 2
"""Additional memory in units of the largest tensor: one while kernels are prepared, one that freed weights leave."""


def export_checkpoint(
    checkpoint: Checkpoint,
    out: Path,
    progress: Progress,
    target: Target = TARGETS["std"],
    precision: Precision = FP32,
    original: Checkpoint | None = None,
) -> Path:
    """Writes the folder `out`: weights, graphs, tokenizer, and a manifest with the comparison with torch.

    Args:
        precision: How products with quantized matrices are computed.
        original: The checkpoint before quantization. If given, the loss by quantization is measured too.

    Raises:
        MisuseError: `out` exists and Edge did not write it.
        MissingPackageError: torch, onnx or onnxscript is not installed.
        EdgeError: the folder cannot be written, or the export is not the same model; nothing is left behind.
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
        _check(checkpoint, layout, folder, target, original, progress)
    return out


def check_target(checkpoint: Checkpoint, out: Path) -> None:
    """Raises MisuseError unless `out` is absent, an empty folder, or a bundle, which may be overwritten."""
    if out.resolve() in (checkpoint.source.path.resolve(), *checkpoint.source.path.resolve().parents):
        raise MisuseError(f"{out} contains the checkpoint itself; name another folder to export to")
    if not out.exists() or is_bundle(out):
        return
    if not out.is_dir():
        raise MisuseError(f"{out} is a file; name a folder to export to")
    if any(out.iterdir()):
        raise MisuseError(f"{out} exists and was not written by Edge; delete it, or name another folder to export to")


def peak_bytes(checkpoint: Checkpoint, layout: Layout, target: Target = TARGETS["std"]) -> int:
    """Peak memory of an export, reached while it is compared: the weights of torch in float32, or of a session.

    A session copies weights from its graph's file and frees the file. Weights that are passed to it stay in memory.
    """
    torch, stored = 4 * parameter_count(checkpoint.spec), stored_bytes(checkpoint, layout)
    session = stored if isinstance(target, Standalone) else 2 * stored
    largest = 4 * max(prod(shape) for shape in parameter_shapes(checkpoint.spec).values())
    return _PACKAGES_BYTES + max(torch, session) + _LARGEST_TENSORS * largest


def _check(
    checkpoint: Checkpoint,
    layout: Layout,
    folder: Path,
    target: Target,
    original: Checkpoint | None,
    progress: Progress,
) -> None:
    """Checks the graphs, compares them with torch, and writes the manifest with the results."""
    from export.check import check_graph, check_parity, measure_parity, quantization_cost, tolerance
    from export.kernels import kernels_of

    kernels = {name: kernels_of(checkpoint.spec)[name] for name in target.graphs}
    progress("comparing the graphs with torch")
    has_weights = isinstance(target, Standalone)
    for file in target.graphs.values() if has_weights else ():
        check_graph(folder / file)
    parity = measure_parity(
        checkpoint, layout, {name: folder / file for name, file in target.graphs.items()}, not has_weights
    )
    check_parity(parity, tolerance(layout))
    if original is not None:
        parity |= {QUANTIZATION: quantization_cost(checkpoint, original)}
    manifest = describe(checkpoint.spec, layout, folder, kernels, weights=target.weights)
    (folder / FILE).write_text(replace(manifest, parity=parity).to_json(), encoding="utf8")
