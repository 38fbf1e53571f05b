"""Counts of how often each neuron is active over a text of any length, and measures of hot and dead neurons."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int, Int64


@dataclass(eq=False, kw_only=True)
class NeuronCounts:
    """How often each neuron is active; the size does not depend on the length of the text.

    Attributes:
        threshold: A neuron is active where `|a| > threshold`; 0 counts all that are not exactly 0.
        tokens: Tokens seen, for each layer.
        active: Tokens that activated each neuron, one array a layer: layers may differ in width.
    """

    threshold: float
    tokens: Int64[np.ndarray, " layer"]
    active: tuple[Int64[np.ndarray, " _"], ...]

    def __post_init__(self) -> None:
        if self.threshold < 0:
            raise ValueError(f"an activation's magnitude exceeds any threshold below 0, got {self.threshold:g}")
        if len(self.tokens) != len(self.active):
            raise ValueError(f"counts of {len(self.active)} layers, tokens of {len(self.tokens)}")

    @classmethod
    def empty(cls, widths: Sequence[int], threshold: float = 0.0) -> "NeuronCounts":
        """Counts of no tokens; `widths` are the numbers of neurons of each layer."""
        return cls(
            threshold=threshold,
            tokens=np.zeros(len(widths), np.int64),
            active=tuple(np.zeros(width, np.int64) for width in widths),
        )

    @property
    def widths(self) -> tuple[int, ...]:
        """Neurons of each layer."""
        return tuple(len(counts) for counts in self.active)

    def add(self, layer: int, neurons: Float[np.ndarray, "token neuron"]) -> None:
        """Counts the active neurons of one layer on more tokens."""
        if not 0 <= layer < len(self.active):
            raise ValueError(f"no layer {layer}; layers 0 to {len(self.active) - 1} are counted")
        if neurons.shape[1] != self.widths[layer]:
            raise ValueError(f"layer {layer} has {self.widths[layer]} neurons, {neurons.shape[1]} were given")
        self.tokens[layer] += len(neurons)
        self.active[layer][:] += np.count_nonzero(np.abs(neurons) > np.float64(self.threshold), axis=0)

    def merged(self, other: "NeuronCounts") -> "NeuronCounts":
        """The counts of both texts together."""
        if self.threshold != other.threshold:
            raise ValueError(f"counts above {self.threshold:g} and above {other.threshold:g} cannot be merged")
        if self.widths != other.widths:
            raise ValueError(f"counts of layers of {self.widths} and of {other.widths} neurons cannot be merged")
        return NeuronCounts(
            threshold=self.threshold,
            tokens=self.tokens + other.tokens,
            active=tuple(a + b for a, b in zip(self.active, other.active, strict=True)),
        )

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The counts as plain arrays, for storage."""
        arrays = {"threshold": np.array([self.threshold], np.float64), "tokens": self.tokens.copy()}
        return arrays | {f"active.{layer}": active.copy() for layer, active in enumerate(self.active)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "NeuronCounts":
        """The counts from the arrays of `to_arrays`."""
        try:
            layers = range(len(arrays["tokens"]))
            return cls(
                threshold=float(arrays["threshold"][0]),
                tokens=arrays["tokens"].astype(np.int64),
                active=tuple(arrays[f"active.{layer}"].astype(np.int64) for layer in layers),
            )
        except KeyError as absent:
            raise ValueError(f"no counts of neurons: {absent} is missing among {sorted(arrays)}") from absent


def _cumulated(active: Int[np.ndarray, "*layer neuron"]) -> Int64[np.ndarray, "*layer neuron"]:
    """Cumulated activations of neurons in descending order."""
    return np.asarray(np.cumsum(-np.sort(-active.astype(np.int64), axis=-1), axis=-1))


def hot_curve(active: Int[np.ndarray, "*layer neuron"]) -> Float32[np.ndarray, "*layer neuron"]:
    """The share of all activations that the hottest neurons account for, hottest first; rises to 1.

    Entry `k` is `Σ of the k + 1 largest counts / Σ counts`, the curve of PowerInfer (Song et al. 2023,
    arXiv 2312.12456). A whole model's curve is that of its layers' counts in one array. All 0 if none is active.
    """
    hottest = _cumulated(active)
    return np.asarray(hottest / np.maximum(hottest[..., -1:], 1), np.float32)


def hot_neuron_share(active: Int[np.ndarray, "*layer neuron"], share: float = 0.8) -> Float32[np.ndarray, "*layer"]:
    """The smallest share of neurons that accounts for `share` of all activations, 0 to 1.

    PowerInfer's number (Song et al. 2023, arXiv 2312.12456) at 80%: small if few neurons are hot, `share` if
    all are equally active. 0 if none is active.
    """
    if not 0.0 < share <= 1.0:
        raise ValueError(f"a share of activations must be above 0 and at most 1, got {share:g}")
    hottest = _cumulated(active)
    enough = np.round(share * hottest[..., -1:], 6)  # 0.55 · 100 is 55.00000000000001
    needed = np.argmax(hottest >= enough, axis=-1) + 1
    return np.asarray(np.where(hottest[..., -1] > 0, needed / active.shape[-1], 0.0), np.float32)


def dead_share(
    active: Int[np.ndarray, "*layer neuron"], tokens: Int[np.ndarray, "*layer"], rate: float = 0.001
) -> Float32[np.ndarray, "*layer"]:
    """The share of neurons that are active at fewer than `rate` of the tokens, 0 to 1; NaN for no tokens.

    `mean(count < rate · tokens)`; at 0.1% the dead neurons in the published records of Sparsing Law (Luo et al. 2024,
    arXiv 2411.02335).
    """
    few = np.mean(active < np.round(rate * tokens[..., None], 6), axis=-1)
    return np.asarray(np.where(tokens > 0, few, np.nan), np.float32)
