"""Typed access to the keys of a GGUF file, most of which have the prefix of its architecture."""

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import SpecError
from models.families.config import LARGEST, shown
from models.families.views import Shape

_LEAST, _MOST = 1e-37, 1e37
"""Range of numbers, within that of float32, as for configs."""

_LAYER = re.compile(r"blk\.(\d{1,6})\.")


class GgufKeys:
    """The keys of one file, by their names without the architecture: `block_count`.

    Attributes:
        file: The file, for messages.
        tensors: Shapes of all tensors by name, since some sizes are not in the keys.
        architecture: llama.cpp's name of the kind of decoder.
    """

    def __init__(self, file: Path, keys: Mapping[str, Any], tensors: Mapping[str, Shape]) -> None:
        self.file, self._keys, self.tensors = file, keys, tensors
        architecture = keys.get("general.architecture")
        if not isinstance(architecture, str):
            raise SpecError(f"{file} has no key 'general.architecture', so its decoder is unknown")
        self.architecture = architecture

    def __contains__(self, name: str) -> bool:
        return self._full(name) in self._keys

    def whole(self, name: str, absent: int | None = None, *, least: int = 1, most: int = LARGEST) -> int:
        """A whole number. A list with one number for each layer must have equal ones."""
        value = self._value(name, absent)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.refusal(name, f"a whole number of at least {least}")
        if value > most:
            raise self.refusal(name, f"a whole number of at most {most}")
        return value

    def number(self, name: str, absent: float | None = None) -> float:
        """A number above 0; as the shortest decimal that is the same float32, since configs state such decimals."""
        value = self._value(name, absent)
        if isinstance(value, bool) or not isinstance(value, int | float) or not _LEAST < value < _MOST:
            raise self.refusal(name, "a number above 0, within the range of float32")
        return float(str(np.float32(value)))

    def factor(self, name: str) -> float | None:
        """A number above 0; None if it is missing or 0, which llama.cpp writes for none."""
        value = self._keys.get(self._full(name))
        none = value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value == 0)
        return None if none else self.number(name)

    def flag(self, name: str, absent: bool) -> bool:
        """True or false."""
        value = self._value(name, absent)
        if not isinstance(value, bool):
            raise self.refusal(name, "true or false")
        return value

    def text(self, name: str, absent: str) -> str:
        """A text."""
        value = self._value(name, absent)
        if not isinstance(value, str):
            raise self.refusal(name, "a text")
        return value

    def flags(self, name: str, count: int) -> list[bool] | None:
        """A list with a flag for each of `count` layers, true or false, or 1 or 0; None for a single value or none."""
        value = self._keys.get(self._full(name))
        if not isinstance(value, list | np.ndarray):
            return None
        listed = list(value)
        if len(listed) < count or any(flag not in (0, 1) for flag in listed):
            raise self.refusal(name, f"a number, or a list of true or false for {count} layers")
        return [bool(flag) for flag in listed[:count]]

    def has(self, tensor: str) -> bool:
        """Whether a tensor is stored."""
        return tensor in self.tensors

    @cached_property
    def stored_layers(self) -> int:
        """The number of layers up to the last one that has tensors."""
        found = (match for name in self.tensors if (match := _LAYER.match(name)))
        return max((int(match[1]) + 1 for match in found), default=0)

    def refusal(self, name: str, needed: str) -> SpecError:
        """The error for a wrong value; `needed` describes a correct one."""
        value = self._keys.get(self._full(name))
        listed = value.tolist() if isinstance(value, np.ndarray) else value
        said = "missing" if value is None else shown(listed)
        return SpecError(f"{self.file}: '{self._full(name)}' is {said}; it must be {needed}")

    def _full(self, name: str) -> str:
        return f"{self.architecture}.{name}"

    def _value(self, name: str, absent: Any) -> Any:
        value = self._keys.get(self._full(name), absent)
        if value is None:
            raise SpecError(f"{self.file} has no key '{self._full(name)}', which is required")
        if isinstance(value, np.ndarray):
            values = set(value.tolist())
            if len(values) != 1:
                raise self.refusal(name, "one value, or the same in all layers")
            return values.pop()
        return value
