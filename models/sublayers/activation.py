"""Activation functions of FFNs."""

from enum import StrEnum


class Activation(StrEnum):
    """The activation function of an FFN."""

    RELU = "relu"
    RELU2 = "relu2"  # max(x, 0)²
    GELU = "gelu"  # exact, by erf
    GELU_TANH = "gelu_tanh"  # the tanh approximation
    SILU = "silu"

    @property
    def has_zeros(self) -> bool:
        """Whether it is exactly 0 on a range of inputs."""
        return self in (Activation.RELU, Activation.RELU2)
