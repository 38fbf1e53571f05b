"""F1: how well a linear map predicts the outputs of the FFN and of attention."""

from math import ceil

import numpy as np
from jaxtyping import Float32, Float64

from edge.lab.claim import Experiment, Finding, Number, layer_curve, not_applicable, shared_passage_only
from edge.lab.context import LabContext
from edge.lab.effect import Effect, effect_of
from edge.lab.experiments.ffn_activations import (
    after_first,
    ffn_input,
    passage_tokens_for,
    site_after_first,
    up_projection,
)
from edge.lab.experiments.patterns import layer_patterns, read_values
from edge.lab.prompts import SEED
from edge.lab.sample import evenly_spaced, jackknife
from edge.measure.linearity import linear_prediction, r2, r2_of, squared_errors
from edge.picture.units import show_measured, show_share
from edge.readout import OutputProjection, open_output_projection
from edge.trace import Trace
from models.sites import ATTENTION_OUTPUT, FFN_OUTPUT, VALUE, layer_site

FIT_SHARE = 0.875
"""Share of rows for the fit. More rows reduce overfitting; of 2,048 tokens an eighth, 256 tokens, is held out."""

ROWS_PER_FEATURE = 2
"""Minimum of fitted rows per feature: with fewer, more than half of the nonlinear part is overfitted."""

NOT_LINEAR = 0.1
"""Share of the variance of the FFN's output that no linear map predicts; our own choice. A linear FFN gives 0."""

MAX_LAYERS = 8
"""Layers that are fitted, evenly spaced if a decoder has more."""

BLOCKS = 12
"""Blocks of consecutive held-out tokens: the units of the sample."""


def unlimited(held_out: float, fitted: int, features: int) -> float:
    """A held-out R² extrapolated to unlimited data: `1 - (1 - R²) · (n - d - 1) / (n - 1)`.

    The nonlinear part acts as noise, and least squares overfits it. With n rows and d features, the held-out error is
    `(n - 1) / (n - d - 1)` times the smallest possible error; this is exact for Gaussian features (Stein 1960).
    """
    return 1.0 - (1.0 - held_out) * (fitted - features - 1) / (fitted - 1)


def frozen_attention(trace: Trace, layer: int, projection: OutputProjection) -> Float32[np.ndarray, "token model"]:
    """Attention's output from its pattern: `Σ_j p_ij v_j · W_O` with bias, and the output norm if there is one."""
    heads = read_values(layer_patterns(trace, layer), trace.site(layer_site(layer, VALUE)))
    return projection.after(projection(heads.reshape(len(heads), -1)))


def _attention_r2(lab: LabContext, layer: int) -> float:
    projection = open_output_projection(lab.model.checkpoint, layer, "attn")
    predicted = np.concatenate([frozen_attention(trace, layer, projection) for trace in lab.traces])
    return r2(predicted[after_first(lab)], site_after_first(lab, layer, ATTENTION_OUTPUT))


def _ffn_errors(lab: LabContext, layer: int) -> Float64[np.ndarray, "held_out kind 2"]:
    """`squared_errors` of the FFN's output, of its shuffled rows, and of neurons before the activation."""
    read, wrote = ffn_input(lab, layer), site_after_first(lab, layer, FFN_OUTPUT)
    shuffled = np.random.default_rng([SEED, layer]).permutation(wrote)
    up = up_projection(lab, layer)[:, : lab.spec.d_model]
    predicted = linear_prediction(read, np.concatenate([wrote, shuffled, up], axis=1), FIT_SHARE)
    truths, ends = (wrote, shuffled, up), np.cumsum([wrote.shape[1], shuffled.shape[1]])
    return np.stack(
        [
            squared_errors(part, truth[-len(part) :])
            for part, truth in zip(np.split(predicted, ends, axis=1), truths, strict=True)
        ],
        axis=1,
    )


