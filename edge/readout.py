"""What turns the residual stream into logits, in numpy: the final norm, the way back, the head."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Float64
from numpy.typing import NDArray

from models.checkpoint import Checkpoint
from models.errors import MisuseError
from models.spec import Cap, LayerNorm, NoCap, NoNorm, Norm, Projected, RMSNorm, SoftCap

Parameters = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class NormWeights:
    """One norm of a decoder: `(x - mean) / scale · gain + shift`; only a LayerNorm has a mean and a shift.

    Attributes:
        gain: Ones where the norm has none.
        shift: Zeros where the norm has none.
    """

    kind: Norm | NoNorm
    gain: Float32[np.ndarray, " model"]
    shift: Float32[np.ndarray, " model"]

    def scale(self, x: Float[np.ndarray, "*token model"]) -> Float64[np.ndarray, "*token"]:
        """What each row is divided by: `rms(x)`, the standard deviation of `x`, or 1."""
        wide = x.astype(np.float64)
        match self.kind:
            case NoNorm():
                return np.ones(x.shape[:-1])
            case RMSNorm(eps):
                return np.asarray(np.sqrt(np.mean(wide**2, axis=-1) + eps))
            case LayerNorm(eps):
                return np.asarray(np.sqrt(np.var(wide, axis=-1) + eps))

    def centered(self, x: Float[np.ndarray, "*token model"]) -> Float64[np.ndarray, "*token model"]:
        """`x` less the mean of each row, where the norm takes it away."""
        wide = x.astype(np.float64)
        return wide - wide.mean(axis=-1, keepdims=True) if isinstance(self.kind, LayerNorm) else wide

    def folded(self, part: Float[np.ndarray, "*token model"]) -> Float32[np.ndarray, "*token model"]:
        """What the norm makes of a part of a row, times what it divides that row by: linear in the part."""
        return np.asarray(self.centered(part) * self.gain, np.float32)

    def __call__(self, x: Float[np.ndarray, "*token model"]) -> Float32[np.ndarray, "*token model"]:
        """The norm of each row."""
        return np.asarray(self.centered(x) / self.scale(x)[..., None] * self.gain + self.shift, np.float32)


@dataclass(frozen=True)
class Reading:
    """One number for each token, linear in what it is read off: `c · direction / scale + constant`.

    Attributes:
        scale: Of each token: the statistics of all norms on the way, held still.
        constant: Of each token: what biases add on the way.
    """

    direction: Float64[np.ndarray, " model"]
    scale: Float64[np.ndarray, " token"]
    constant: Float64[np.ndarray, " token"]

    def before(self, norm: NormWeights, x: Float[np.ndarray, "token model"]) -> "Reading":
        """The same number, read off what `norm` is given; the norm's statistics stay those of the rows of `x`."""
        direction = norm.centered(norm.gain * self.direction)
        constant = self.constant + (norm.shift @ self.direction) / self.scale
        return Reading(direction, self.scale * norm.scale(x), constant)

    def before_matrix(self, matrix: Float[np.ndarray, "model part"], bias: Float[np.ndarray, " model"]) -> "Reading":
        """The same number, read off what is multiplied by `matrix` and then moved by `bias`."""
        constant = self.constant + (bias @ self.direction) / self.scale
        return Reading(self.direction @ matrix, self.scale, constant)


@dataclass(frozen=True)
class Readout:
    """From the residual stream after the last layer to logits.

    Attributes:
        project: From the residual stream back to the width of a token's vector; None where both are equal.
        weight: The vector of each token, W_U of the papers, transposed.
        bias: Zeros where the head has none.
        cap: What bounds the logits.
    """

    norm: NormWeights
    project: Float32[np.ndarray, "width model"] | None
    weight: Float32[np.ndarray, "vocab width"]
    bias: Float32[np.ndarray, " vocab"]
    cap: Cap

    def normed(self, x: Float[np.ndarray, "token model"]) -> Float32[np.ndarray, "token model"]:
        """The final norm of each row, whose statistics are the row's own."""
        return self.norm(x)

    def uncapped_logits(self, x: Float[np.ndarray, "token model"]) -> Float32[np.ndarray, "token vocab"]:
        """Logits before they are bounded: `norm(x) · W_U + bias`; those that direct attributions sum to."""
        return np.asarray(self.in_width(self.normed(x)) @ self.weight.T + self.bias)

    def in_width(self, x: Float[np.ndarray, "row model"]) -> Float32[np.ndarray, "row width"]:
        """Rows in the width of a token's vector: projected, where there is a way back."""
        return np.asarray(x if self.project is None else x @ self.project.T, np.float32)

    def logits(self, x: Float[np.ndarray, "token model"]) -> Float32[np.ndarray, "token vocab"]:
        """What the decoder answers if `x` is what leaves its last layer."""
        logits = self.uncapped_logits(x)
        match self.cap:
            case NoCap():
                return logits
            case SoftCap(limit):
                return np.asarray(np.float32(limit) * np.tanh(logits / np.float32(limit)))

    def folded(self, added: Float[np.ndarray, "row model"], sublayer: "Ending") -> Float32[np.ndarray, "row width"]:
        """What the head multiplies by the vector of each token, of what a sublayer adds to the residual stream.

        `folded · W_U` is the direct effect on the logits, before a cap and in proportion: the gain of each norm
        between is folded in and a LayerNorm's mean taken away, what the norms divide by is left out, since it is the
        same for all tokens of the vocabulary (`fold_ln`, `center_writing_weights` of TransformerLens).
        """
        for norm in (*sublayer.sums, self.norm):
            added = norm.folded(added)
        return self.in_width(added)

    def frozen(self, x: Float[np.ndarray, "token model"], target: int, baseline: int | None = None) -> Reading:
        """The logit of `target` less that of `baseline`, before the cap, with the final norm's statistics held.

        For a part `c` of the rows `x` of the residual stream this is linear: `c / rms(x) · γ · (W_U[target] -
        W_U[baseline])`, `c` less its own mean where the norm is a LayerNorm. Without a baseline, less the mean of all
        logits.
        """
        row, bias = self._vector_and_bias(target)
        other, other_bias = self._mean if baseline is None else self._vector_and_bias(baseline)
        direction = row - other if self.project is None else (row - other) @ self.project
        return Reading(direction, np.ones(len(x)), np.full(len(x), bias - other_bias)).before(self.norm, x)

    @cached_property
    def _mean(self) -> tuple[Float64[np.ndarray, " width"], float]:
        return self.weight.mean(axis=0, dtype=np.float64), float(self.bias.mean(dtype=np.float64))

    def _vector_and_bias(self, id: int) -> tuple[Float64[np.ndarray, " width"], float]:
        if not 0 <= id < len(self.weight):
            raise MisuseError(f"id {id} is not in the vocabulary; ids are 0 to {len(self.weight) - 1}")
        return self.weight[id].astype(np.float64), float(self.bias[id])


