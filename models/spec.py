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

import math
from dataclasses import dataclass, field
from enum import StrEnum

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
from models.norms import Placement as Placement
from models.norms import RMSNorm as RMSNorm
from models.positions import Learned as Learned
from models.positions import LinearScaling as LinearScaling
from models.positions import ListedScaling as ListedScaling
from models.positions import Llama3Scaling as Llama3Scaling
from models.positions import NoPosition as NoPosition
from models.positions import NoScaling as NoScaling
from models.positions import Rotary as Rotary
from models.positions import Scaling as Scaling
from models.positions import YarnScaling as YarnScaling


class Activation(StrEnum):
    """The activation function of an FFN."""

    RELU = "relu"
    GELU = "gelu"  # exact, by erf
    GELU_TANH = "gelu_tanh"  # the tanh approximation
    SILU = "silu"


@dataclass(frozen=True)
class Full:
    """Every token attends to itself and all earlier tokens."""


@dataclass(frozen=True)
class Sliding:
    """Every token attends to the last `tokens` tokens, including itself."""

    tokens: int


AttentionWindow = Full | Sliding


@dataclass(frozen=True)
class NoCap:
    """No cap."""


@dataclass(frozen=True)
class SoftCap:
    """`limit * tanh(x / limit)`: keeps numbers below the limit (Gemma 2)."""

    limit: float


Cap = NoCap | SoftCap


@dataclass(frozen=True)
class Plain:
    """`down(act(up(x)))`: one key and one value vector per neuron."""

    activation: Activation
    d_ff: int
    bias: bool


@dataclass(frozen=True)
class Gated:
    """`down(act(gate(x)) * up(x))`."""

    activation: Activation
    d_ff: int
    bias: bool


FFN = Plain | Gated


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
    """One layer: attention window, position encoding, FFN, norms and residual order.

    Attributes:
        qkv_bias: Whether query, key and value projections have a bias.
        out_bias: Whether the output projection of attention has a bias.
        head_norm: Norm of queries and keys.
        placement: Placement of the norm of each sublayer.
        score_cap: Soft cap of scaled attention scores, before the softmax.
    """

    window: AttentionWindow
    position: Rotary | NoPosition
    ffn: FFN
    norm: Norm
    residual: Residual
    qkv_bias: bool
    out_bias: bool
    head_norm: HeadNorms = field(default_factory=NoHeadNorm)
    placement: Placement = field(default_factory=Before)
    score_cap: Cap = NoCap()

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
    n_heads: int
    n_kv_heads: int
    head_dim: int
    context: int
    positions: Learned | NoPosition
    layers: tuple[LayerSpec, ...]
    norm: Norm | NoNorm
    tied: bool
    head_bias: bool = False
    logit_cap: Cap = NoCap()
    embedded: Embedded = Direct()

    def __post_init__(self) -> None:
        for name in ("vocab_size", "d_model", "n_heads", "n_kv_heads", "head_dim", "context"):
            if getattr(self, name) < 1:
                raise SpecError(f"{name} is {getattr(self, name)}; a decoder needs at least 1")
        if self.token_width < 1:
            raise SpecError(f"the token width is {self.token_width}; it must be at least 1")
        if not self.layers:
            raise SpecError("a decoder needs at least one layer, this one has none")
        if self.n_heads % self.n_kv_heads:
            choices = [n for n in range(1, self.n_heads + 1) if self.n_heads % n == 0]
            raise SpecError(
                f"{self.n_heads} query heads cannot share {self.n_kv_heads} key/value heads evenly; "
                f"n_kv_heads must be one of {choices}"
            )
        if isinstance(self.positions, Learned) and self.positions.length < self.context:
            raise SpecError(
                f"only {self.positions.length} positions are learned for a context of {self.context} tokens; "
                f"set context to {self.positions.length}"
            )
        for index, layer in enumerate(self.layers):
            self._check_layer(index, layer)

    def _check_layer(self, index: int, layer: LayerSpec) -> None:
        if layer.ffn.d_ff < 1:
            raise SpecError(f"layer {index}: d_ff is {layer.ffn.d_ff}; an FFN needs at least 1 neuron")
        if layer.norms_sum and isinstance(layer.residual, Parallel):
            raise SpecError(f"layer {index} has norms of the residual stream, which a parallel layer cannot have")
        if isinstance(layer.window, Sliding) and layer.window.tokens < 1:
            raise SpecError(f"layer {index} has a window of {layer.window.tokens} tokens; it must be at least 1")
        if isinstance(layer.position, Rotary):
            rotated = layer.position.features
            if rotated % 2 or not 0 < rotated <= self.head_dim:
                raise SpecError(
                    f"layer {index} rotates {rotated} features of each head; the number must be even, from 2 to "
                    f"head_dim ({self.head_dim})"
                )
            scaling = layer.position.scaling
            if isinstance(scaling, ListedScaling) and len(scaling.factors) != rotated // 2:
                raise SpecError(
                    f"layer {index} has {len(scaling.factors)} scaling factors; {rotated} features need {rotated // 2}"
                )

    @property
    def n_layers(self) -> int:
        return len(self.layers)

    @property
    def token_width(self) -> int:
        """Width of the vector of one token."""
        return self.embedded.width if isinstance(self.embedded, Projected) else self.d_model

    @property
    def sharing(self) -> int:
        """Query heads per key/value head."""
        return self.n_heads // self.n_kv_heads

    @property
    def scale(self) -> float:
        """Factor of attention scores: `1 / √head_dim`."""
        return 1.0 / math.sqrt(self.head_dim)
