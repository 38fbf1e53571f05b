"""Quantizes a checkpoint's matrices once, and caches them for all engines and later runs."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from json import dumps
from pathlib import Path

import numpy as np

from models.atomic_folder import atomic_folder
from models.cache_folder import MOVED, cache_folder, identity
from models.checkpoint import Checkpoint
from models.errors import CheckpointError, MisuseError
from models.precision import FP32, GROUPS, Float, Grouped, Mixed, Precision, Scheme
from models.progress import Progress
from models.quantized_file import FORMAT, matrices, open_quantized, write_quantized

_FILE = "model.safetensors"

_BITS = (4, 8)
"""Bits to which weights are quantized."""


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
    with atomic_folder(file.parent, MOVED) as folder:
        write_quantized(checkpoint.spec, checkpoint.weights, scheme, folder / _FILE, progress, keep)
    return _with_weights_of(file, checkpoint)


def scheme_to_quantize(precision: Precision) -> Scheme | None:
    """The scheme to which float weights are quantized; None for a float precision.

    Raises:
        MisuseError: only weights that are stored quantized have this precision.
    """
    match precision:
        case Float():
            return None
        case Grouped(scheme) if scheme.bits in _BITS and scheme.group in GROUPS:
            return scheme
    raise MisuseError(
        f"weights cannot be quantized to {precision}, which only models that are stored so run in; use int4 or int8"
    )


def stored_precision(checkpoint: Checkpoint) -> Grouped | Mixed | None:
    """The precision of weights that are stored quantized; None for floats, which can be quantized."""
    if not checkpoint.quantized:
        return None
    schemes = set(checkpoint.quantized.schemes.values())
    return Grouped(schemes.pop()) if len(schemes) == 1 else Mixed()


def as_quantized(checkpoint: Checkpoint, requested: Precision) -> Grouped | Mixed:
    """The precision of weights that are stored quantized. Raises MisuseError if `requested` is another one.

    Products may have any accuracy, and float32 stands for the stored precision.
    """
    stored = stored_precision(checkpoint)
    assert stored is not None, "the weights are floats"
    if requested == FP32:
        return stored
    # As users write them, since not all of a scheme is written.
    if isinstance(requested, Float) or str(replace(requested, accuracy=stored.accuracy)) != str(stored):
        raise MisuseError(f"the weights of {checkpoint.name} are stored as {stored}, not {requested}; use {stored}")
    return replace(stored, accuracy=requested.accuracy)


def _open_cached(file: Path, checkpoint: Checkpoint) -> Checkpoint | None:
    """The cached checkpoint; None if there is none or it is damaged."""
    try:
        return _with_weights_of(file, checkpoint) if file.is_file() else None
    except CheckpointError:
        return None


def _with_weights_of(file: Path, checkpoint: Checkpoint) -> Checkpoint:
    return Checkpoint(checkpoint.source, checkpoint.spec, *open_quantized(file, checkpoint.spec))


def _key(checkpoint: Checkpoint, scheme: Scheme, quantized: Sequence[str]) -> str:
    """Hash of the scheme, the matrices and the weights. Files are identified by path, size and modification time."""
    written = {"bits": scheme.bits, "group": scheme.group, "zero": scheme.zero}
    digest = hashlib.sha256(dumps([FORMAT, written, quantized]).encode())
    if checkpoint.files:
        digest.update(identity(checkpoint.files))
    else:
        for name, array in checkpoint.weights.items():
            digest.update(f"{name} {array.shape} {array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
