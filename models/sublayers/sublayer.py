"""What each kind of sublayer says about itself. Everything that lists parameters, sites or parts reads it here."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import isabstract
from typing import Any, ClassVar

from models.errors import SpecError
from models.norms import LayerNorm, NoNorm, Norm
from models.sublayers.activation import Activation
from models.sublayers.states import State
from models.sublayers.work import Work

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a sublayer.

    Attributes:
        name: Name within the sublayer: `query.weight`.
        shape: A matrix is (output, input); a stack of matrices is (expert, output, input).
        sizes: Sizes of the spec that determine the shape, as `Family.keys` names them, for messages.
        product: Whether activations are multiplied with it, so that it may be quantized.
    """

    name: str
    shape: Shape
    sizes: tuple[str, ...] = ("d_model",)
    product: bool = False


@dataclass(frozen=True)
class SiteAxes:
    """The axes of one site of a sublayer.

    Attributes:
        first: `token`, or `past` for values that a mixer keeps.
        sizes: Name and size of every other axis.
        changed: The same axes for an edit, if an edit has others than the value.
        editable: Whether an edit of it would change anything.
    """

    first: str
    sizes: Mapping[str, int]
    changed: Mapping[str, int] | None = None
    editable: bool = True


@dataclass(frozen=True)
class Use:
    """How a pass uses one parameter.

    Attributes:
        share: Share of the parameter that is read, 0 to 1.
        rows: Rows of activations that are multiplied with each matrix, summed over the matrices that are read.
    """

    share: float
    rows: int


class Sublayer(ABC):
    """One kind of mixer or FFN, as frozen data. Norms around it belong to the layer.

    Class attributes:
        parts: The timed parts in order of computation, each with the modules that belong to it.
        rest: The part to which work outside the modules belongs.
        joined: Parameters with the same input whose quantized products are computed as one, by the product's name.
        writes: The matrices whose columns are added to the residual stream, in the order of its neurons or features.
    """

    parts: ClassVar[Mapping[str, tuple[str, ...]]]
    rest: ClassVar[str]
    joined: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    writes: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def parameters(self, d_model: int) -> Iterator[Parameter]:
        """All parameters in order of computation."""

    @abstractmethod
    def sites(self) -> Mapping[str, SiteAxes]:
        """All sites in order of computation, except the output, which every sublayer has."""

    @abstractmethod
    def work(self, float_bytes: int, tokens: int, depth: int) -> Work:
        """Work outside products with parameters, in a pass over `tokens` tokens after `depth`."""

    @abstractmethod
    def check(self, where: str) -> None:
        """Raises SpecError for sizes that no decoder can have. `where` names the layer."""

    def states(self) -> Mapping[str, State]:
        """What it keeps between two passes, by name."""
        return {}

    def use(self, parameter: Parameter, tokens: int) -> Use:
        """How a pass over `tokens` tokens uses a parameter."""
        return Use(1.0, tokens)


class Mixer(Sublayer):
    """Mixes tokens: each token reads earlier ones."""


class FFN(Sublayer):
    """Works on each token alone, through a wide layer of neurons.

    Attributes:
        activation: The activation function of its neurons.
        d_ff: Number of neurons.
        neuron_sites: The sites from which the neurons follow.
    """

    neuron_sites: ClassVar[tuple[str, ...]] = ("neurons",)

    activation: Activation
    d_ff: int

    @property
    def d_used(self) -> int:
        """Neurons that one token can use."""
        return self.d_ff


def kinds_of(base: Any) -> Iterator[type[Sublayer]]:
    """Every kind of mixer, of FFN or of sublayer, by its base."""
    for kind in base.__subclasses__():
        if not isabstract(kind):
            yield kind
        yield from kinds_of(kind)


def linear(
    name: str, rows: int, columns: int, bias: bool, sizes: tuple[str, ...], *, product: bool = True
) -> Iterator[Parameter]:
    """The parameters of a linear layer."""
    yield Parameter(f"{name}.weight", (rows, columns), sizes, product)
    if bias:
        yield Parameter(f"{name}.bias", (rows,), sizes)


def normed(name: str, norm: Norm | NoNorm, features: int) -> Iterator[Parameter]:
    """The parameters of a norm."""
    if isinstance(norm, NoNorm):
        return
    yield Parameter(f"{name}.weight", (features,))
    if isinstance(norm, LayerNorm) and norm.bias:
        yield Parameter(f"{name}.bias", (features,))


def at_least_one(where: str, **sizes: int) -> None:
    """Raises SpecError if a size is below 1."""
    for name, size in sizes.items():
        if size < 1:
            raise SpecError(f"{where}{name} is {size}; it must be at least 1")
