"""The OV circuit of one head at one key: the tokens that its values, through the output matrix, raise."""

from dataclasses import dataclass

import numpy as np

from edge.insight.weights import InsightWeights
from edge.readout import OutputProjection
from edge.trace import Trace
from models.errors import MisuseError
from models.sites import ATTENTION, VALUE, layer_site
from models.spec import NoNorm


@dataclass(frozen=True)
class OvReading:
    """The logits that a head changes when it reads one key.

    Attributes:
        raised: Tokens and their gain in logits, the largest first; the gain is None where a layer norms attention's
            output, or the sum, by statistics that no trace keeps.
        own_rank: How many tokens gain more than the key's own token: 0 if the head copies it.
    """

    raised: tuple[tuple[str, float | None], ...]
    own_rank: int


def read_ov_circuit(
    trace: Trace, weights: InsightWeights, layer: int, head: int, token: int, key: int, k: int = 6
) -> OvReading:
    """The OV circuit on one key: `value · W_O · W_U` (Elhage et al. 2021, A Mathematical Framework).

    With the values of this run, not of the bare embedding; for an attention weight of 1, direct effect only. The gains
    of the norms are folded in, and the final norm's scale is that at `token`.

    Raises:
        MisuseError: the values or the last layer's output were not recorded, or the head is ablated.
    """
    if trace.ablated.has_head(layer, head):
        raise MisuseError(f"head {layer}.{head} is ablated in this run and writes 0")
    value = trace.site(layer_site(layer, VALUE))[key, head // trace.spec.layers[layer].attention.sharing]
    size, readout, projection = (
        trace.spec.layers[layer].attention.head_dim,
        weights.readout,
        weights.projection(layer, ATTENTION),
    )
    written = value @ projection.output_vectors(range(head * size, (head + 1) * size))
    scores = readout.weight @ readout.folded(written[None], projection)[0]
    order = np.argsort(-scores, kind="stable")[:k]
    stream = trace.row(layer_site(trace.spec.n_layers - 1, "output"), token)
    gains = scores[order] / readout.norm.scale(stream)[0]
    raised = tuple(
        (weights.piece(int(id)), float(gain) if _adds_without_norm(projection) else None)
        for id, gain in zip(order, gains, strict=True)
    )
    return OvReading(raised, int((scores > scores[trace.tokens[key]]).sum()))


def _adds_without_norm(projection: OutputProjection) -> bool:
    return isinstance(projection.after.kind, NoNorm) and not projection.sums
