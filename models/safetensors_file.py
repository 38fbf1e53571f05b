"""Reads and writes safetensors files. Tensors are memory-mapped and read when they are used.

The `safetensors` package copies each tensor that it reads, but engines need the file's memory and offsets. So the
header is parsed here, and every number in it is checked.
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
from models.json_text import parse_json
from models.other_formats import refuse_pointer

_METADATA = "__metadata__"

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

_MAX_DIMENSIONS, _MAX_NUMBERS = 32, 1 << 48
"""Limits of a tensor's shape, above which a header is invalid; numpy has similar ones."""

Planned = tuple[np.dtype[np.generic], tuple[int, ...]]
"""Type and shape of a tensor to write."""

_ALIGNMENT = 8
"""Alignment of the first tensor in bytes, which aligns every tensor to the size of its numbers."""


@dataclass(frozen=True)
class TensorPlace:
    """The place of one tensor in a file.

    Attributes:
        kind: Type of its numbers, as safetensors names it.
        offset_bytes: Offset from the start of the file.
    """

    file: Path
    kind: str
    shape: tuple[int, ...]
    offset_bytes: int

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of its numbers in numpy.

        Raises:
            CheckpointError: Edge does not read this type.
        """
        if self.kind not in DTYPES:
            raise CheckpointError(f"{self.file} stores a tensor as {self.kind}; Edge reads {', '.join(DTYPES)}")
        return DTYPES[self.kind]

    def read(self) -> NDArray[np.generic]:
        """The tensor, memory-mapped."""
        if 0 in self.shape:
            return np.zeros(self.shape, self.dtype)
        return np.memmap(self.file, self.dtype, "r", self.offset_bytes, self.shape)


def tensor_places(file: Path) -> dict[str, TensorPlace]:
    """Places of all tensors of a safetensors file. Raises CheckpointError for a damaged file."""
    header, start = _header(file)
    entries = {name: entry for name, entry in header.items() if name != _METADATA}
    try:
        spans = sorted(_span(name, entry) for name, entry in entries.items())
        _check_spans(spans, file.stat().st_size - start)
        return {
            name: TensorPlace(file, entry["dtype"], tuple(entry["shape"]), start + entry["data_offsets"][0])
            for name, entry in entries.items()
        }
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise CheckpointError(_damaged(file, f"its header cannot be read ({error})")) from error


def file_metadata(file: Path) -> dict[str, str]:
    """The metadata in the header of a safetensors file."""
    metadata = _header(file)[0].get(_METADATA, {})
    return {str(name): str(value) for name, value in metadata.items()} if isinstance(metadata, dict) else {}


def write_tensors(
    file: Path,
    planned: Mapping[str, Planned],
    arrays: Iterable[tuple[str, NDArray[np.generic]]],
    metadata: Mapping[str, str],
) -> None:
    """Writes a safetensors file tensor by tensor. `arrays` yields the tensors of `planned`, in its order."""
    header: dict[str, object] = {_METADATA: dict(metadata)}
    kinds, end = {dtype: kind for kind, dtype in DTYPES.items()}, 0
    for name, (dtype, shape) in planned.items():
        begin, end = end, end + prod(shape) * dtype.itemsize
        header[name] = {"dtype": kinds[dtype], "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with file.open("wb") as opened:
        opened.write(len(text).to_bytes(8, "little") + text)
        for (name, array), (expected, plan) in zip(arrays, planned.items(), strict=True):
            if (name, array.dtype, array.shape) != (expected, *plan):
                raise AssertionError(f"'{name}', {array.dtype} {array.shape}, was given, expected '{expected}', {plan}")
            opened.write(np.ascontiguousarray(array).data.cast("B") if array.size else b"")


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """The JSON header of a file, and the offset of the first tensor."""
    try:
        refuse_pointer(file)
        size = file.stat().st_size
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if size < 8 or length > size - 8:
                raise CheckpointError(_damaged(file, f"its header claims {length:,} bytes, the file has {size:,}"))
            header = parse_json(opened.read(length), _without_duplicates)
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise CheckpointError(_damaged(file, f"its header cannot be read ({error})")) from error
    if not isinstance(header, dict):
        raise CheckpointError(_damaged(file, "its header is not a JSON object"))
    return header, 8 + length


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Builds an object; raises ValueError for duplicate keys, of which the JSON parser would keep the last."""
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"it has {next(key for key in keys if keys.count(key) > 1)!r} twice")
    return table


def _span(name: str, entry: object) -> tuple[int, int, str]:
    """Start and end of a tensor in bytes from the end of the header, and its name."""
    if not isinstance(entry, dict):
        raise ValueError(f"tensor {name!r} is described by {entry!r}")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str):
        raise ValueError(f"tensor {name!r} has the type {kind!r}")
    if not (isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)) or (
        len(shape) > _MAX_DIMENSIONS or prod(max(size, 1) for size in shape) > _MAX_NUMBERS
    ):
        raise ValueError(f"tensor {name!r} has the shape {shape!r}")
    if not (isinstance(offsets, list) and len(offsets) == 2 and all(type(offset) is int for offset in offsets)):
        raise ValueError(f"tensor {name!r} has the offsets {offsets!r}")
    begin, end = offsets
    # Types that are not in the table may be smaller than a byte.
    if not 0 <= begin <= end or (kind in DTYPES and end - begin != prod(shape) * DTYPES[kind].itemsize):
        raise ValueError(f"tensor {name!r} of shape {tuple(shape)} takes {end - begin:,} bytes")
    return begin, end, name


def _check_spans(spans: list[tuple[int, int, str]], size: int) -> None:
    """Raises ValueError if tensors overlap or exceed the file."""
    previous_end = 0
    for begin, end, name in spans:
        if end > size:
            raise ValueError(f"tensor {name!r} ends at byte {end:,} of {size:,}")
        if begin < previous_end:
            raise ValueError(f"tensor {name!r} overlaps another one")
        previous_end = end


def _damaged(file: Path, how: str) -> str:
    return f"{file} is truncated or damaged: {how}; download or copy it again"
