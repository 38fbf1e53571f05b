"""Quantizes a checkpoint's matrices once, and caches them for all engines and later runs."""

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
    """The checkpoint with quantized matrices, from the cache or quantized now.

    Args:
        keep: Patterns of matrices that stay float32, for `models.quantized_file.matrices`.

    Raises:
        MisuseError: a pattern matches no matrix.
        EdgeError: the cache folder cannot be written.
    """
    file = cache_folder("weights") / _key(checkpoint, scheme, matrices(checkpoint.spec, keep))[:32] / _FILE
    if cached := _open_cached(file, checkpoint):
        return cached
    fix = f"free some space, or set the environment variable {CACHE_VARIABLE} to another folder"
    with atomic_folder(file.parent, fix) as folder:
        write_quantized(checkpoint.spec, checkpoint.weights, scheme, folder / _FILE, progress, keep)
    return _with_weights_of(file, checkpoint)


def stored_precision(checkpoint: Checkpoint) -> Grouped | None:
    """The precision of weights that are stored quantized; None for floats, which can be quantized to any precision."""
    return Grouped(next(iter(checkpoint.quantized.schemes.values()))) if checkpoint.quantized else None


def as_quantized(checkpoint: Checkpoint, requested: Precision) -> Grouped:
    """The precision of weights that are stored quantized. Raises MisuseError if `requested` is another one."""
    stored = stored_precision(checkpoint)
    assert stored is not None, "the weights are floats"
    if requested == FP32:
        return stored
    # A precision as users write it does not include non-integer zero points.
    written = Grouped(replace(stored.scheme, zero=Zero.WHOLE)) if stored.scheme.zero is Zero.ANY else stored
    if not isinstance(requested, Grouped) or requested.scheme not in (stored.scheme, written.scheme):
        raise MisuseError(f"the weights of {checkpoint.name} are stored as {stored}, not {requested}; use {stored}")
    return requested


def _open_cached(file: Path, checkpoint: Checkpoint) -> Checkpoint | None:
    """The cached checkpoint; None if there is none or it is damaged."""
    try:
        return _with_weights_of(file, checkpoint) if file.is_file() else None
    except CheckpointError:
        return None


def _with_weights_of(file: Path, checkpoint: Checkpoint) -> Checkpoint:
    return Checkpoint(checkpoint.folder, checkpoint.spec, *open_quantized(file, checkpoint.spec))


def _key(checkpoint: Checkpoint, scheme: Scheme, quantized: Sequence[str]) -> str:
    """Hash of the scheme, the matrices and the weights. Files are identified by path, size and modification time."""
    digest = hashlib.sha256(dumps([FORMAT, asdict(scheme), quantized]).encode())
    if checkpoint.files:
        for file in checkpoint.files:
            stat = file.stat()
            digest.update(f"{file} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    else:
        for name, array in checkpoint.weights.items():
            digest.update(f"{name} {array.shape} {array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
