"""Promoted tokens of neurons, directly and through later layers, and the agreement of each list with ablation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32

from edge.edits import ScaleNeuron
from edge.engines.choice import engine_of
from edge.insight.neurons import neurons_at, strongest_neurons
from edge.insight.weights import InsightWeights
from edge.measure.correlation import correlation, top_overlap
from edge.trace import Trace
from edge.watch import Watch
from models.errors import MisuseError
from models.sites import layer_site

NEURONS = 8
"""Default number of neurons of a layer that are ablated, one at a time."""

TOP = 50
"""Number of top tokens of both rankings that are compared."""

TOKENS = 8
"""Number of tokens in each list of each neuron."""

STEP = 0.05
"""Share of a neuron's contribution that is removed to measure its first-order effect."""

COARSE_STEP = 0.5
"""The same for engines with less precision than float32, in which an effect of 5% is lost to rounding."""


Runs = Callable[[list[int], tuple[ScaleNeuron, ...], Watch], Trace]
"""Feeds ids with some edits and generates nothing: `edge.Model.run` with `max_new_tokens=0`."""


@dataclass(frozen=True)
class ListAgreement:
    """Agreement of one list of promoted tokens with ablation, at one token of a run; means over the neurons.

    Attributes:
        r: Pearson's correlation over the whole vocabulary, -1 to 1.
        others_r: The same with the effect of ablating another neuron; NaN for a single neuron.
        overlap: Number of the `top` promoted tokens that are among the `top` tokens whose logits fall most.
    """

    r: float
    others_r: float
    overlap: float
    top: int

    @property
    def is_poor(self) -> bool:
        """Whether fewer than half of the promoted tokens are among the tokens whose logits fall most."""
        return self.overlap < self.top / 2


@dataclass(frozen=True)
class Agreement:
    """Promoted tokens of neurons at one token of a run, and the effect of ablating the neurons there.

    Attributes:
        neurons: Number of ablated neurons.
        direct: Agreement of the direct promoted tokens, by projection onto the vocabulary.
        through: Agreement of the promoted tokens through later layers.
        promoted_tokens: By neuron, its top promoted tokens through later layers, strongest first.
        falling_tokens: By neuron, the tokens whose logits fall most when it is ablated, strongest first.
    """

    layer: int
    token: int
    neurons: int
    direct: ListAgreement
    through: ListAgreement
    promoted_tokens: Mapping[int, tuple[str, ...]]
    falling_tokens: Mapping[int, tuple[str, ...]]


