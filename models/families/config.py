"""Reads the keys of `config.json`. The error for a missing or wrong value has the key and the value."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import Repr
from typing import Any

from models.errors import SpecError
from models.spec import Activation

ACTIVATIONS = {
    "relu": Activation.RELU,
    "relu2": Activation.RELU2,
    "gelu": Activation.GELU,
    "gelu_python": Activation.GELU,
    "gelu_new": Activation.GELU_TANH,
    "gelu_fast": Activation.GELU_TANH,
    "gelu_accurate": Activation.GELU_TANH,
    "gelu_pytorch_tanh": Activation.GELU_TANH,
    "gelu_python_tanh": Activation.GELU_TANH,
    "silu": Activation.SILU,
    "swish": Activation.SILU,
}
"""Activation functions by their names in transformers."""

LARGEST = 2**31 - 1
"""Largest size in a config; products of sizes up to this do not overflow."""

MOST_LAYERS = 10_000
"""Most layers of a decoder, since each layer has its own spec; published decoders have fewer than 200."""


_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist, _SHORT.maxstring, _SHORT.maxlong = 2, 4, 8, 60, 30


def shown(value: object) -> str:
    """A value of a config for a message: shortened, and `null` for None."""
    return "null" if value is None else _SHORT.repr(value)


@dataclass(frozen=True)
class Config:
    """The keys of one `config.json`, or of a table in it, by their Hugging Face names."""

    path: Path
    keys: Mapping[str, Any]

    def stated(self, key: str) -> Any:
        """The value of a key; raises SpecError if the config does not have it."""
        if key not in self.keys:
            raise SpecError(f"{self.path} has no '{key}', which is required")
        return self.keys[key]

    def refusal(self, key: str, needed: str) -> SpecError:
        """The error for a wrong value; `needed` describes a correct one."""
        return SpecError(f"{self.path}: '{key}' is {shown(self.keys.get(key))}; it must be {needed}")

    def count(self, key: str, least: int = 1, most: int = LARGEST) -> int:
        """A whole number."""
        value = self.stated(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.refusal(key, f"a whole number of at least {least}")
        if value > most:
            raise self.refusal(key, f"a whole number of at most {most}")
        return value

    def count_or_none(self, key: str) -> int | None:
        """A whole number of at least 1, or null."""
        return None if self.stated(key) is None else self.count(key)

    def number(self, key: str) -> float:
        """A number above 0."""
        value = self.stated(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 1e-37 < value < 1e37:
            raise self.refusal(key, "a number above 0, within the range of float32")
        return float(value)

    def number_or_none(self, key: str) -> float | None:
        """A number above 0, or null."""
        return None if self.stated(key) is None else self.number(key)

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of numbers above 0."""
        value = self.stated(key)
        if not isinstance(value, list) or not value:
            raise self.refusal(key, "a list of numbers")
        return tuple(Config(self.path, {key: item}).number(key) for item in value)

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.stated(key)
        if not isinstance(value, bool):
            raise self.refusal(key, "true or false")
        return value

    def activation(self, key: str) -> Activation:
        """The activation function of the FFN."""
        name = self.stated(key)
        if not isinstance(name, str) or name not in ACTIVATIONS:
            raise self.refusal(key, f"one that Edge supports: {', '.join(ACTIVATIONS)}")
        return ACTIVATIONS[name]

    def table(self, key: str) -> "Config":
        """The keys of a nested table; empty if the table is missing or null."""
        value = self.keys.get(key)
        if value is not None and not isinstance(value, dict):
            raise self.refusal(key, "a table")
        return Config(self.path, value or {})

    def refuse(self, key: str, feature: str) -> None:
        """Raises SpecError if `key` enables a feature that Edge does not support."""
        if self.keys.get(key):
            raise SpecError(f"{self.path}: '{key}' requires {feature}, which Edge does not support")
