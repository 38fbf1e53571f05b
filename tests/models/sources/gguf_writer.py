"""Writes GGUF files for tests. It shares no code with the reader or with the `gguf` package."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

KeyValue = bool | int | float | str | bytes | np.generic | NDArray[np.generic] | Sequence[str] | Sequence[bytes]
"""The value of a key. Types of numpy are written as they are.

A bool of Python is written as bool, an int as uint32 (or int32, uint64, int64 where it does not fit), a float as
float32. A list of `str` or `bytes` is an array of strings, an array of numpy an array of its type.
"""

Tensor = tuple[int, Sequence[int], bytes]
"""The id of a ggml type, the shape (outermost first), and the blocks."""

_TYPES = {
    np.dtype(kind): number
    for number, kind in enumerate(("u1", "i1", "u2", "i2", "u4", "i4", "f4", "?", None, None, "u8", "i8", "f8"))
    if kind is not None
}
_STRING, _ARRAY = 8, 9


def write_gguf(
    file: Path,
    keys: Mapping[str, KeyValue],
    tensors: Mapping[str, Tensor],
    alignment: int | None = None,
    version: int = 3,
) -> Path:
    """Writes one file, with tensors one after another, and returns its path."""
    if alignment is not None:
        keys = {"general.alignment": np.uint32(alignment), **keys}
    header = b"".join(header_pieces(keys, tensors, alignment or 32, version))
    with file.open("wb") as opened:
        opened.write(header + _padding(len(header), alignment or 32))
        for _, _, blocks in tensors.values():
            opened.write(blocks + _padding(len(blocks), alignment or 32))
    return file


def write_split_gguf(
    folder: Path, stem: str, keys: Mapping[str, KeyValue], parts: Sequence[Mapping[str, Tensor]]
) -> list[Path]:
    """Writes the tensors of each part into its own file, and the keys into the first, as llama.cpp splits files."""
    n_tensors = sum(map(len, parts))
    files = []
    for number, tensors in enumerate(parts):
        split: dict[str, KeyValue] = {
            "split.no": np.uint16(number),
            "split.count": np.uint16(len(parts)),
            "split.tensors.count": np.int32(n_tensors),
        }
        file = folder / f"{stem}-{number + 1:05}-of-{len(parts):05}.gguf"
        files.append(write_gguf(file, {**(keys if number == 0 else {}), **split}, tensors))
    return files


def header_pieces(
    keys: Mapping[str, KeyValue], tensors: Mapping[str, Tensor], alignment: int = 32, version: int = 3
) -> list[bytes]:
    """The header of a file, one piece per field, so that tests can damage a field."""
    pieces = [b"GGUF", _u32(version), _u64(len(tensors)), _u64(len(keys))]
    for key, value in keys.items():
        pieces += [*_string(key), *_value(value)]
    offset = 0
    for name, (kind, shape, blocks) in tensors.items():
        pieces += [*_string(name), _u32(len(shape)), *map(_u64, reversed(shape)), _u32(kind), _u64(offset)]
        offset += len(blocks) + len(_padding(len(blocks), alignment))
    return pieces


def _value(value: KeyValue) -> Iterable[bytes]:
    if isinstance(value, str | bytes):
        return [_u32(_STRING), *_string(value)]
    if isinstance(value, np.ndarray):
        numbers = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
        return [_u32(_ARRAY), _u32(_TYPES[value.dtype]), _u64(value.size), numbers.tobytes()]
    if isinstance(value, list | tuple):
        return [_u32(_ARRAY), _u32(_STRING), _u64(len(value)), *(piece for text in value for piece in _string(text))]
    assert isinstance(value, bool | int | float | np.generic), f"{type(value)} has no type in GGUF"
    number = np.asarray(value, _type_of(value))
    return [_u32(_TYPES[number.dtype]), number.astype(number.dtype.newbyteorder("<")).tobytes()]


def _type_of(value: bool | int | float | np.generic) -> np.dtype[np.generic]:
    if isinstance(value, np.generic):
        return value.dtype
    if isinstance(value, bool):
        return np.dtype(np.bool_)
    if isinstance(value, float):
        return np.dtype(np.float32)
    kinds = (np.uint32, np.int32, np.uint64, np.int64)
    return next(np.dtype(kind) for kind in kinds if np.iinfo(kind).min <= value <= np.iinfo(kind).max)


def _string(text: str | bytes) -> list[bytes]:
    raw = text.encode("utf8") if isinstance(text, str) else text
    return [_u64(len(raw)), raw]


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "little")


def _u64(number: int) -> bytes:
    return number.to_bytes(8, "little")


def _padding(n_bytes: int, alignment: int) -> bytes:
    return bytes(-n_bytes % alignment)
