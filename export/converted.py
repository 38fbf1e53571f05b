"""Initializers of quantized weights from other formats, converted once and then memory-mapped from the cache.

Weights of GGUF files and of other tools must be decoded, and many matrices are stacked for fused products. The results
are kept in a safetensors file: the initializers of a session, by their names in finished graphs. Its folder in the
cache is named after the files of the weights (path, size, time of change), the spec and the schemes.

- Weights that Edge quantized are stored as sessions read them, so they are converted only for products in two planes.
- A tied head and the embedding are one matrix: the file has the embedding's parts, and sessions receive both names.
- Zeros in the middle of the file may have an odd number of bytes. Fillers keep the numbers after them aligned.
- The file is written tensor by tensor, so this needs memory for the largest group of fused matrices.
"""

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np

from export.initializers import Values, initializer_values, steps_to_make, with_shared
from export.layout import Layout
from export.manifest import graph_key
from export.operands import ROUNDS
from models.atomic_folder import atomic_folder
from models.cache_folder import MOVED, cache_folder, cache_key
from models.checkpoint import Checkpoint
from models.errors import CheckpointError
from models.progress import Progress
from models.quantized_file import is_quantized
from models.safetensors_file import Planned, TensorPlace, tensor_places, write_tensors

FORMAT = 1
"""Increases when equal weights would give another file."""

_FILE = "model.safetensors"

_ALIGNMENT = 8

_REPORTS = 5
"""Lines of progress of one file, since a matrix takes milliseconds."""


def session_values(checkpoint: Checkpoint, layout: Layout, progress: Progress) -> Iterator[tuple[str, Values]]:
    """Yields the initializers of a session: from the cache if the weights must be converted.

    Raises:
        EdgeError: the cache folder cannot be written.
    """
    places = convert(checkpoint, layout, progress)
    if places is None:
        return initializer_values(checkpoint, layout)
    return with_shared(checkpoint.spec, layout, ((name, place.read()) for name, place in places.items()))


def convert(checkpoint: Checkpoint, layout: Layout, progress: Progress) -> dict[str, TensorPlace] | None:
    """Converts the weights if the cache lacks the result; returns the places of its tensors.

    Returns None for weights that are used as they are stored, or that come from memory.
    """
    if not _is_converted(checkpoint, layout):
        return None
    # Initializers depend on the accuracy only where it asks for planes.
    equal = replace(layout, accuracy=0 if layout.has_planes else ROUNDS)
    key = cache_key(checkpoint.files, FORMAT, graph_key(checkpoint.spec, equal.to_json()))
    file = cache_folder("converted") / key / _FILE
    planned = {name: plan for made in steps_to_make(checkpoint, layout) for name, plan in made.planned.items()}
    places = _open_converted(file, planned)
    if places is None:
        _write(checkpoint, layout, file, progress)
        places = _open_converted(file, planned)
        assert places is not None, f"{file} was not written as planned"
    return places


def _is_converted(checkpoint: Checkpoint, layout: Layout) -> bool:
    """Whether the initializers of a checkpoint's quantized matrices differ from what its files have."""
    if not layout.schemes or not checkpoint.files:
        return False
    return layout.has_planes or not all(
        file.suffix == ".safetensors" and is_quantized(file) for file in checkpoint.files
    )


def _open_converted(file: Path, planned: dict[str, Planned]) -> dict[str, TensorPlace] | None:
    """Places of the tensors; None if there is no such file or it is damaged."""
    try:
        places = tensor_places(file) if file.is_file() else {}
        if any((places[name].dtype, places[name].shape) != plan for name, plan in planned.items()):
            return None
    except (CheckpointError, KeyError):
        return None
    return {name: places[name] for name in planned}


def _write(checkpoint: Checkpoint, layout: Layout, file: Path, progress: Progress) -> None:
    """Writes the file into its folder in the cache."""
    steps = list(steps_to_make(checkpoint, layout))
    planned: dict[str, Planned] = {}
    for made in steps:
        for name, plan in made.planned.items():
            planned |= {name: plan} | _filler(name, plan)

    def tensors() -> Iterator[tuple[str, Values]]:
        for number, made in enumerate(steps, 1):
            if number * _REPORTS // len(steps) > (number - 1) * _REPORTS // len(steps):
                progress(f"converting quantized weights: {number} of {len(steps)}")
            for (name, plan), value in zip(made.planned.items(), made.values(), strict=True):
                yield name, value
                for filler, (kind, shape) in _filler(name, plan).items():
                    yield filler, np.zeros(shape, kind)

    with atomic_folder(file.parent, MOVED) as folder:
        write_tensors(folder / _FILE, planned, tensors(), {"format": str(FORMAT)})


def _filler(name: str, plan: Planned) -> dict[str, Planned]:
    """A tensor that aligns the one after it; none where it is aligned."""
    kind, shape = plan
    missing = -prod(shape) * kind.itemsize % _ALIGNMENT
    return {f"{name}.filler": (np.dtype(np.uint8), (missing,))} if missing else {}