def effects(
    parts: Float64[np.ndarray, "layer held_out kind 2"], fitted: int, features: int, shuffled: float, linear: float
) -> tuple[Effect, ...]:
    """The variance of the FFN's output that no linear map of its input explains; the sample is blocks of tokens."""
    own = np.moveaxis(parts[:, :, 0], 0, 1)
    size = max(1, len(own) // BLOCKS)
    blocks = np.array([block.sum(axis=0) for block in np.split(own, range(size, len(own), size))])

    def not_linear(some: Float64[np.ndarray, "block layer 2"]) -> float:
        held_out = float(np.nanmean([r2_of(some[:, layer]) for layer in range(some.shape[1])]))
        return 1.0 - unlimited(held_out, fitted, features)

    return (
        effect_of(
            jackknife(blocks, not_linear),
            key="not_linear_share",
            label="variance of the FFN's output that no linear map explains, 1 - R² extrapolated",
            unit="share",
            threshold=NOT_LINEAR,
            threshold_reason="our own choice; for the up projection, which is linear, the share is "
            f"{show_share(max(0.0, 1 - linear))}, for shuffled rows {show_share(max(0.0, 1 - shuffled))}"
            f"{': worse than predicting the mean' if shuffled < 0 else ''}",
            sample_unit=f"blocks of {size} held-out tokens",
        ),
    )


def _measure(lab: LabContext) -> Finding:
    features, fitted = lab.spec.d_model, int(FIT_SHARE * int(after_first(lab).sum()))
    if fitted < ROWS_PER_FEATURE * features:
        enough = passage_tokens_for(lab, ceil(ROWS_PER_FEATURE * features / FIT_SHARE))
        return not_applicable(
            f"the fit of {features} features needs {ROWS_PER_FEATURE * features:,} tokens and has {fitted:,}; use "
            f"--tokens {enough} and a --text of at least {enough:,} tokens"
        )
    layers = evenly_spaced(lab.spec.n_layers, MAX_LAYERS)
    parts = np.array([_ffn_errors(lab, layer) for layer in layers])
    found = np.array([[r2_of(kind) for kind in np.moveaxis(layer, 1, 0)] for layer in parts])
    frozen = [_attention_r2(lab, layer) for layer in layers]
    ffn, shuffled, linear = (float(mean) for mean in np.nanmean(found, axis=0))
    attention, extrapolated = float(np.nanmean(frozen)), unlimited(ffn, fitted, features)
    lines = {
        "FFN, best linear map": found[:, 0].tolist(),
        "FFN, extrapolated to unlimited data": [unlimited(one, fitted, features) for one in found[:, 0].tolist()],
        "attention, fixed pattern": frozen,
    }
    return Finding(
        f"The best linear map predicts the FFN's output with R² {show_measured(ffn, 'ratio')} "
        f"({show_measured(extrapolated, 'ratio')} extrapolated to unlimited data). With its pattern fixed, "
        f"attention is linear (R² {show_measured(attention, 'ratio')}).",
        effects(parts, fitted, features, unlimited(shuffled, fitted, features), linear),
        (
            Number("ffn_linear_r2", "held-out R² of the best linear map, FFN", ffn, "ratio", shuffled),
            Number(
                "ffn_linear_r2_unlimited",
                "R² of the best linear map, FFN, extrapolated to unlimited data",
                extrapolated,
                "ratio",
                unlimited(shuffled, fitted, features),
            ),
            Number("up_linear_r2", "held-out R² of the best linear map, up projection (linear)", linear, "ratio"),
            Number("attention_frozen_r2", "R² of attention with its pattern fixed", attention, "ratio", extrapolated),
        ),
        (layer_curve("R² of linear maps", "R²", lines, layers),),
    )


EXPERIMENT = Experiment(
    key="F1",
    title="The FFN is a strong non-linear map",
    question="How well does a linear map predict the FFN's output, and is attention linear once its pattern is fixed?",
    method=(
        "Least squares with an intercept maps the FFN's input, after its norm, to ffn.output on the first "
        f"{FIT_SHARE:.1%} of the passage. On the rest, R² = 1 - Σ‖y - ŷ‖² / Σ‖y - ȳ‖², mean over at most {MAX_LAYERS} "
        "layers. With n rows and d features, the held-out error is (n - 1) / (n - d - 1) times the smallest possible "
        "error; the extrapolation to unlimited data removes this factor. Baseline: the same fit to shuffled rows. "
        "Check: the up projection is linear, so its R² must be 1. Attention: R² of Σ_j p_ij v_j W_O with the recorded "
        "pattern p. With ReLU, an FFN is linear for a fixed set of active neurons and experts. The first token of each "
        "window is left out."
    ),
    rule=f"No linear map predicts the FFN's output: more than {NOT_LINEAR:.0%} of its variance is not predicted, "
    "extrapolated to unlimited data.",
    source="Geva et al. 2021 (arXiv 2012.14913); Elhage et al. 2021, attention is linear once its pattern is fixed",
    cost_tokens=shared_passage_only,
    measure=_measure,
)
