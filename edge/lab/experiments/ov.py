"""How far each head, reading a token, raises that token: its way from values to logits, all later layers left out."""

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from edge.lab.experiments.patterns import by_head
from edge.lab.subject import Subject
from edge.measure.heads import copying_score, ov_logits
from edge.readout import Ending, Readout, open_ending
from edge.watch import Watch
from models.sites import layer_site

DRAWS, LIST_TOKENS = 10, 25  # Olsson et al. 2022, p. 60: 25 random tokens, the mean of 10 draws


def lists(subject: Subject) -> list[list[int]]:
    """Random tokens, none of them twice."""
    return list(subject.repeats(DRAWS, LIST_TOKENS, 1))


def aims_of(readout: Readout, ending: Ending, ids: Int[np.ndarray, " token"]) -> Float32[np.ndarray, "token model"]:
    """What tokens' logits read off attention's last matrix: the gains of all norms folded in, their scales left out."""
    rows = readout.weight[ids] if readout.project is None else readout.weight[ids] @ readout.project
    for norm in (readout.norm, ending.after):
        rows = np.asarray(norm.centred(norm.gain * rows), np.float32)
    return np.asarray(rows, np.float32)


def layer_scores(
    value: Float[np.ndarray, "token kv_head head_dim"],
    out: Float[np.ndarray, "head head_dim model"],
    aims: Float[np.ndarray, "token model"],
) -> Float32[np.ndarray, " head"]:
    """The copying score of each head of a layer for one list."""
    sharing = len(out) // value.shape[1]
    return copying_score(np.stack([ov_logits(value[:, head // sharing], rows, aims) for head, rows in enumerate(out)]))


def ov_scores(subject: Subject, *, shuffled: bool = False) -> Float64[np.ndarray, "layer head"]:
    """How far each head raises the token that it reads; shuffled, how far another token of the list."""
    scores = np.zeros((subject.spec.n_layers, subject.spec.n_heads))
    begin = len(subject.begin)
    endings = [open_ending(subject.model.checkpoint, layer, "attn") for layer in range(subject.spec.n_layers)]
    for ids in lists(subject):
        trace, listed = subject.see(ids, watch=Watch(parts=("attn.value",))), np.array(ids[begin:])
        for layer, ending in enumerate(endings):
            value = trace.site(layer_site(layer, "attn.value"))[begin:]
            aims = aims_of(subject.readout, ending, np.roll(listed, 1) if shuffled else listed)
            scores[layer] += layer_scores(value, by_head(ending.matrix, subject.spec), aims) / DRAWS
    return scores
