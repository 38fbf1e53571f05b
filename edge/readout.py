"""From the residual stream to logits, in numpy: the final norm, the projection to the token width, the head."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32, Float64
from numpy.typing import NDArray

from models.checkpoint import Checkpoint
from models.errors import MisuseError
from models.sites import SUBLAYERS, SublayerName
from models.spec import Cap, LayerNorm, NoCap, NoNorm, Norm, Projected, RMSNorm, SoftCap

Parameters = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class NormWeights:
    """One norm of a decoder: `(x - mean) / scale · gain + shift`; only a LayerNorm has a mean and a shift.

    Attributes:
        gain: Ones if the norm has none.
        shift: Zeros if the norm has none.
    """

    kind: Norm | NoNorm
    gain: Float32[np.ndarray, " model"]
    shift: Float32[np.ndarray, " model"]

    def scale(self, x: Float[np.ndarray, "*token model"]) -> Float64[np.ndarray, "*token"]:
        """The divisor of each row: `rms(x)`, the standard deviation of `x`, or 1."""
        wide = x.astype(np.float64)
        match self.kind:
            case NoNorm():
                return np.ones(x.shape[:-1])
            case RMSNorm(eps):
                return np.asarray(np.sqrt(np.mean(wide**2, axis=-1) + eps))
            case LayerNorm(eps):
                return np.asarray(np.sqrt(np.var(wide, axis=-1) + eps))

    def centered(self, x: Float[np.ndarray, "*token model"]) -> Float64[np.ndarray, "*token model"]:
        """`x` minus the mean of each row for a LayerNorm; `x` for other norms."""
        wide = x.astype(np.float64)
        return wide - wide.mean(axis=-1, keepdims=True) if isinstance(self.kind, LayerNorm) else wide

    def folded(self, part: Float[np.ndarray, "*token model"]) -> Float32[np.ndarray, "*token model"]:
        """The norm of a part of a row, without the division by the row's scale. It is linear in the part."""
        return np.asarray(self.centered(part) * self.gain, np.float32)

    def exact(self, x: Float[np.ndarray, "*token model"]) -> Float64[np.ndarray, "*token model"]:
        """The norm of each row, with the digits that a difference of two rows needs."""
        return np.asarray(self.centered(x) / self.scale(x)[..., None] * self.gain + self.shift)

    def __call__(self, x: Float[np.ndarray, "*token model"]) -> Float32[np.ndarray, "*token model"]:
        """The norm of each row."""
        return np.asarray(self.exact(x), np.float32)


@dataclass(frozen=True)
class LinearReadout:
    """One number per token, linear in a vector `c` of that token: `c · direction / scale + constant`.

    Attributes:
        scale: For each token, the product of the frozen scales of all norms.
        constant: For each token, the contribution of biases.
    """

    direction: Float64[np.ndarray, " model"]
    scale: Float64[np.ndarray, " token"]
    constant: Float64[np.ndarray, " token"]

    def before(self, norm: NormWeights, x: Float[np.ndarray, "token model"]) -> "LinearReadout":
        """The same number as a function of the input of `norm`, whose scale is frozen at that of the rows of `x`."""
        direction = norm.centered(norm.gain * self.direction)
        constant = self.constant + (norm.shift @ self.direction) / self.scale
        return LinearReadout(direction, self.scale * norm.scale(x), constant)

    def before_matrix(
        self, matrix: Float[np.ndarray, "model part"], bias: Float[np.ndarray, " model"]
    ) -> "LinearReadout":
        """The same number as a function of the input of a linear layer."""
        constant = self.constant + (bias @ self.direction) / self.scale
        return LinearReadout(self.direction @ matrix, self.scale, constant)


