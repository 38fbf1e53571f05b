"""Direct logit attribution: the contribution of each sublayer, head and neuron to a difference of two logits."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from edge.readout import LinearReadout, OutputProjection, Readout
from edge.trace import Trace
from models.errors import MisuseError
from models.sites import HEADS, SUBLAYERS, layer_site

BIAS = "bias"
"""The component that does not depend on the text: biases of the unembedding, the shift of a LayerNorm."""


def direct_logit_attribution(
    components: Float[np.ndarray, "component token model"], reading: LinearReadout
) -> Float32[np.ndarray, "component token"]:
    """The contribution of each component of the residual stream to a difference of logits, in logits (nats).

    `c / rms(x) · γ · (W_U[target] - W_U[baseline])` with frozen statistics of the final norm (Elhage et al. 2021, A
    Mathematical Framework for Transformer Circuits; `logit_attrs` of TransformerLens). The contributions of the parts
    of `x` and of biases sum to the difference (law 4). These are direct effects; effects through later layers are
    attributed to those layers.
    """
    return np.asarray(components @ reading.direction / reading.scale, np.float32)


def write_norms(components: Float[np.ndarray, "component token model"]) -> Float32[np.ndarray, "component token"]:
    """L2 norm of each sublayer's contribution to the residual stream: `‖c‖₂`, in the unit of the stream.

    The norm ignores direction: a large contribution may cancel earlier ones (write norm of the Transformer Debugger).
    """
    return np.asarray(np.linalg.norm(components.astype(np.float64), axis=-1), np.float32)


@dataclass(frozen=True)
class Attribution:
    """The contribution of each component to a logit difference at one token; the contributions sum to it.

    Attributes:
        names: `embed`, `layers.3.attn`, `layers.3.ffn`; or heads, or neurons, of one sublayer; and `bias`.
        logits: The contribution of each, in logits.
    """

    names: tuple[str, ...]
    logits: Float32[np.ndarray, " component"]

    @property
    def total(self) -> float:
        """The sum over all components."""
        return float(self.logits.sum(dtype=np.float64))


def read_difference(trace: Trace, readout: Readout, target: int, baseline: int | None, token: int) -> LinearReadout:
    """The logit of `target` minus that of `baseline` after one token, before any soft cap, as a linear function.

    Without a baseline, the mean of all logits is subtracted.

    Raises:
        MisuseError: the decoder norms the residual stream after each sublayer, which rescales earlier contributions.
    """
    for layer, kind in enumerate(trace.spec.layers):
        if kind.norms_sum:
            raise MisuseError(
                f"layer {layer} of {trace.model} norms the residual stream after each sublayer, so logits are not sums "
                "of contributions; use the logit lens"
            )
    return readout.frozen(trace.row(layer_site(trace.spec.n_layers - 1, "output"), token), target, baseline)


def _with_bias(names: list[str], parts: Float[np.ndarray, " part"], reading: LinearReadout) -> Attribution:
    return Attribution((*names, BIAS), np.append(parts, reading.constant).astype(np.float32))


def attribute(trace: Trace, readout: Readout, target: int, baseline: int | None, token: int) -> Attribution:
    """The contributions of the embedding and every sublayer to a logit difference after one token.

    See `read_difference`.

    Needs `input` of the first layer, the outputs of all sublayers, and `output` of the last.
    """
    reading = read_difference(trace, readout, target, baseline, token)
    sites = {"embed": layer_site(0, "input")}
    for layer in range(trace.spec.n_layers):
        sites |= {layer_site(layer, part): layer_site(layer, f"{part}.output") for part in SUBLAYERS}
    components = np.stack([trace.row(site, token) for site in sites.values()])
    return _with_bias(list(sites), direct_logit_attribution(components, reading)[:, 0], reading)


def _inside(
    reading: LinearReadout, projection: OutputProjection, parts: Float32[np.ndarray, "token part"]
) -> LinearReadout:
    """The sublayer's contribution to the difference, as a linear function of the input of its output projection."""
    added = LinearReadout(reading.direction, reading.scale, np.zeros_like(reading.constant))
    return added.before(projection.after, projection(parts)).before_matrix(projection.matrix, projection.bias)


def attribute_heads(
    trace: Trace, reading: LinearReadout, projection: OutputProjection, layer: int, token: int
) -> Attribution:
    """The contribution of each head of a layer to a logit difference.

    With `bias`, that of the output projection, they sum to the contribution of attention. A head contributes
    `pattern · value · W_O` with its columns of W_O. If the layer norms attention's output, the statistics of that norm
    are frozen too. `reading` is of the same token, `projection` of this layer's attention.
    """
    mixed = trace.row(layer_site(layer, HEADS), token)
    inside = _inside(reading, projection, mixed.reshape(1, -1))
    by_feature = mixed.ravel() * inside.direction / inside.scale
    names = [f"head {head}" for head in range(trace.spec.n_heads)]
    return _with_bias(names, by_feature.reshape(trace.spec.n_heads, -1).sum(axis=-1), inside)


def attribute_neurons(
    trace: Trace, reading: LinearReadout, projection: OutputProjection, layer: int, token: int
) -> Attribution:
    """The contribution of each neuron of a layer's FFN to a logit difference.

    With `bias`, they sum to the contribution of the FFN. A neuron contributes its activation times its value vector, a
    column of the down projection (Geva et al. 2022, arXiv 2203.14680, section 3). `reading` is of the same token,
    `projection` of this layer's FFN.
    """
    neurons = trace.neurons_at(layer, token)
    inside = _inside(reading, projection.at(trace.given(layer, token)), neurons)
    names = [f"neuron {neuron}" for neuron in range(neurons.shape[-1])]
    return _with_bias(names, neurons[0] * inside.direction / inside.scale, inside)