@dataclass(frozen=True)
class Ending:
    """How a sublayer ends: its last matrix, the bias, and the norms that what it adds goes through.

    Attributes:
        bias: Zeros where the matrix has none.
        after: Of what is added; a `NoNorm` where the layer adds what the matrix gives.
        sums: Norms of the whole residual stream, from this sublayer to the end of the last layer; most decoders have
            none.
    """

    matrix: Float32[np.ndarray, "model part"]
    bias: Float32[np.ndarray, " model"]
    after: NormWeights
    sums: tuple[NormWeights, ...] = ()

    def __call__(self, parts: Float[np.ndarray, "token part"]) -> Float32[np.ndarray, "token model"]:
        """What the matrix and the bias give, before the norm."""
        return np.asarray(parts.astype(np.float64) @ self.matrix.T + self.bias, np.float32)

    def writes(self, parts: Sequence[int] | None = None) -> Float32[np.ndarray, "part model"]:
        """What each part adds for a value of 1; of a norm after it the gain counts, its scale does not.

        Args:
            parts: Which ones; all of them where None.
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
    """Reads the norm that is called `name`, of `size` features."""
    gain, shift = (_vector(weights, f"{name}.{part}", size, other) for part, other in (("weight", 1.0), ("bias", 0.0)))
    return NormWeights(kind, gain, shift)


def open_readout(checkpoint: Checkpoint) -> Readout:
    """Reads what lies between the residual stream and logits; matrices in groups as what their codes stand for.

    For an engine that quantizes its weights itself, such as `onnx:int4`, pass the quantized checkpoint.
    """
    spec, weights = checkpoint.spec, checkpoint.weights
    return Readout(
        norm=norm_weights(weights, "head.norm", spec.norm, spec.d_model),
        project=_floats(weights, "head.project.weight") if isinstance(spec.embedded, Projected) else None,
        weight=_floats(weights, "embed.weight" if spec.tied else "head.weight"),
        bias=_vector(weights, "head.bias", spec.vocab_size, 0.0),
        cap=spec.logit_cap,
    )


def open_ending(checkpoint: Checkpoint, layer: int, sublayer: Literal["attn", "ffn"]) -> Ending:
    """Reads how attention or the FFN of one layer ends."""
    spec, weights, name = checkpoint.spec, checkpoint.weights, f"layers.{layer}.{sublayer}"
    if not 0 <= layer < spec.n_layers:
        raise MisuseError(f"no layer {layer}; this decoder has layers 0 to {spec.n_layers - 1}")
    matrix = f"{name}.{'out' if sublayer == 'attn' else 'down'}"
    kind = spec.layers[layer].norm if spec.layers[layer].norms_after else NoNorm()
    return Ending(
        _floats(weights, f"{matrix}.weight"),
        _vector(weights, f"{matrix}.bias", spec.d_model, 0.0),
        norm_weights(weights, f"{name}.after", kind, spec.d_model),
        _norms_of_sums(checkpoint, layer, sublayer),
    )


def _norms_of_sums(checkpoint: Checkpoint, layer: int, sublayer: Literal["attn", "ffn"]) -> tuple[NormWeights, ...]:
    """Those between what a sublayer adds and the head, in their order."""
    spec, weights = checkpoint.spec, checkpoint.weights
    passed = [(number, part) for number in range(layer, spec.n_layers) for part in ("attn", "ffn")]
    return tuple(
        norm_weights(weights, f"layers.{number}.{part}_sum", spec.layers[number].norm, spec.d_model)
        for number, part in passed[sublayer == "ffn" :]
        if spec.layers[number].norms_sum
    )