@dataclass(frozen=True)
class Readout:
    """The map from the residual stream after the last layer to logits.

    Attributes:
        project: From the width of the residual stream to that of token vectors; None if they are equal.
        weight: The vector of each token: the unembedding W_U, transposed.
        bias: Zeros if the head has none.
        cap: The soft cap of the logits, if any.
    """

    norm: NormWeights
    project: Float32[np.ndarray, "width model"] | None
    weight: Float32[np.ndarray, "vocab width"]
    bias: Float32[np.ndarray, " vocab"]
    cap: Cap

    def normed(self, x: Float[np.ndarray, "token model"]) -> Float32[np.ndarray, "token model"]:
        """The final norm of each row."""
        return self.norm(x)

    def uncapped_logits(self, x: Float[np.ndarray, "token model"]) -> Float32[np.ndarray, "token vocab"]:
        """Logits before the soft cap: `norm(x) · W_U + bias`. Direct logit attributions sum to these."""
        return np.asarray(self.in_width(self.normed(x)) @ self.weight.T + self.bias)

    def in_width(self, x: Float[np.ndarray, "row model"]) -> Float32[np.ndarray, "row width"]:
        """Rows in the width of token vectors, projected if the widths differ."""
        return np.asarray(x if self.project is None else x @ self.project.T, np.float32)

    def logits(self, x: Float[np.ndarray, "token model"]) -> Float32[np.ndarray, "token vocab"]:
        """The logits for an output `x` of the last layer."""
        logits = self.uncapped_logits(x)
        match self.cap:
            case NoCap():
                return logits
            case SoftCap(limit):
                return np.asarray(np.float32(limit) * np.tanh(logits / np.float32(limit)))

    def folded(
        self, added: Float[np.ndarray, "row model"], sublayer: "OutputProjection"
    ) -> Float32[np.ndarray, "row width"]:
        """A contribution to the residual stream, mapped to the vector that the unembedding W_U multiplies.

        `folded · W_U` is proportional to the direct effect on the logits before a cap. Gains of the norms are folded
        in and a LayerNorm's mean is removed. Divisors of the norms are left out: they are equal for all tokens of the
        vocabulary (`fold_ln`, `center_writing_weights` of TransformerLens).
        """
        for norm in (*sublayer.sums, self.norm):
            added = norm.folded(added)
        return self.in_width(added)

    def frozen(self, x: Float[np.ndarray, "token model"], target: int, baseline: int | None = None) -> LinearReadout:
        """The logit of `target` minus that of `baseline`, before the cap, with the final norm frozen.

        It is linear in a part `c` of the rows `x` of the residual stream: `c / rms(x) · γ · (W_U[target] -
        W_U[baseline])`. For a LayerNorm, `c` has its mean removed. Without a baseline, the mean of all logits is
        subtracted.
        """
        row, bias = self._vector_and_bias(target)
        other, other_bias = self._mean if baseline is None else self._vector_and_bias(baseline)
        direction = row - other if self.project is None else (row - other) @ self.project
        return LinearReadout(direction, np.ones(len(x)), np.full(len(x), bias - other_bias)).before(self.norm, x)

    @cached_property
    def _mean(self) -> tuple[Float64[np.ndarray, " width"], float]:
        return self.weight.mean(axis=0, dtype=np.float64), float(self.bias.mean(dtype=np.float64))

    def _vector_and_bias(self, id: int) -> tuple[Float64[np.ndarray, " width"], float]:
        if not 0 <= id < len(self.weight):
            raise MisuseError(f"id {id} is not in the vocabulary; ids run from 0 to {len(self.weight) - 1}")
        return self.weight[id].astype(np.float64), float(self.bias[id])


@dataclass(frozen=True)
class OutputProjection:
    """The output projection of a sublayer (W_O or W_out), its bias, and the norms after it.

    Attributes:
        bias: Zeros if the projection has none.
        expert_bias: The biases of all experts; None for a dense FFN, and if experts have none.
        after: The norm of the sublayer's output; a `NoNorm` in most decoders.
        sums: Norms of the whole residual stream from this sublayer to the end of the last layer; none in most
            decoders.
    """

    matrix: Float32[np.ndarray, "model part"]
    bias: Float32[np.ndarray, " model"]
    after: NormWeights
    sums: tuple[NormWeights, ...] = ()
    expert_bias: Float32[np.ndarray, "expert model"] | None = None

    def at(self, given: Float32[np.ndarray, " expert"]) -> "OutputProjection":
        """The projection for a token whose router gives experts these weights: biases of experts are weighted too."""
        if self.expert_bias is None:
            return self
        return replace(self, bias=self.bias + given @ self.expert_bias)

    def __call__(self, parts: Float[np.ndarray, "token part"]) -> Float32[np.ndarray, "token model"]:
        """The output of the projection with its bias, before the norm."""
        return np.asarray(parts.astype(np.float64) @ self.matrix.T + self.bias, np.float32)

    def output_vectors(self, parts: Sequence[int] | None = None) -> Float32[np.ndarray, "part model"]:
        """The vector that each part (a neuron or head feature) adds for a value of 1. Includes the gain of a norm after
        the projection, but not its scale.

        Args:
            parts: Indices of the parts; None means all.
        """
        vectors = self.matrix.T if parts is None else self.matrix.T[list(parts)]
        if isinstance(self.after.kind, NoNorm):
            return vectors
        return self.after.folded(vectors)


