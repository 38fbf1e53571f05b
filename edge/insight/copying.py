"""What one head copies from one token: the words that its values, through its output matrix, raise."""

from dataclasses import dataclass

import numpy as np

from edge.insight.weights import Weights
from edge.trace import Trace
from models.errors import MisuseError
from models.sites import layer_site


@dataclass(frozen=True)
class Copied:
    """What a head writes when it reads one key.

    Attributes:
        raises: Words and what each logit gains, the most first; before any norm, for a weight of 1.
        own_rank: How many words gain more than the key's own: 0 where the head copies it.
    """

    raises: tuple[tuple[str, float], ...]
    own_rank: int


def read_copied(trace: Trace, weights: Weights, layer: int, head: int, key: int, k: int = 6) -> Copied:
    """The OV circuit on one token: `value · W_O · W_U` (Elhage et al. 2021, A Mathematical Framework).

    Of what the head really read there, not of the bare embedding; direct effect alone, the final norm left out.

    Raises:
        MisuseError: values were not watched, or the head is ablated.
    """
    if trace.ablated.has_head(layer, head):
        raise MisuseError(f"head {layer}.{head} is ablated in this run and writes 0")
    value = trace.site(layer_site(layer, "attn.value"))[key, head // trace.spec.sharing]
    size = trace.spec.head_dim
    written = weights.ending(layer, "attn").matrix[:, head * size : (head + 1) * size] @ value
    readout = weights.readout
    scores = readout.weight @ readout.in_width(written[None])[0]
    order = np.argsort(-scores, kind="stable")[:k]
    raised = tuple((weights.piece(int(id)), float(scores[id])) for id in order)
    return Copied(raised, int((scores > scores[trace.tokens[key]]).sum()))
