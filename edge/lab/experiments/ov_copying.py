"""Copying scores of heads: how much a head raises the logit of the token it attends to, on the direct path."""

import numpy as np
from jaxtyping import Float, Float32, Float64

from edge.lab.context import LabContext
from edge.measure.heads import copying_score, ov_logits
from edge.readout import OutputProjection, Readout, open_output_projection
from edge.watch import Watch
from models.sites import VALUE, layer_site
from models.spec import Attention

SAMPLES, LIST_TOKENS = 10, 25  # Olsson et al. 2022, p. 60: 25 random tokens, mean of 10 samples


def lists(lab: LabContext) -> list[list[int]]:
    """Lists of distinct random tokens."""
    return list(lab.repeats(SAMPLES, LIST_TOKENS, 1))


def folded_heads(
    readout: Readout, projection: OutputProjection, attention: Attention
) -> Float32[np.ndarray, "head head_dim width"]:
    """The output vectors of each head as inputs of the unembedding, with the gains of all norms folded in."""
    folded = readout.folded(projection.output_vectors(), projection)
    return folded.reshape(attention.n_heads, attention.head_dim, -1)


def layer_scores(
    value: Float[np.ndarray, "token kv_head head_dim"],
    out: Float[np.ndarray, "head head_dim width"],
    unembedding: Float[np.ndarray, "token width"],
) -> Float32[np.ndarray, " head"]:
    """The copying score of each head of a layer on one list."""
    sharing = len(out) // value.shape[1]
    logits = [ov_logits(value[:, head // sharing], rows, unembedding) for head, rows in enumerate(out)]
    return copying_score(np.stack(logits))


def ov_scores(lab: LabContext, *, shuffled: bool = False) -> Float64[np.ndarray, "layer head"]:
    """The copying score of each head; if `shuffled`, the score for another token of the list (the baseline)."""
    scores = np.zeros((lab.spec.n_layers, lab.spec.n_heads))
    begin, readout, spec = len(lab.start_tokens), lab.readout, lab.spec
    projections = (open_output_projection(lab.model.checkpoint, layer, "attn") for layer in range(spec.n_layers))
    heads = [
        folded_heads(readout, projection, attention)
        for projection, attention in zip(projections, spec.attentions, strict=True)
    ]
    for ids in lists(lab):
        trace, listed = lab.run(ids, watch=Watch(parts=(VALUE,))), np.array(ids[begin:])
        unembedding = readout.weight[np.roll(listed, 1) if shuffled else listed]
        for layer, out in enumerate(heads):
            value = trace.site(layer_site(layer, VALUE))[begin:]
            scores[layer] += layer_scores(value, out, unembedding) / SAMPLES
    return scores
