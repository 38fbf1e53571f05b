"""Dense FFNs: every neuron of every token is computed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from models.errors import SpecError
from models.sublayers.activation import Activation
from models.sublayers.sublayer import FFN, Parameter, SiteAxes, linear
from models.sublayers.work import Work

_SIZES = ("d_ff", "d_model")


@dataclass(frozen=True)
class Dense(FFN):
    """An FFN of one hidden layer."""

    activation: Activation
    d_ff: int
    bias: bool

    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "norm": ("norm", "after"),
        "up": ("gate", "up"),
        "act": (),
        "down": ("down",),
    }
    rest: ClassVar[str] = "act"
    writes: ClassVar[tuple[str, ...]] = ("down",)

    def check(self, where: str) -> None:
        if self.d_ff < 1:
            raise SpecError(f"{where}d_ff is {self.d_ff}; an FFN needs at least 1 neuron")

    def sites(self) -> Mapping[str, SiteAxes]:
        return {"neurons": SiteAxes("token", {"neuron": self.d_ff})}  # input of the down projection

    def work(self, float_bytes: int, tokens: int, depth: int) -> Work:
        return Work(2.0 * tokens * self.d_ff * float_bytes, 0.0)


@dataclass(frozen=True)
class Plain(Dense):
    """`down(act(up(x)))`: one key and one value vector per neuron."""

    def parameters(self, d_model: int) -> Iterator[Parameter]:
        yield from linear("up", self.d_ff, d_model, self.bias, _SIZES)
        yield from linear("down", d_model, self.d_ff, self.bias, _SIZES)


@dataclass(frozen=True)
class Gated(Dense):
    """`down(act(gate(x)) * up(x))`."""

    joined: ClassVar[Mapping[str, tuple[str, ...]]] = {"gate_up": ("gate", "up")}

    def parameters(self, d_model: int) -> Iterator[Parameter]:
        yield from linear("gate", self.d_ff, d_model, self.bias, _SIZES)
        yield from linear("up", self.d_ff, d_model, self.bias, _SIZES)
        yield from linear("down", d_model, self.d_ff, self.bias, _SIZES)


@dataclass(frozen=True)
class Clamped(Gated):
    """`down((clip(up(x), ±limit) + 1) · g · sigmoid(steepness · g))` with `g = min(gate(x), limit)` (gpt-oss).

    Attributes:
        activation: SILU, whose steepness is another one here.
    """

    limit: float = 7.0
    steepness: float = 1.702
