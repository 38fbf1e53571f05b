"""A checkpoint's matrices in groups, quantized once and kept in the cache for every engine and every later run."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from json import dumps
from pathlib import Path

import numpy as np

from export.atomic_folder import atomic_folder
from export.bundle import CACHE_VARIABLE, cache_folder
from models.checkpoint import Checkpoint
from models.errors import CheckpointError, MisuseError
from models.precision import FP32, Grouped, Precision, Scheme, Zero
from models.progress import Progress
from models.quantized_file import FORMAT, matrices, open_quantized, write_quantized

_FILE = "model.safetensors"


def prepare_quantized(
    checkpoint: Checkpoint, scheme: Scheme, progress: Progress, keep: Sequence[str] = ()
) -> Checkpoint:
    """The checkpoint with its matrices quantized, now if the cache does not hold them.

    Args:
        keep: Patterns of matrices that stay float32, as `models.quantized_file.matrices` takes them.

    Raises:
        MisuseError: a pattern that fits no matrix.
        EdgeError: the cache folder cannot be written.
    """
    file = cache_folder("weights") / _key(checkpoint, scheme, matrices(checkpoint.spec, keep))[:32] / _FILE
    if found := _opened(file, checkpoint):
        return found
    way_out = f"free some space, or name a folder elsewhere in the environment variable {CACHE_VARIABLE}"
    with atomic_folder(file.parent, way_out) as folder:
        write_quantized(checkpoint.spec, checkpoint.weights, scheme, folder / _FILE, progress, keep)
    return _with_weights_of(file, checkpoint)


def stored_precision(checkpoint: Checkpoint) -> Grouped | None:
    """Of weights that are stored in groups already; None where they are floats, which any precision can be had from."""
    return Grouped(next(iter(checkpoint.quantized.schemes.values()))) if checkpoint.quantized else None


def as_quantized(checkpoint: Checkpoint, asked: Precision) -> Grouped:
    """The precision of weights that are stored in groups already; another one cannot be had from them."""
    held = stored_precision(checkpoint)
    assert held is not None, "the weights are floats"
    if asked == FP32:
        return held
    # How users spell a precision says nothing of zeros between codes.
    spelled = Grouped(replace(held.scheme, zero=Zero.WHOLE)) if held.scheme.zero is Zero.ANY else held
    if not isinstance(asked, Grouped) or asked.scheme != spelled.scheme:
        raise MisuseError(f"the weights of {checkpoint.name} are stored as {held} and cannot become {asked}")
    return asked


def _opened(file: Path, checkpoint: Checkpoint) -> Checkpoint | None:
    """What an earlier run quantized; a file that was damaged since is quantized anew."""
    try:
        return _with_weights_of(file, checkpoint) if file.is_file() else None
    except CheckpointError:
        return None


def _with_weights_of(file: Path, checkpoint: Checkpoint) -> Checkpoint:
    return Checkpoint(checkpoint.folder, checkpoint.spec, *open_quantized(file, checkpoint.spec))


def _key(checkpoint: Checkpoint, scheme: Scheme, quantized: Sequence[str]) -> str:
    """Equal for the same matrices of equal weights; files are told by path, size and time of change."""
    told = hashlib.sha256(dumps([FORMAT, asdict(scheme), quantized]).encode())
    if checkpoint.files:
        for file in checkpoint.files:
            stat = file.stat()
            told.update(f"{file} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    else:
        for name, array in checkpoint.weights.items():
            told.update(f"{name} {array.shape} {array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
    return told.hexdigest()
