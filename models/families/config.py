"""Reads `config.json` key by key: a missing or ill-typed key is an error that names it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import SpecError
from models.spec import Activation

_ACTIVATIONS = {
    "relu": Activation.RELU,
    "gelu": Activation.GELU,
    "gelu_new": Activation.GELU_TANH,
    "gelu_fast": Activation.GELU_TANH,
    "gelu_pytorch_tanh": Activation.GELU_TANH,
    "silu": Activation.SILU,
    "swish": Activation.SILU,
}


@dataclass(frozen=True)
class Config:
    """The keys of one `config.json`, as Hugging Face names them."""

    path: Path
    keys: dict[str, Any]

    def count(self, key: str, default: int | None = None) -> int:
        """A positive whole number; a missing one falls back to `default` if there is one."""
        value = self.keys.get(key)
        value = default if value is None else value
        if value is None:
            raise SpecError(f"{self.path} has no '{key}', which says how large this decoder is")
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise SpecError(f"{self.path}: '{key}' is {value!r}; it must be a whole number of at least 1")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A positive number; a missing one falls back to `default` if there is one."""
        value = self.keys.get(key)
        value = default if value is None else value
        if value is None:
            raise SpecError(f"{self.path} has no '{key}'; a number above 0 is needed there")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise SpecError(f"{self.path}: '{key}' is {value!r}; it must be a number above 0")
        return float(value)

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of positive numbers."""
        value = self.keys.get(key)
        if not isinstance(value, list) or not value:
            raise SpecError(f"{self.path}: '{key}' is {value!r}; it must be a list of numbers")
        return tuple(Config(self.path, {key: item}).number(key) for item in value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.keys.get(key)
        value = default if value is None else value
        if not isinstance(value, bool):
            raise SpecError(f"{self.path}: '{key}' is {value!r}; it must be true or false")
        return value

    def activation(self, key: str, default: str) -> Activation:
        """The FFN's non-linearity."""
        name = self.keys.get(key) or default
        if name not in _ACTIVATIONS:
            raise SpecError(f"{self.path}: '{key}' is {name!r}; Edge runs {', '.join(_ACTIVATIONS)}")
        return _ACTIVATIONS[name]

    def table(self, key: str) -> "Config":
        """The keys of a nested table; an absent one is empty."""
        value = self.keys.get(key)
        if value is not None and not isinstance(value, dict):
            raise SpecError(f"{self.path}: '{key}' is {value!r}; it must be a table")
        return Config(self.path, value or {})

    def refuse(self, key: str, feature: str) -> None:
        """Fails where `key` switches on a feature that Edge does not run."""
        if self.keys.get(key):
            raise SpecError(f"{self.path}: '{key}' asks for {feature}, which Edge does not run")

    def require(self, key: str, feature: str) -> None:
        """Fails where `key` is false and so switches on a feature that Edge does not run."""
        if not self.flag(key, True):
            raise SpecError(f"{self.path}: '{key}' is false, which asks for {feature}; Edge does not run it")