def _floats(weights: Parameters, name: str) -> Float32[np.ndarray, "..."]:
    return np.asarray(weights[name], np.float32)


def _vector(weights: Parameters, name: str, size: int, otherwise: float) -> Float32[np.ndarray, " size"]:
    return _floats(weights, name) if name in weights else np.full(size, otherwise, np.float32)


def norm_weights(weights: Parameters, name: str, kind: Norm | NoNorm, size: int) -> NormWeights:
    """Reads the norm `name`, of `size` features."""
    gain, shift = (_vector(weights, f"{name}.{part}", size, other) for part, other in (("weight", 1.0), ("bias", 0.0)))
    return NormWeights(kind, gain, shift)


def open_readout(checkpoint: Checkpoint) -> Readout:
    """Reads the map from the residual stream to logits. Quantized matrices are dequantized."""
    spec, weights = checkpoint.spec, checkpoint.weights
    return Readout(
        norm=norm_weights(weights, "head.norm", spec.norm, spec.d_model),
        project=_floats(weights, "head.project.weight") if isinstance(spec.embedded, Projected) else None,
        weight=_floats(weights, "embed.weight" if spec.tied else "head.weight"),
        bias=_vector(weights, "head.bias", spec.vocab_size, 0.0),
        cap=spec.logit_cap,
    )


def open_output_projection(checkpoint: Checkpoint, layer: int, sublayer: SublayerName) -> OutputProjection:
    """Reads the output projection of attention or the FFN of one layer."""
    spec, weights, name = checkpoint.spec, checkpoint.weights, f"layers.{layer}.{sublayer}"
    if not 0 <= layer < spec.n_layers:
        raise MisuseError(f"no layer {layer}; this decoder has layers 0 to {spec.n_layers - 1}")
    writes = [f"{name}.{part}" for part in spec.layers[layer].sublayers[sublayer].writes]
    matrices = [_columns(_floats(weights, f"{part}.weight")) for part in writes if f"{part}.weight" in weights]
    if not matrices:
        raise MisuseError(f"{name} has no output vectors that Edge knows how to read")
    kind = spec.layers[layer].norm if spec.layers[layer].norms_after else NoNorm()
    biases = [_floats(weights, f"{part}.bias") for part in writes if f"{part}.bias" in weights]
    return OutputProjection(
        matrices[0] if len(matrices) == 1 else np.hstack(matrices),
        sum((bias for bias in biases if bias.ndim == 1), start=np.zeros(spec.d_model, np.float32)),
        norm_weights(weights, f"{name}.after", kind, spec.d_model),
        _norms_of_sums(checkpoint, layer, sublayer),
        next((bias for bias in biases if bias.ndim == 2), None),
    )


def _columns(matrix: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "model part"]:
    """A matrix as it is; the matrices of a stack side by side."""
    return matrix if matrix.ndim == 2 else np.hstack(list(matrix))


def _norms_of_sums(checkpoint: Checkpoint, layer: int, sublayer: SublayerName) -> tuple[NormWeights, ...]:
    """Norms of the residual stream between a sublayer and the head, in order."""
    spec, weights = checkpoint.spec, checkpoint.weights
    passed = [(number, part) for number in range(layer, spec.n_layers) for part in SUBLAYERS]
    return tuple(
        norm_weights(weights, f"layers.{number}.{part}_sum", spec.layers[number].norm, spec.d_model)
        for number, part in passed[sublayer == "ffn" :]
        if spec.layers[number].norms_sum
    )
