"""Reads GGUF files, the format of llama.cpp. Tensors are memory-mapped and read when they are used.

The `gguf` package is slow on large vocabularies and checks little, so the header is parsed here.
"""

import mmap
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from shlex import quote

import numpy as np
from jaxtyping import UInt8

from models.errors import CheckpointError
from models.other_formats import refuse_pointer
from models.sources.gguf.ggml_types import GGML_TYPES, TYPE_NAMED
from models.sources.gguf.values import Cursor, Value

_MAGIC, _VERSIONS = b"GGUF", (2, 3)
_OLDER = {b"lmgg": "GGML", b"fmgg": "GGMF", b"tjgg": "GGJT", b"algg": "GGLA"}
"""Formats of llama.cpp before GGUF, by their first bytes."""

_ENTRY_BYTES = 768
"""Upper bound of the memory that a key or a tensor takes in addition to its name and its value."""

_LARGEST_ALIGNMENT = 1 << 30

_SPLIT = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)

_NAMED = 4
"""Maximum number of files in a message."""


@dataclass(frozen=True)
class GgufTensor:
    """A tensor in a GGUF file.

    Attributes:
        kind: Name of its ggml type, such as `Q4_K`.
        shape: Sizes, outermost first; the weights of a row are adjacent.
        offset_bytes: Offset from the start of the file.
    """

    file: Path
    kind: str
    shape: tuple[int, ...]
    offset_bytes: int

    @property
    def row_bytes(self) -> int:
        return self.shape[-1] // TYPE_NAMED[self.kind].block_weights * TYPE_NAMED[self.kind].block_bytes

    @property
    def stored_bytes(self) -> int:
        return prod(self.shape[:-1]) * self.row_bytes

    def rows(self) -> UInt8[np.ndarray, "row bytes"]:
        """Blocks of each row as they are stored, memory-mapped and read-only."""
        try:
            return np.memmap(self.file, np.uint8, "r", self.offset_bytes, (prod(self.shape[:-1]), self.row_bytes))
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{self.file} cannot be read any more ({error}); it changed or moved while it was open: open it again"
            ) from error


@dataclass(frozen=True)
class GgufFile:
    """A GGUF file, or all parts of a split one.

    Attributes:
        files: The parts, in order; one that is not split is its only part.
        keys: Values by their key; of a split file those of the first part. Arrays of strings are lists of bytes.
        tensors: All tensors by their name, in the order of the files.
    """

    files: tuple[Path, ...]
    keys: Mapping[str, Value]
    tensors: Mapping[str, GgufTensor]


def open_gguf(file: Path) -> GgufFile:
    """Opens a GGUF file; of a split one all parts, whichever is named. Reads only headers.

    Raises:
        CheckpointError: the file is damaged, of a version that Edge does not read, or a part is missing.
    """
    named = _open_part(file)
    count = _whole_number(named, "split.count")
    if count <= 1:
        return named
    files = _part_files(file, count)
    parts = [named if part == file else _open_part(part) for part in files]
    return GgufFile(files, parts[0].keys, _joined(parts))


def _joined(parts: Sequence[GgufFile]) -> dict[str, GgufTensor]:
    """The tensors of all parts, after a check that the parts belong together."""
    tensors: dict[str, GgufTensor] = {}
    for number, part in enumerate(parts):
        own = (_whole_number(part, "split.no"), _whole_number(part, "split.count"))
        if own != (number, len(parts)):
            raise CheckpointError(
                f"{part.files[0]} has part {own[0] + 1:,} of {own[1]:,}, and its name says part {number + 1:,} of "
                f"{len(parts):,}; download the parts again"
            )
        for name, tensor in part.tensors.items():
            if name in tensors:
                raise CheckpointError(
                    f"{tensors[name].file} and {tensor.file.name} both have the tensor {name!r}; download the parts "
                    "again"
                )
            tensors[name] = tensor
    total = _whole_number(parts[0], "split.tensors.count")
    if len(tensors) != total:
        raise CheckpointError(
            f"{parts[0].files[0]} counts {total:,} tensors in all parts, and they have {len(tensors):,}; download the "
            "parts again"
        )
    return tensors


def _whole_number(part: GgufFile, key: str) -> int:
    number = part.keys.get(key, 0)
    if type(number) is not int or number < 0:
        raise CheckpointError(_damaged(part.files[0], f"its key {key!r} is not a count"))
    return number


