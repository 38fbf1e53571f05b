"""The specification of a decoder: its sizes, and the kinds of parts of every layer.

Axis names used in every annotation of this project:

    token     query position in the text (0 = first token of the prompt)
    past      key position; equals `token` in a full pass, grows by one per decoded token
    head      query heads
    kv_head   key and value heads; several query heads may share one
    head_dim  features inside one head
    model     features of the residual stream
    neuron    hidden features of the FFN
    vocab     entries of the vocabulary
    layer     layers; layer 0 follows the embedding
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from models.errors import SpecError

# Re-exported, since they are parts of a spec.
from models.norms import After as After
from models.norms import Around as Around
from models.norms import Before as Before
from models.norms import HeadNorm as HeadNorm
from models.norms import HeadNorms as HeadNorms
from models.norms import JointNorm as JointNorm
from models.norms import LayerNorm as LayerNorm
from models.norms import NoHeadNorm as NoHeadNorm
from models.norms import NoNorm as NoNorm
from models.norms import Norm as Norm
from models.norms import OfSum as OfSum
from models.norms import OwnHeadNorm as OwnHeadNorm
from models.norms import Placement as Placement
from models.norms import RMSNorm as RMSNorm
from models.norms import RotatedHeadNorm as RotatedHeadNorm
from models.positions import Learned as Learned
from models.positions import LinearScaling as LinearScaling
from models.positions import ListedScaling as ListedScaling
from models.positions import Llama3Scaling as Llama3Scaling
from models.positions import NoPosition as NoPosition
from models.positions import NoScaling as NoScaling
from models.positions import Rotary as Rotary
from models.positions import Scaling as Scaling
from models.positions import YarnScaling as YarnScaling
from models.sublayers.activation import Activation as Activation
from models.sublayers.attention import Attention as Attention
from models.sublayers.attention import AttentionWindow as AttentionWindow
from models.sublayers.attention import Cap as Cap
from models.sublayers.attention import Clip as Clip
from models.sublayers.attention import Full as Full
from models.sublayers.attention import LogScale as LogScale
from models.sublayers.attention import NoCap as NoCap
from models.sublayers.attention import NoClip as NoClip
from models.sublayers.attention import QueryScale as QueryScale
from models.sublayers.attention import SameScale as SameScale
from models.sublayers.attention import Sliding as Sliding
from models.sublayers.attention import SoftCap as SoftCap
from models.sublayers.dense import Clamped as Clamped
from models.sublayers.dense import Dense as Dense
from models.sublayers.dense import Gated as Gated
from models.sublayers.dense import Plain as Plain
from models.sublayers.experts import MoE as MoE
from models.sublayers.experts import NoShared as NoShared
from models.sublayers.experts import Shared as Shared
from models.sublayers.experts import SharedExpert as SharedExpert
from models.sublayers.routers import Groups as Groups
from models.sublayers.routers import NoGroups as NoGroups
from models.sublayers.routers import Router as Router
from models.sublayers.routers import Sigmoid as Sigmoid
from models.sublayers.routers import SoftmaxFirst as SoftmaxFirst
from models.sublayers.routers import TopFirst as TopFirst
from models.sublayers.sublayer import FFN as FFN
from models.sublayers.sublayer import Mixer as Mixer
from models.sublayers.sublayer import Sublayer, at_least_one


@dataclass(frozen=True)
class Sequential:
    """`mid = x + attn(norm(x)); output = mid + ffn(norm(mid))`."""


@dataclass(frozen=True)
class Parallel:
    """`output = x + attn(norm(x)) + ffn(norm(x))`, each with its own norm."""


Residual = Sequential | Parallel


@dataclass(frozen=True)
class Direct:
    """Token vectors have the width of the residual stream."""


@dataclass(frozen=True)
class Projected:
    """Token vectors have `width` numbers. Two matrices project to the residual stream and back to the head."""

    width: int


Embedded = Direct | Projected


@dataclass(frozen=True, kw_only=True)
class LayerSpec:
    """One layer: a mixer and an FFN, their norms and residual order.

    Attributes:
        norm: The norm of each sublayer.
        placement: Placement of these norms.
    """

    mixer: Mixer
    ffn: FFN
    norm: Norm
    residual: Residual
    placement: Placement = field(default_factory=Before)

    @property
    def sublayers(self) -> Mapping[str, Sublayer]:
        """Both sublayers in order of computation, by their names in parameters, sites and timings."""
        return {"attn": self.mixer, "ffn": self.ffn}

    @property
    def attention(self) -> Attention:
        """The mixer, which is attention."""
        assert isinstance(self.mixer, Attention), f"the mixer is {type(self.mixer).__name__}"
        return self.mixer

    @property
    def norms_before(self) -> bool:
        """Whether there is a norm of sublayer inputs."""
        return isinstance(self.placement, Before | Around)

    @property
    def norms_after(self) -> bool:
        """Whether there is a norm of sublayer outputs."""
        return isinstance(self.placement, After | Around)

    @property
    def norms_sum(self) -> bool:
        """Whether there is a norm of the residual stream after each sublayer."""
        return isinstance(self.placement, OfSum)


@dataclass(frozen=True, kw_only=True)
class DecoderSpec:
    """A decoder: its sizes and its layers.

    Attributes:
        context: Maximum tokens, prompt and generated together.
        positions: Position encoding of the embedding; rotary ones belong to the layers.
        tied: Whether the head uses the embedding's weights.
        head_bias: Whether the head has a bias.
        logit_cap: Soft cap of the logits.
        embedded: Width of token vectors.
    """

    vocab_size: int
    d_model: int
    context: int
    positions: Learned | NoPosition
    layers: tuple[LayerSpec, ...]
    norm: Norm | NoNorm
    tied: bool
    head_bias: bool = False
    logit_cap: Cap = field(default_factory=NoCap)
    embedded: Embedded = Direct()

    def __post_init__(self) -> None:
        at_least_one("", vocab_size=self.vocab_size, d_model=self.d_model, context=self.context)
        if self.token_width < 1:
            raise SpecError(f"the token width is {self.token_width}; it must be at least 1")
        if not self.layers:
            raise SpecError("a decoder needs at least one layer, this one has none")
        if isinstance(self.positions, Learned) and self.positions.length < self.context:
            raise SpecError(
                f"only {self.positions.length} positions are learned for a context of {self.context} tokens; "
                f"set context to {self.positions.length}"
            )
        for index, layer in enumerate(self.layers):
            if layer.norms_sum and isinstance(layer.residual, Parallel):
                raise SpecError(f"layer {index} has norms of the residual stream, which a parallel layer cannot have")
            for sublayer in layer.sublayers.values():
                sublayer.check(f"layer {index}: ")

    @property
    def n_layers(self) -> int:
        return len(self.layers)

    @property
    def n_heads(self) -> int:
        """Query heads of the layer with the most: the width of a grid of layers and heads."""
        return max(attention.n_heads for attention in self.attentions)

    @property
    def d_ffs(self) -> tuple[int, ...]:
        """Number of neurons of each layer."""
        return tuple(layer.ffn.d_ff for layer in self.layers)

    @property
    def activations(self) -> tuple[Activation, ...]:
        """The activation function of each layer."""
        return tuple(layer.ffn.activation for layer in self.layers)

    @property
    def attentions(self) -> tuple[Attention, ...]:
        """The attention of every layer that has one."""
        return tuple(layer.mixer for layer in self.layers if isinstance(layer.mixer, Attention))

    @property
    def token_width(self) -> int:
        """Width of the vector of one token."""
        return self.embedded.width if isinstance(self.embedded, Projected) else self.d_model

    def sublayers(self) -> Iterator[tuple[str, Sublayer]]:
        """Every sublayer in order of computation, with its name: `layers.3.attn`."""
        for index, layer in enumerate(self.layers):
            for name, sublayer in layer.sublayers.items():
                yield f"layers.{index}.{name}", sublayer
