"""One safetensors file, memory-mapped: its tensors are read when they are used.

The `safetensors` package copies each tensor it reads; engines need the file's own memory and offsets,
so the header is parsed here and every number in it is checked.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from models.errors import CheckpointError

_NOTES = "__metadata__"

DTYPES: dict[str, np.dtype[np.generic]] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "U32": np.dtype(np.uint32),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}


Planned = tuple[np.dtype[np.generic], tuple[int, ...]]
"""What a tensor that is still to be written will be: its type and its shape."""

_ALIGNMENT = 8
"""The first tensor starts at a multiple of so many bytes, and so every tensor at a multiple of its numbers' size."""


@dataclass(frozen=True)
class TensorPlace:
    """Where one tensor lies.

    Attributes:
        offset_bytes: From the start of the file.
    """

    file: Path
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    offset_bytes: int

    def read(self) -> NDArray[np.generic]:
        """The tensor, backed by the file."""
        if 0 in self.shape:
            return np.zeros(self.shape, self.dtype)
        return np.memmap(self.file, self.dtype, "r", self.offset_bytes, self.shape)


def tensor_places(file: Path) -> dict[str, TensorPlace]:
    """Every tensor of a safetensors file; a damaged file is a `CheckpointError` that says how."""
    size, (header, start) = file.stat().st_size, _header(file)
    try:
        entries = {name: entry for name, entry in header.items() if name != _NOTES}
        return {name: _place(file, name, entry, start, size) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(_damaged(file, f"its header cannot be read ({error})")) from error


def file_notes(file: Path) -> dict[str, str]:
    """What the writer of a safetensors file noted in its header."""
    notes = _header(file)[0].get(_NOTES, {})
    return {str(name): str(note) for name, note in notes.items()} if isinstance(notes, dict) else {}


def write_tensors(
    file: Path,
    planned: Mapping[str, Planned],
    arrays: Iterable[tuple[str, NDArray[np.generic]]],
    notes: Mapping[str, str],
) -> None:
    """Writes a safetensors file tensor by tensor: `arrays` gives those of `planned`, in its order."""
    header: dict[str, object] = {_NOTES: dict(notes)}
    kinds, end = {dtype: kind for kind, dtype in DTYPES.items()}, 0
    for name, (dtype, shape) in planned.items():
        begin, end = end, end + prod(shape) * dtype.itemsize
        header[name] = {"dtype": kinds[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with file.open("wb") as opened:
        opened.write(len(text).to_bytes(8, "little") + text)
        for (name, array), (wanted, plan) in zip(arrays, planned.items(), strict=True):
            if (name, array.dtype, array.shape) != (wanted, *plan):
                raise AssertionError(f"'{name}', {array.dtype} {array.shape}, comes where '{wanted}', {plan}, should")
            opened.write(np.ascontiguousarray(array).data.cast("B") if array.size else b"")


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """The table at the start of a file, and the byte at which the numbers begin."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if size < 8 or length > size - 8:
            raise CheckpointError(_damaged(file, f"its header claims {length:,} bytes, the file has {size:,}"))
        try:
            header = json.loads(opened.read(length))
        except ValueError as error:
            raise CheckpointError(_damaged(file, f"its header cannot be read ({error})")) from error
    if not isinstance(header, dict):
        raise CheckpointError(_damaged(file, "its header is no table"))
    return header, 8 + length


def _place(file: Path, name: str, entry: dict[str, object], start: int, size: int) -> TensorPlace:
    kind, shape, offsets = str(entry["dtype"]), entry["shape"], entry["data_offsets"]
    if kind not in DTYPES:
        raise CheckpointError(f"{file}: tensor '{name}' is stored as {kind}; Edge reads {', '.join(DTYPES)}")
    if not (isinstance(shape, list) and all(isinstance(n, int) and n >= 0 for n in shape)):
        raise ValueError(f"tensor '{name}' has the shape {shape!r}")
    begin, end = (int(offset) for offset in offsets)  # type: ignore[attr-defined]
    if end - begin != prod(shape) * DTYPES[kind].itemsize or begin < 0:
        raise ValueError(f"tensor '{name}' of shape {tuple(shape)} takes {end - begin:,} bytes")
    if start + end > size:
        raise CheckpointError(_damaged(file, f"tensor '{name}' ends at byte {start + end:,} of {size:,}"))
    return TensorPlace(file, DTYPES[kind], tuple(shape), start + begin)


def _damaged(file: Path, how: str) -> str:
    return f"{file} is truncated or damaged: {how}; download or copy it again"
