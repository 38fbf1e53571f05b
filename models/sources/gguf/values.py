"""Reads the values in a GGUF header. Every count and length is checked before it is used."""

import mmap
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

Value = bool | int | float | str | NDArray[np.generic] | list[bytes]
"""The value of a key. Strings of an array stay bytes: a vocabulary has many, and few are shown."""

SPARE_BYTES = 32 << 20
"""Memory that a header may take beyond twice the size of the file, for vocabularies without weights."""

_LONGEST_NAME = (1 << 16) - 1

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 10: "Q", 11: "q", 12: "d"}
"""Types of numbers by their id, as `struct` and numpy name them."""

_BOOL, _STRING, _ARRAY = 7, 8, 9

_STRING_BYTES, _DECODED_BYTES = 64, 8
"""Upper bounds of the memory that a string of an array takes in addition to its bytes, and a byte of decoded text."""


class Cursor:
    """Reads values one after another from the start of a file. Methods raise ValueError for a damaged file.

    Attributes:
        at: Offset of the next value in bytes.
        size: Size of the file in bytes.
    """

    def __init__(self, mapped: mmap.mmap | bytes) -> None:
        self.at = 0
        self.size = len(mapped)
        self._mapped = mapped
        self._spare_bytes = self.size + SPARE_BYTES

    def numbers(self, form: str) -> tuple[Any, ...]:
        """Little-endian numbers, of types in the notation of `struct`."""
        form = f"<{form}"
        return struct.unpack_from(form, self._mapped, self._skip(struct.calcsize(form)))

    def name(self) -> str:
        """The name of a key or a tensor."""
        (length,) = self.numbers("Q")
        if not 0 < length <= _LONGEST_NAME:
            raise ValueError(f"a name has {length:,} bytes")
        return self._decoded(length, "strict")

    def value(self) -> Value:
        """The type of a value, and the value."""
        (kind,) = self.numbers("I")
        if kind == _STRING:
            return self._decoded(self.numbers("Q")[0], "replace")
        if kind == _ARRAY:
            return self._array()
        if kind == _BOOL:
            return bool(self._checked_bools(np.array(self.numbers("B"), np.uint8))[0])
        if kind not in _NUMBERS:
            raise ValueError(f"a value has the type {kind}, which GGUF does not have")
        number: int | float = self.numbers(_NUMBERS[kind])[0]
        return number

    def check_fits(self, count: int, least_bytes: int, what: str) -> None:
        """Checks that the rest of the file has room for `count` items."""
        if count > (self.size - self.at) // least_bytes:
            raise ValueError(f"it claims {count:,} {what} in {self.size - self.at:,} bytes")

    def reserve(self, n_bytes: int) -> None:
        """Checks that memory that is about to be taken is in proportion to the file."""
        self._spare_bytes -= n_bytes
        if self._spare_bytes < 0:
            raise ValueError(f"its header would take much more memory than the {self.size:,} bytes of the file")

    def _skip(self, n_bytes: int) -> int:
        """Moves behind some bytes, and returns the offset of the first one."""
        if n_bytes > self.size - self.at:
            raise ValueError(f"it claims {n_bytes:,} bytes at byte {self.at:,} of {self.size:,}")
        self.at += n_bytes
        return self.at - n_bytes

    def _decoded(self, length: int, errors: str) -> str:
        """Text of some bytes in UTF-8; `errors` as in `bytes.decode`."""
        start = self._skip(length)
        self.reserve(length * _DECODED_BYTES)
        raw = self._mapped[start : self.at]
        try:
            return raw.decode("utf8", errors)
        except UnicodeDecodeError as error:
            raise ValueError(f"the name {raw[:100]!r} is not UTF-8") from error

    def _array(self) -> NDArray[np.generic] | list[bytes]:
        kind, count = self.numbers("IQ")
        if kind == _STRING:
            return self._strings(count)
        if kind != _BOOL and kind not in _NUMBERS:
            raise ValueError(f"an array has items of the type {kind}")
        dtype = np.dtype(np.uint8 if kind == _BOOL else f"<{_NUMBERS[kind]}")
        self.check_fits(count, dtype.itemsize, "numbers")
        start = self._skip(count * dtype.itemsize)
        numbers = np.frombuffer(self._mapped[start : self.at], dtype)
        return self._checked_bools(numbers) if kind == _BOOL else numbers

    def _strings(self, count: int) -> list[bytes]:
        self.check_fits(count, 8, "strings")
        self.reserve(count * _STRING_BYTES)
        strings: list[bytes] = []
        # The only loop with an iteration for each token of a vocabulary, so it uses local names only.
        mapped, start, size, length_at = self._mapped, self.at, self.size, struct.Struct("<Q").unpack_from
        for _ in range(count):
            end = start + 8
            if end <= size:
                end += length_at(mapped, start)[0]
            if end > size:
                raise ValueError(f"a string ends at byte {end:,} of {size:,}")
            strings.append(mapped[start + 8 : end])
            start = end
        self.at = start
        return strings

    @staticmethod
    def _checked_bools(raw: NDArray[np.uint8]) -> NDArray[np.bool_]:
        if np.any(raw > 1):
            raise ValueError("a bool is neither 0 nor 1")
        return raw.view(np.bool_)