def _part_files(file: Path, count: int) -> tuple[Path, ...]:
    """The files of all parts, of which one is named."""
    name = _SPLIT.fullmatch(file.name)
    if name is None or int(name["count"]) != count:
        raise CheckpointError(
            f"{file} is one of {count:,} parts, so its name must end in '-00001-of-{count:05}.gguf', with its number; "
            "rename it, and put the other parts into its folder"
        )
    files = tuple(file.with_name(f"{name['stem']}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1))
    missing = [part.name for part in files if not part.is_file()]
    if missing:
        more = f" and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
        raise CheckpointError(
            f"{file.parent} lacks {', '.join(missing[:_NAMED])}{more} of the {count:,} parts of {file.name}; download "
            "all parts into this folder"
        )
    return files


def _open_part(file: Path) -> GgufFile:
    """One file, which may be a part of a split one."""
    if file.is_dir():
        raise CheckpointError(f"{file} is a folder; name the GGUF file in it")
    try:
        if file.exists() and not file.is_file():
            raise CheckpointError(f"{file} is a device or a pipe; name a GGUF file")
        refuse_pointer(file)
        with file.open("rb") as opened:
            _check_format(file, opened.read(8))
            with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                return _parsed(file, Cursor(mapped))
    except OSError as error:
        raise CheckpointError(
            f"{file} cannot be read: {error.strerror or error}; check its name, and that you may read it"
        ) from error
    except ValueError as error:
        raise CheckpointError(_damaged(file, str(error))) from error


def _check_format(file: Path, start: bytes) -> None:
    """Checks the first bytes: the magic number and the version."""
    if not start:
        raise CheckpointError(_damaged(file, "it is empty"))
    if (older := _OLDER.get(start[:4])) is not None:
        raise CheckpointError(
            f"{file} has the format {older}, which llama.cpp had before GGUF; download the model as GGUF"
        )
    if start[:4] != _MAGIC:
        raise CheckpointError(f"{file} is not a GGUF file: it starts with {start[:4]!r}; name a GGUF file")
    if len(start) < 8:
        raise CheckpointError(_damaged(file, "it ends in its version"))
    version = int.from_bytes(start[4:], "little")
    if version in _VERSIONS:
        return
    if version and version & 0xFFFF == 0:
        raise CheckpointError(
            f"{file} is a big-endian GGUF file, and Edge reads little-endian ones; convert it with 'pip install gguf' "
            f"and gguf-convert-endian {quote(str(file))} little"
        )
    raise CheckpointError(
        f"{file} has version {version:,} of GGUF, and Edge reads 2 and 3; download a file of version 3, or convert the "
        "model again with llama.cpp"
    )


def _parsed(file: Path, cursor: Cursor) -> GgufFile:
    cursor.numbers("4sI")
    n_tensors, n_keys = cursor.numbers("QQ")
    cursor.check_fits(n_keys, 14, "keys")
    cursor.reserve(n_keys * _ENTRY_BYTES)
    keys: dict[str, Value] = {}
    for _ in range(n_keys):
        key = cursor.name()
        if key in keys:
            raise ValueError(f"it has the key {key!r} twice")
        try:
            keys[key] = cursor.value()
        except ValueError as error:
            raise ValueError(f"in the key {key!r}, {error}") from error
    return GgufFile((file,), keys, _tensors(file, cursor, n_tensors, _alignment(keys)))


def _alignment(keys: Mapping[str, Value]) -> int:
    alignment = keys.get("general.alignment", 32)
    if type(alignment) is not int:
        raise ValueError("its key 'general.alignment' is not a whole number")
    if alignment < 8 or alignment & (alignment - 1) or alignment > _LARGEST_ALIGNMENT:
        raise ValueError(
            f"its key 'general.alignment' is {alignment:,}, not a power of two from 8 to {_LARGEST_ALIGNMENT:,}"
        )
    return alignment


def _tensors(file: Path, cursor: Cursor, count: int, alignment: int) -> dict[str, GgufTensor]:
    """All tensors, in the order of the header. Offsets in the header count from the end of the header, aligned."""
    cursor.check_fits(count, 33, "tensors")
    cursor.reserve(count * _ENTRY_BYTES)
    entries: dict[str, tuple[str, tuple[int, ...], int]] = {}
    for _ in range(count):
        name = cursor.name()
        if name in entries:
            raise ValueError(f"it has the tensor {name!r} twice")
        (n_sizes,) = cursor.numbers("I")
        if not 1 <= n_sizes <= 4:
            raise ValueError(f"tensor {name!r} has {n_sizes:,} sizes")
        shape = cursor.numbers(f"{n_sizes}Q")[::-1]
        kind, offset_bytes = cursor.numbers("IQ")
        if kind not in GGML_TYPES:
            raise CheckpointError(
                f"{file} has the tensor {name!r} in a format that Edge does not know (ggml type {kind}); download the "
                "model in another quantization, such as Q4_K_M"
            )
        if 0 in shape or shape[-1] % GGML_TYPES[kind].block_weights:
            raise ValueError(f"tensor {name!r} of type {GGML_TYPES[kind].name} has the shape {shape}")
        if offset_bytes % alignment:
            raise ValueError(f"tensor {name!r} is at {offset_bytes:,}, not a multiple of {alignment}")
        entries[name] = GGML_TYPES[kind].name, shape, offset_bytes
    start = -(-cursor.at // alignment) * alignment
    tensors = {name: GgufTensor(file, kind, shape, start + offset) for name, (kind, shape, offset) in entries.items()}
    _check_spans(tensors, cursor.size)
    return tensors


def _check_spans(tensors: Mapping[str, GgufTensor], size: int) -> None:
    """Raises ValueError if tensors overlap or exceed the file."""
    previous_end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].offset_bytes):
        if tensor.offset_bytes < previous_end:
            raise ValueError(f"tensor {name!r} overlaps another one")
        previous_end = tensor.offset_bytes + tensor.stored_bytes
        if previous_end > size:
            raise ValueError(f"tensor {name!r} ends at byte {previous_end:,} of {size:,}")


def _damaged(file: Path, how: str) -> str:
    return f"{file} is truncated or damaged: {how}; download or copy it again"
