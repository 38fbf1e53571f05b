"""Scores of every head's attention pattern over the passage; computed once for several experiments."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64

from edge.lab.context import LabContext
from edge.lab.experiments.patterns import layer_patterns, uniform_pattern
from edge.lab.sample import evenly_spaced
from edge.measure.attention import first_token_share, mean_distance

MAX_WINDOWS = 4
"""Windows whose patterns are scored, evenly spaced over the passage; more windows hardly change the scores."""


@dataclass(frozen=True)
class PatternScores:
    """Scores of every token after the first of its window.

    Attributes:
        previous, first: Attention to the previous token, and to the first token.
        distance: Mean attention distance, in tokens.
    """

    previous: Float32[np.ndarray, "token *head"]
    first: Float32[np.ndarray, "token *head"]
    distance: Float32[np.ndarray, "token *head"]


@dataclass(frozen=True)
class PassageScores:
    """Scores of the heads, [token, layer, head], and of uniform attention, [token, layer]."""

    heads: PatternScores
    uniform: PatternScores


def passage_scores(lab: LabContext) -> PassageScores:
    """Scores every head on some windows of the passage."""
    traces = [lab.traces[place] for place in evenly_spaced(len(lab.traces), MAX_WINDOWS)]
    heads, uniform = [], []
    for layer, kind in enumerate(lab.spec.attentions):
        lab.check()
        heads.append([_pattern_scores(layer_patterns(trace, layer)) for trace in traces])
        uniform.append([_pattern_scores(uniform_pattern(trace.n_fed, kind.window)) for trace in traces])
    return PassageScores(_joined(heads), _joined(uniform))


def _pattern_scores(pattern: Float[np.ndarray, "*head token past"]) -> PatternScores:
    scores = (
        np.diagonal(pattern, -1, -2, -1),
        first_token_share(pattern)[..., 1:],
        mean_distance(pattern)[..., 1:],
    )
    return PatternScores(*(np.asarray(np.moveaxis(score, -1, 0), np.float32) for score in scores))


def _joined(by_layer: list[list[PatternScores]]) -> PatternScores:
    def joined(name: str) -> Float32[np.ndarray, "token *head"]:
        layers = [np.concatenate([getattr(one, name) for one in windows]) for windows in by_layer]
        return np.asarray(np.stack(layers, axis=1), np.float32)

    return PatternScores(joined("previous"), joined("first"), joined("distance"))


def over_tokens(score: Float32[np.ndarray, "token *head"]) -> Float64[np.ndarray, " *head"]:
    """The mean over tokens."""
    return np.asarray(score.mean(axis=0, dtype=np.float64))
