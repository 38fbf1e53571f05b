"""What one head copies from one token: the words that its values, through its output matrix, raise."""

from dataclasses import dataclass

import numpy as np

from edge.insight.weights import InsightWeights
from edge.readout import OutputProjection
from edge.trace import Trace
from models.errors import MisuseError
from models.sites import layer_site
from models.spec import NoNorm


@dataclass(frozen=True)
class OvReading:
    """What a head writes when it reads one key.

    Attributes:
        raises: Words and what each logit gains, the most first; the gain is None where a layer norms what attention
            adds, or the sum, by statistics that no trace keeps.
        own_rank: How many words gain more than the key's own: 0 where the head copies it.
    """

    raises: tuple[tuple[str, float | None], ...]
    own_rank: int


def read_ov_circuit(
    trace: Trace, weights: InsightWeights, layer: int, head: int, token: int, key: int, k: int = 6
) -> OvReading:
    """The OV circuit on one key: `value · W_O · W_U` (Elhage et al. 2021, A Mathematical Framework).

    Of what the head really read there, not of the bare embedding; for a weight of 1, direct effect alone. The gains of
    the norms on the way are folded in, and the final norm divides as it does at `token`.

    Raises:
        MisuseError: values, or what leaves the last layer, were not watched, or the head is ablated.
    """
    if trace.ablated.has_head(layer, head):
        raise MisuseError(f"head {layer}.{head} is ablated in this run and writes 0")
    value = trace.site(layer_site(layer, "attn.value"))[key, head // trace.spec.sharing]
    size, readout, projection = trace.spec.head_dim, weights.readout, weights.projection(layer, "attn")
    written = value @ projection.output_vectors(range(head * size, (head + 1) * size))
    scores = readout.weight @ readout.folded(written[None], projection)[0]
    order = np.argsort(-scores, kind="stable")[:k]
    stream = trace.row(layer_site(trace.spec.n_layers - 1, "output"), token)
    gains = scores[order] / readout.norm.scale(stream)[0]
    raised = tuple(
        (weights.piece(int(id)), float(gain) if _adds_as_it_is(projection) else None)
        for id, gain in zip(order, gains, strict=True)
    )
    return OvReading(raised, int((scores > scores[trace.tokens[key]]).sum()))


def _adds_as_it_is(projection: OutputProjection) -> bool:
    return isinstance(projection.after.kind, NoNorm) and not projection.sums
