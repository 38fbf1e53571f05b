"""F1: how much of what an FFN writes a linear map could write."""

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
from edge.picture.units import show_share
from edge.readout import OutputProjection, open_output_projection
from edge.trace import Trace
from models.sites import layer_site

FIT_SHARE = 0.875
"""Of the rows, to fit on: the more, the less noise is fitted; an eighth of 2,048 tokens still has 256 to judge by."""

ROWS_A_FEATURE = 2
"""Fitted rows for each feature at least: with fewer, more than half of what is not linear is fitted noise."""

NOT_LINEAR = 0.1
"""Of the variance of what an FFN writes, which no linear map may foretell. No paper sets it; a linear map leaves 0."""

MAX_LAYERS = 8
"""Layers that are fitted, spread evenly where a decoder has more."""

BLOCKS = 12
"""Into which held-out tokens are cut, neighbors together: the units of the sample."""


def unlimited(held_out: float, fitted: int, features: int) -> float:
    """A held-out R² without the cost of few rows: `1 - (1 - R²) · (n - d - 1) / (n - 1)`.

    What is not linear acts as noise; least squares with n rows and d features fits some of it, and its held-out error
    is `(n - 1) / (n - d - 1)` times the least there is, exactly so for Gaussian features (Stein 1960).
    """
    return 1.0 - (1.0 - held_out) * (fitted - features - 1) / (fitted - 1)


def frozen_attention(trace: Trace, layer: int, projection: OutputProjection) -> Float32[np.ndarray, "token model"]:
    """What attention writes by its pattern: `Σ_j p_ij v_j · W_O`, its bias, and the norm after where there is one."""
    heads = read_values(layer_patterns(trace, layer), trace.site(layer_site(layer, "attn.value")))
    return projection.after(projection(heads.reshape(len(heads), -1)))


def _attention_r2(lab: LabContext, layer: int) -> float:
    projection = open_output_projection(lab.model.checkpoint, layer, "attn")
    told = np.concatenate([frozen_attention(trace, layer, projection) for trace in lab.traces])
    return r2(told[after_first(lab)], site_after_first(lab, layer, "attn.output"))


def _ffn_missed(lab: LabContext, layer: int) -> Float64[np.ndarray, "held_out kind 2"]:
    """`squared_errors` of the FFN's output; of the same with its tokens shuffled; of some neurons before they act."""
    read, wrote = ffn_input(lab, layer), site_after_first(lab, layer, "ffn.output")
    lost = np.random.default_rng([SEED, layer]).permutation(wrote)
    up = up_projection(lab, layer)[:, : lab.spec.d_model]
    predicted = linear_prediction(read, np.concatenate([wrote, lost, up], axis=1), FIT_SHARE)
    truths, ends = (wrote, lost, up), np.cumsum([wrote.shape[1], lost.shape[1]])
    return np.stack(
        [
            squared_errors(told, truth[-len(told) :])
            for told, truth in zip(np.split(predicted, ends, axis=1), truths, strict=True)
        ],
        axis=1,
    )


def effects(
    parts: Float64[np.ndarray, "layer held_out kind 2"], fitted: int, features: int, shuffled: float, linear: float
) -> tuple[Effect, ...]:
    """What no linear map of its input foretells of an FFN's output, over blocks of held-out tokens."""
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
            label="what no linear map foretells of an FFN's output",
            unit="share",
            threshold=NOT_LINEAR,
            threshold_reason="our own choice; the up projection, which is linear, leaves "
            f"{show_share(max(0.0, 1 - linear))}, "
            f"shuffled rows {show_share(max(0.0, 1 - shuffled))}",
            sample_unit=f"blocks of {size} held-out tokens",
        ),
    )


def _measure(lab: LabContext) -> Finding:
    features, fitted = lab.spec.d_model, int(FIT_SHARE * int(after_first(lab).sum()))
    if fitted < ROWS_A_FEATURE * features:
        enough = passage_tokens_for(lab, ceil(ROWS_A_FEATURE * features / FIT_SHARE))
        return not_applicable(
            f"a linear map of {features} features needs {ROWS_A_FEATURE * features:,} tokens to be fitted to, "
            f"{fitted:,} are there; read {enough:,} (--tokens {enough}, with a --text that has as many)"
        )
    layers = evenly_spaced(lab.spec.n_layers, MAX_LAYERS)
    parts = np.array([_ffn_missed(lab, layer) for layer in layers])
    found = np.array([[r2_of(kind) for kind in np.moveaxis(layer, 1, 0)] for layer in parts])
    frozen = [_attention_r2(lab, layer) for layer in layers]
    ffn, shuffled, linear = (float(mean) for mean in np.nanmean(found, axis=0))
    attention, without_end = float(np.nanmean(frozen)), unlimited(ffn, fitted, features)
    lines = {
        "FFN, best linear map": found[:, 0].tolist(),
        "FFN, rows without end": [unlimited(one, fitted, features) for one in found[:, 0].tolist()],
        "attention, pattern frozen": frozen,
    }
    return Finding(
        f"The best linear map foretells {show_share(ffn)} of what FFNs write, about {show_share(without_end)} if it "
        "had rows without end to be fitted to. Attention with its pattern held still is linear: "
        f"{show_share(attention)}.",
        effects(parts, fitted, features, unlimited(shuffled, fitted, features), linear),
        (
            Number("ffn_linear_r2", "held-out R² of the best linear map, FFN", ffn, "share", shuffled),
            Number(
                "ffn_linear_r2_unlimited",
                "the same, less what few rows cost",
                without_end,
                "share",
                unlimited(shuffled, fitted, features),
            ),
            Number("up_linear_r2", "the same fit of the up projection alone, which is linear", linear, "share"),
            Number("attention_frozen_r2", "R² of pattern · values · W_O, attention", attention, "share", without_end),
        ),
        (layer_curve("what a linear map explains", "R²", lines, layers),),
    )


EXPERIMENT = Experiment(
    key="F1",
    title="the FFN is a strong non-linear map",
    question="How much of what an FFN writes could the best linear map write, and how much of what attention writes?",
    method=(
        "Least squares with an intercept from what the FFN reads, after its norm, to ffn.output on the first "
        f"{FIT_SHARE:.1%} of the passage; R² = 1 - Σ‖y - ŷ‖² / Σ‖y - ȳ‖² on the rest, mean over {MAX_LAYERS} layers "
        "at most. With n rows and d features the held-out error is (n - 1) / (n - d - 1) times the least, which 'rows "
        "without end' takes off. Chance is the same fit to shuffled rows; the up projection before the activation is "
        "linear, so its R² is 1. Attention: Σ_j p_ij v_j W_O with the pattern p it had. An FFN whose active neurons "
        "were held still would be linear, too, where its activation is ReLU. The first token of each pass is left out."
    ),
    rule=f"more than {NOT_LINEAR:.0%} of what FFNs write is beyond the linear map, rows without end exact_value",
    source="Geva et al. 2021 (arXiv 2012.14913); Elhage et al. 2021, attention is linear once its pattern is fixed",
    cost_tokens=shared_passage_only,
    measure=_measure,
)