class Ablation:
    """Passes over a run's tokens up to one of them, with single neurons scaled there.

    Attributes:
        trace: The run, with its FFNs watched.
    """

    def __init__(self, trace: Trace, weights: InsightWeights, token: int, run: Runs) -> None:
        self.trace, self._weights, self._token, self._run = trace, weights, token, run

    def agreement(self, layer: int, neurons: int = NEURONS, top: int = TOP) -> Agreement:
        """Measures the neurons of a layer with the largest contributions at the token; two passes for each.

        A neuron is changed at this token only. One pass ablates it: its effect is the change of every logit, before a
        soft cap. The other pass removes a step of it, which gives its first-order effect through later layers.

        Raises:
            MisuseError: the FFN was not recorded, the token not fed, no neuron is active, or the run was itself edited.
        """
        found = self._active(layer, neurons)
        ablated, promoted = self.measured(layer, found), self.first_order(layer, found)
        return Agreement(
            layer=layer,
            token=self._token,
            neurons=len(found),
            direct=_agreement(self.read(layer, found), ablated, top),
            through=_agreement(promoted, ablated, top),
            promoted_tokens=self._tokens(found, promoted),
            falling_tokens=self._tokens(found, ablated),
        )

    def direct_agreement(self, layer: int, neurons: int = NEURONS, top: int = TOP) -> ListAgreement:
        """Agreement of the direct promoted tokens only; one pass for each neuron.

        Raises:
            MisuseError: as `agreement`.
        """
        found = self._active(layer, neurons)
        return _agreement(self.read(layer, found), self.measured(layer, found), top)

    def strongest(self, layer: int, neurons: int = NEURONS) -> tuple[int, ...]:
        """The neurons with the largest contributions at the token; empty if no neuron is active."""
        return strongest_neurons(self.trace, self._weights, layer, self._token, neurons)

    def read(self, layer: int, neurons: Sequence[int]) -> Float32[np.ndarray, "neuron vocab"]:
        """The direct contribution of each neuron to each logit, up to a factor that all logits share.

        `s_i · v_i` with the gains of all norms folded in, times W_U. It excludes the effect through later layers.
        """
        readout, projection = self._weights.readout, self._weights.projection(layer, "ffn")
        coefficients = neurons_at(self.trace, layer, self._token)[list(neurons), None]
        return np.asarray(
            readout.folded(coefficients * projection.output_vectors(neurons), projection) @ readout.weight.T
        )

    def measured(self, layer: int, neurons: Sequence[int]) -> Float32[np.ndarray, "neuron vocab"]:
        """The decrease of each logit when each neuron is ablated."""
        return self._lost(layer, neurons, 1.0)

    def first_order(self, layer: int, neurons: Sequence[int]) -> Float32[np.ndarray, "neuron vocab"]:
        """The first-order contribution of each neuron to each logit through later layers and the final norm.

        `(logits - logits without a step of the neuron) / step`: the derivative of every logit along the neuron's
        contribution at this token. It is the total effect if later layers respond linearly.
        """
        return self._lost(layer, neurons, self.step)

    @property
    def step(self) -> float:
        """The share of a neuron's contribution that `first_order` removes.

        It is larger for quantized matrices and half precision, because engines round the values.
        """
        is_exact = engine_of(self.trace.engine).float_kind == "fp32" and not self._weights.checkpoint.quantized
        return STEP if is_exact else COARSE_STEP

    def _lost(self, layer: int, neurons: Sequence[int], share: float) -> Float32[np.ndarray, "neuron vocab"]:
        """The decrease of each logit without a share of each neuron, divided by that share."""
        readout, at = self._weights.readout, (self._token,)
        rows = [self._stream((ScaleNeuron(layer, neuron, 1.0 - share, at),)) for neuron in neurons]
        # The head is linear, so it is applied to the difference: small differences of logits would be lost to rounding.
        lost = readout.norm.exact(self._whole) - readout.norm.exact(np.concatenate(rows))
        return np.asarray(readout.in_width(lost / share) @ readout.weight.T)

    def _active(self, layer: int, neurons: int) -> tuple[int, ...]:
        if self.trace.edits:
            raise MisuseError(
                f"the run was edited ({', '.join(self.trace.edits)}), and a trace keeps only the names of edits; "
                "ablate neurons of the run without them"
            )
        found = self.strongest(layer, neurons)
        if not found:
            raise MisuseError(f"no neuron of layer {layer} is active at token {self._token}, so none can be ablated")
        return found

    def _tokens(
        self, neurons: Sequence[int], effects: Float32[np.ndarray, "neuron vocab"]
    ) -> Mapping[int, tuple[str, ...]]:
        highest = np.argsort(-effects, axis=-1, kind="stable")[:, :TOKENS]
        return {
            neuron: tuple(self._weights.piece(int(id)) for id in ids)
            for neuron, ids in zip(neurons, highest, strict=True)
        }

    @cached_property
    def _whole(self) -> Float32[np.ndarray, "1 model"]:
        """The residual stream of a pass without edits, so that rounding is the same as in the passes with edits."""
        return self._stream(())

    def _stream(self, edits: tuple[ScaleNeuron, ...]) -> Float32[np.ndarray, "1 model"]:
        last = self.trace.spec.n_layers - 1
        ids = list(self.trace.tokens[: self._token + 1])
        trace = self._run(ids, edits, Watch(parts=("output",), layers=(last,)))
        return trace.row(layer_site(last, "output"), self._token)


def _agreement(
    promoted: Float32[np.ndarray, "neuron vocab"], ablated: Float32[np.ndarray, "neuron vocab"], top: int
) -> ListAgreement:
    top, is_one = min(top, promoted.shape[-1]), len(promoted) == 1
    others = np.full(1, np.nan) if is_one else correlation(promoted, np.roll(ablated, 1, axis=0))
    return ListAgreement(
        r=float(correlation(promoted, ablated).mean()),
        others_r=float(others.mean()),
        overlap=float(top_overlap(promoted, ablated, top).mean()),
        top=top,
    )
