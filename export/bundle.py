"""The graphs of a decoder, without weights: in the checkpoint folder, in the cache, or exported now.

A graph depends only on the spec and on which matrices are quantized, so checkpoints with equal ones share a bundle.

    python -m export.bundle FOLDER     writes FOLDER/graphs, so that running FOLDER needs neither torch nor onnx
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from export.external import NO_EXTENTS, Extent, save_graph
from export.layout import DENSE, Layout
from export.manifest import FILE, Manifest, file_sha256, graph_key, package_versions, read_manifest
from export.oldest_runtime import oldest_runtime
from models.atomic_folder import atomic_folder
from models.cache_folder import CACHE_VARIABLE, cache_folder
from models.checkpoint import Checkpoint, open_checkpoint
from models.errors import EdgeError, MissingPackageError
from models.progress import Progress
from models.sites import sites_of
from models.spec import DecoderSpec

if TYPE_CHECKING:
    from export.kernels import Kernels

GRAPHS = ("fast", "probe", "edit")


@dataclass(frozen=True)
class Bundle:
    """A folder of graphs without weights, and its manifest."""

    folder: Path
    manifest: Manifest

    def graph(self, name: str) -> Path:
        return self.folder / f"{name}.onnx"


def open_bundle(folder: Path, spec: DecoderSpec, layout: Layout = DENSE) -> Bundle | None:
    """The bundle in `folder` if it is complete and made for this spec; None otherwise."""
    manifest = read_manifest(folder)
    if manifest is None or manifest.key != graph_key(spec, layout.to_json()):
        return None
    files = {f"{name}.onnx" for name in GRAPHS}
    if not files <= manifest.sha256.keys():
        return None
    try:
        is_intact = all(file_sha256(folder / name) == manifest.sha256[name] for name in files)
    except OSError:
        return None
    return Bundle(folder, manifest) if is_intact else None


def prepare(checkpoint: Checkpoint, progress: Progress, layout: Layout = DENSE) -> Bundle:
    """The bundle for a checkpoint; exported now if neither the checkpoint folder nor the cache has it.

    Args:
        layout: Number formats of the graphs' weights.

    Raises:
        MissingPackageError: an export is needed, and torch, onnx or onnxscript is not installed.
        EdgeError: the cache folder cannot be written.
    """
    spec = checkpoint.spec
    cached = cache_folder("graphs") / graph_key(spec, layout.to_json())[:32]
    bundle = open_bundle(checkpoint.source.graphs, spec, layout) or open_bundle(cached, spec, layout)
    if bundle is not None:
        return bundle
    fix = f"set the environment variable {CACHE_VARIABLE} to a writable folder"
    return write_bundle(spec, cached, fix, progress, layout)


def write_bundle(spec: DecoderSpec, target: Path, fix: str, progress: Progress, layout: Layout = DENSE) -> Bundle:
    """Exports the graphs of a spec to `target`, atomically."""
    need_exporter()
    with atomic_folder(target, fix) as folder:
        kernels = write_graphs(spec, layout, folder, GRAPHS, progress)
        manifest = describe(spec, layout, folder, kernels, weights="outside")
        (folder / FILE).write_text(manifest.to_json(), encoding="utf8")
    return Bundle(target, manifest)


def need_exporter() -> None:
    """Raises MissingPackageError without the packages that trace and write graphs."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingPackageError("exporting a decoder to ONNX", error.name or "torch", "export") from error


def write_graph(
    spec: DecoderSpec,
    layout: Layout,
    name: str,
    file: Path,
    data: str = "weights",
    extents: Mapping[str, Extent] = NO_EXTENTS,
) -> None:
    """Writes one graph. `extents` has the places of its weights in the file `data`, if they are there."""
    from export.graphs import build

    save_graph(build(spec, name, layout), file, data, extents)


def write_graphs(
    spec: DecoderSpec, layout: Layout, folder: Path, names: tuple[str, ...], progress: Progress
) -> "dict[str, Kernels]":
    """Writes graphs without weights; returns the kernels of each."""
    from export.graphs import builds
    from export.kernels import kernels_of

    models, kernels = builds(spec, names, layout), kernels_of(spec)
    for number, name in enumerate(names, 1):
        progress(f"exporting graph {number} of {len(names)}: {name}")
        save_graph(next(models), folder / f"{name}.onnx", "weights", NO_EXTENTS)
    return {name: kernels[name] for name in names}


def describe(
    spec: DecoderSpec, layout: Layout, folder: Path, kernels: "Mapping[str, Kernels]", weights: str
) -> Manifest:
    """The manifest of the files in `folder`."""
    opset = max(kind.opset for kind in kernels.values())
    return Manifest(
        spec=spec,
        opset=opset,
        oldest_onnxruntime=oldest_runtime(opset, folder.rglob("*.onnx")),
        precision=layout.precision,
        layout=layout.to_json(),
        kernels={name: kind.__name__ for name, kind in kernels.items()},
        sites=tuple(sites_of(spec)),
        weights=weights,
        sha256={
            file.relative_to(folder).as_posix(): file_sha256(file)
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        },
        versions=package_versions(),
    )


def main(arguments: list[str]) -> int:
    """Writes the graphs of each named checkpoint folder; returns the exit code."""
    if not arguments:
        print("usage: python -m export.bundle FOLDER ...", file=sys.stderr)
        return 2
    try:
        for folder in map(Path, arguments):
            checkpoint = open_checkpoint(folder)
            target = checkpoint.source.graphs
            write_bundle(checkpoint.spec, target, "name a writable folder", lambda line: print(line, file=sys.stderr))
            print(target)
    except EdgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
