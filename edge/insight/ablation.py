"""How far the words that neurons promote agree with what ablating the neurons does to the logits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32

from edge.edits import ScaleNeuron
from edge.insight.memories import neurons_at, strongest_neurons
from edge.insight.weights import InsightWeights
from edge.measure.agreement import correlation, top_overlap
from edge.trace import Trace
from edge.watch import Watch
from models.errors import MisuseError
from models.sites import layer_site

NEURONS = 8
"""Neurons of a layer that are ablated, one at a time, unless the caller says otherwise."""

TOP = 50
"""Words of both rankings that are compared."""

WORDS = 8
"""Words that are kept of what each neuron was found to raise."""


Runs = Callable[[list[int], tuple[ScaleNeuron, ...], Watch], Trace]
"""Feeds ids with some edits and generates nothing: `edge.Model.run` with `max_new_tokens=0`."""


@dataclass(frozen=True)
class Agreement:
    """What neurons promote beside what ablating them takes away, at one token; means over the neurons.

    Attributes:
        neurons: How many were ablated.
        r: Pearson's correlation over the whole vocabulary, -1 to 1.
        others_r: The same, with what ablating another of the neurons takes away; NaN for one neuron.
        overlap: How many of the `top` words most promoted are among the `top` whose logits fall most.
        falls: By neuron, the words whose logits fall most without it, the most first.
    """

    layer: int
    token: int
    neurons: int
    r: float
    others_r: float
    overlap: float
    top: int
    falls: Mapping[int, tuple[str, ...]]

    @property
    def is_poor(self) -> bool:
        """Most of the words promoted are others than those whose logits fall."""
        return self.overlap < self.top / 2


class Ablation:
    """Passes over a run's tokens up to one of them, with and without single neurons there.

    Attributes:
        trace: The run, which watched its FFNs.
    """

    def __init__(self, trace: Trace, weights: InsightWeights, token: int, run: Runs) -> None:
        self.trace, self._weights, self._token, self._run = trace, weights, token, run

    def agreement(self, layer: int, neurons: int = NEURONS, top: int = TOP) -> Agreement:
        """Ablates the neurons of a layer that write most at the token, one at a time; a pass for each.

        A neuron is ablated at this token alone, so that what changes is what it wrote there. Its effect is the change
        of every logit, before a cap bounds them. The direct reading is `s_i · v_i` with the gains of all norms folded
        in, times W_U; of what later layers make of it the reading says nothing, the measured effect has it.

        Raises:
            MisuseError: the FFN was not watched, the token not fed, no neuron fired, or the run was itself edited.
        """
        if self.trace.edits:
            raise MisuseError(
                f"the run was edited ({', '.join(self.trace.edits)}), and a trace keeps only the names of edits; "
                "ablate neurons of the run without them"
            )
        found = self.strongest(layer, neurons)
        if not found:
            raise MisuseError(f"no neuron of layer {layer} fired at token {self._token}, so none can be ablated")
        read, measured = self.read(layer, found), self.measured(layer, found)
        top = min(top, read.shape[-1])
        others = correlation(read, np.roll(measured, 1, axis=0)) if len(found) > 1 else np.full(1, np.nan)
        return Agreement(
            layer=layer,
            token=self._token,
            neurons=len(found),
            r=float(correlation(read, measured).mean()),
            others_r=float(others.mean()),
            overlap=float(top_overlap(read, measured, top).mean()),
            top=top,
            falls={neuron: self._words(row) for neuron, row in zip(found, measured, strict=True)},
        )

    def strongest(self, layer: int, neurons: int = NEURONS) -> tuple[int, ...]:
        """The neurons that write most at the token; none where none fired."""
        return strongest_neurons(self.trace, self._weights, layer, self._token, neurons)

    def read(self, layer: int, neurons: Sequence[int]) -> Float32[np.ndarray, "neuron vocab"]:
        """What each neuron adds to each logit along the direct path, up to a factor that all logits share."""
        readout, projection = self._weights.readout, self._weights.projection(layer, "ffn")
        coefficients = neurons_at(self.trace, layer, self._token)[list(neurons), None]
        return np.asarray(
            readout.folded(coefficients * projection.output_vectors(neurons), projection) @ readout.weight.T
        )

    def measured(self, layer: int, neurons: Sequence[int]) -> Float32[np.ndarray, "neuron vocab"]:
        """What each logit loses without each neuron."""
        readout = self._weights.readout
        streams = [self._stream((ScaleNeuron(layer, neuron, 0.0, (self._token,)),)) for neuron in neurons]
        # The head is linear, so what differs goes through it: logits would lose small differences in their digits.
        lost = readout.normed(self._whole) - readout.normed(np.concatenate(streams))
        return np.asarray(readout.in_width(lost) @ readout.weight.T)

    def _words(self, lost: Float32[np.ndarray, " vocab"]) -> tuple[str, ...]:
        return tuple(self._weights.piece(int(id)) for id in np.argsort(-lost, kind="stable")[:WORDS])

    @cached_property
    def _whole(self) -> Float32[np.ndarray, "1 model"]:
        """Of a pass like the others: what a cache and other shapes round is no effect of a neuron."""
        return self._stream(())

    def _stream(self, edits: tuple[ScaleNeuron, ...]) -> Float32[np.ndarray, "1 model"]:
        last = self.trace.spec.n_layers - 1
        ids = list(self.trace.tokens[: self._token + 1])
        trace = self._run(ids, edits, Watch(parts=("output",), layers=(last,)))
        return trace.row(layer_site(last, "output"), self._token)
