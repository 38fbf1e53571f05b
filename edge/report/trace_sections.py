"""The sections on the trace itself: attention weights, activation sparsity of the FFNs, and a table of all layers."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from edge.measure.attention import mean_after_first
from edge.measure.registry import EXACT_ZERO, MEASURES, TOP_P
from edge.picture.levels import Linear, Log, Scale
from edge.picture.units import show_number, show_share
from edge.report.byte_levels import quantized_text, to_byte_levels
from edge.report.markup import Markup, Section, note, numbers, tag
from edge.report.scales import briefly, color_steps, ends, exactness, labels, scale_record, two_digits
from edge.report.tokens_section import legend
from edge.report.trace_values import COLUMNS, WEIGHTS, AttentionMaps, FfnSparsity, in_columns, share_scale
from edge.trace import Trace

SHOWN: dict[str, Scale] = {"log": Log(1e-3, 1.0), "linear": Linear(0.0, 1.0)}
"""The color scales of attention weights. All heads have the same one, so that they can be compared."""

ABLATED = "ablated"
"""Shown instead of the numbers of an ablated head or FFN, whose output is 0."""

READ_KEYS = 8
"""Number of keys that are listed for the chosen query."""


def attention_section(trace: Trace, maps: AttentionMaps | None) -> Section:
    """Small maps of all heads, a large map of the chosen head, and the largest weights of the chosen query."""
    if maps is None:
        missing = note("Queries and keys were not recorded in this run, so there are no attention weights.")
        return Section("attention", "Attention", (missing,))
    how = note(
        "Attention weights of every head. Row: query token. Column: key token. Color: attention weight, ",
        tag("code", "softmax(q·kᵀ·scale)"),
        " over the keys in the attention window (Vaswani et al. 2017), a share of 1; each row sums to 1. The weights "
        "are recomputed from the queries and keys of the engine. ",
        *_storage(maps),
        *_edits(trace),
    )
    controls = tag("div", *_scale_choice(), legend("weight"), class_="controls")
    keys = tag("div", tag("h4", id="keys-title"), tag("ol", id="keys"), class_="keys")
    body = tag("div", _heads(maps), _chosen_head(), keys, class_="attention")
    return Section("attention", "Attention", (how, controls, body), {"attention": _maps_record(maps)})


def _edits(trace: Trace) -> Iterator[str]:
    if trace.edits:
        yield tag("strong", f" Edits of this run: {', '.join(trace.edits)}. Means leave out what is ablated.")


def _storage(maps: AttentionMaps) -> Iterator[str]:
    yield f"{exactness(WEIGHTS, briefly)} Smaller weights have the lowest level. "
    if maps.block > 1:
        tokens, cells, block = maps.entropy_bits.shape[2], maps.levels.shape[2], maps.block
        yield tag(
            "strong",
            f"The {tokens:,} × {tokens:,} weights of a head are shown as {cells} × {cells} cells. A cell is the "
            f"largest weight of a block of {block} × {block}; this page does not contain the other weights.",
        )


def _scale_choice() -> list[Markup]:
    """Radio buttons for the colors of weights."""
    return [
        tag("label", tag("input", type="radio", name="weights", value=name, checked=name == "log"), f" {name}")
        for name in SHOWN
    ]


def _heads(maps: AttentionMaps) -> Markup:
    """One row of small maps per layer, with the last layer at the top."""
    rows = (_layer_row(maps, place) for place in reversed(range(len(maps.layers))))
    what = tag(
        "p",
        "All heads, one row per layer. Click a head, or use the arrow keys: ↑ ↓ layer, ← → head.",
        class_="caption",
    )
    grid = tag("div", *rows, id="heads", role="group", aria_label="heads of all recorded layers")
    return tag("div", what, grid, class_="heads")


def _layer_row(maps: AttentionMaps, place: int) -> Markup:
    layer = maps.layers[place]
    buttons = (_head_button(maps, place, head) for head in range(maps.levels.shape[1]))
    return tag("div", tag("span", f"{layer}", class_="layer"), *buttons, class_="layer-row")


def _head_button(maps: AttentionMaps, place: int, head: int) -> Markup:
    name = f"layer {maps.layers[place]}, head {head}: {_scores(maps, place, head)}"
    return tag(
        "button",
        tag("canvas", aria_hidden="true"),
        type="button",
        data_place=place,
        data_head=head,
        tabindex=-1,
        aria_pressed="false",
        aria_label=name,
        title=name,
    )


def _scores(maps: AttentionMaps, place: int, head: int) -> str:
    """Means over the rows after the first, whose token attends to itself only."""
    if not maps.not_ablated[place, head]:
        return "ablated, its output is 0"
    bits, first = (float(mean_after_first(one[place, head])) for one in (maps.entropy_bits, maps.first_token_share))
    if np.isnan(bits):
        return "only one token, which attends to itself"
    return f"mean entropy {show_number(bits)} bits, first-token share {show_share(first)}"


def _chosen_head() -> Markup:
    name = "attention weights of the chosen head; arrow keys choose a cell"
    canvas = tag("canvas", id="map", tabindex=0, role="img", aria_label=name, aria_describedby="map-readout")
    mark = tag("div", id="map-mark", aria_hidden="true")
    frame = tag(
        "div",
        tag("div", tag("span", id="map-key", class_="map-label"), class_="map-key", aria_hidden="true"),
        tag("div", tag("span", id="map-query", class_="map-label"), class_="map-query", aria_hidden="true"),
        tag("div", canvas, mark, class_="map-body"),
        class_="map-frame",
    )
    title = tag("h3", id="map-title")
    readout = tag("output", id="map-readout", class_="readout", aria_live="polite")
    return tag("div", title, readout, frame, class_="chosen")


def _maps_record(maps: AttentionMaps) -> dict[str, Any]:
    return {
        "layers": list(maps.layers),
        "heads": maps.levels.shape[1],
        "cells": maps.levels.shape[2],
        "tokens": maps.entropy_bits.shape[2],
        "block": maps.block,
        "reads": READ_KEYS,
        "labels": [f"≤{briefly(WEIGHTS.low)}", *labels(WEIGHTS, two_digits)[1:]],
        "colors": {name: color_steps(WEIGHTS, scale) for name, scale in SHOWN.items()},
        "ends": {name: [("≤" if name == "log" else "") + low, high] for name, (low, high) in _shown_ends()},
        "levels": quantized_text(maps.levels),
    }


def _shown_ends() -> Iterator[tuple[str, list[str]]]:
    for name, scale in SHOWN.items():
        yield name, ends(scale, briefly)


def sparsity_section(trace: Trace, sparsity: FfnSparsity | None) -> Section:
    """A map of layers and tokens for each measure, and the mean of every layer."""
    if sparsity is None:
        why = "are ablated" if trace.ablated.ffns else "were not recorded"
        missing = note(f"The FFN neurons {why} in this run, so there is no activation sparsity.")
        return Section("sparsity", "FFN sparsity", (missing,))
    relu = any(one.has_zeros for one in trace.spec.activations)
    choice = tag("div", *_definition_choice(relu), legend("sparsity"), class_="controls")
    definition = note(
        "Activation sparsity of the FFN. Row: layer. Column: token. Right: mean over tokens. ",
        tag("span", id="sparsity-definition"),
        *_columns(trace.n_fed),
        *_edits(trace),
    )
    layers = [str(layer) for layer in reversed(sparsity.layers)]
    canvas = tag(
        "canvas",
        id="sparsity-map",
        tabindex=0,
        role="img",
        aria_label="activation sparsity of the FFN, one row per layer, one column per token; arrow keys choose a cell",
        aria_describedby="sparsity-readout",
    )
    body = tag(
        "div",
        tag("ol", *(tag("li", layer) for layer in layers), class_="side", aria_label="layers"),
        tag("div", canvas, tag("div", id="sparsity-mark", aria_hidden="true"), class_="map-body"),
        tag(
            "ol",
            *(tag("li") for _ in layers),
            id="sparsity-means",
            class_="side means",
            aria_label="mean of each layer",
        ),
        class_="sparsity",
    )
    readout = tag("output", id="sparsity-readout", class_="readout", aria_live="polite")
    record = {"sparsity": _sparsity_record(sparsity)}
    return Section("sparsity", "FFN sparsity", (definition, choice, readout, body), record)


def _definition_choice(relu: bool) -> Iterator[Markup]:
    """Radio buttons for the measures; exact zeros is chosen first for ReLU, top-p for other activations."""
    first = EXACT_ZERO if relu else TOP_P
    for measure in MEASURES:
        choice = tag("input", type="radio", name="definition", value=measure.key, checked=measure is first)
        yield tag("label", choice, f" {measure.title}")


def _columns(tokens: int) -> Iterator[str]:
    wide = -(-tokens // COLUMNS)
    if wide > 1:
        yield tag("strong", f" {tokens:,} tokens do not fit, so a column is the mean of {wide} tokens.")


def _sparsity_record(sparsity: FfnSparsity) -> dict[str, Any]:
    record: dict[str, Any] = {"layers": list(sparsity.layers)}
    measures: dict[str, Any] = {}
    for measure in MEASURES:
        values = sparsity.values[measure.key]
        scale = share_scale(values)
        wide, columns = in_columns(values)
        record |= {"wide": wide, "columns": columns.shape[1], "tokens": values.shape[1]}
        measures[measure.key] = scale_record(scale, measure.unit.show) | {
            "title": measure.title,
            "definition": f"{measure.definition} {exactness(scale, measure.unit.show)}",
            "means": [measure.unit.show(float(row.mean())) for row in values],
            "levels": quantized_text(to_byte_levels(columns, scale)),
        }
    record["measures"] = measures
    return record


def layers_section(trace: Trace, maps: AttentionMaps | None, sparsity: FfnSparsity | None) -> Section:
    """Means of every layer as a table; a dash if the layer was not recorded."""
    rows = [_layer_numbers(trace, layer, maps, sparsity) for layer in reversed(range(trace.spec.n_layers))]
    headings = ("layer", "entropy, bits", "first-token share", *(measure.title for measure in MEASURES))
    what = note(
        "Means over tokens, and over heads for attention. Entropy: −Σ p·log₂ p of a row of attention weights. "
        "First-token share: the weight of token 0. Both leave out the first row, whose token attends to itself only. ",
        "The other columns are measures of activation sparsity. ",
        " ".join(measure.definition for measure in MEASURES),
        *_edits(trace),
    )
    table = numbers("Means of each layer, computed from the floats of the trace.", headings, rows)
    return Section("layers", "Layer by layer", (what, table))


def _layer_numbers(
    trace: Trace, layer: int, maps: AttentionMaps | None, sparsity: FfnSparsity | None
) -> tuple[str, ...]:
    cells = [str(layer)]
    place = maps.layers.index(layer) if maps is not None and layer in maps.layers else None
    if maps is None or place is None or maps.entropy_bits.shape[2] < 2:
        cells += ["–", "–"]
    elif not (acting := maps.not_ablated[place]).any():
        cells += [ABLATED, ABLATED]
    else:
        cells += [show_number(float(mean_after_first(maps.entropy_bits[place, acting]).mean()))]
        cells += [show_share(float(mean_after_first(maps.first_token_share[place, acting]).mean()))]
    if layer in trace.ablated.ffns:
        return (*cells, *(ABLATED for _ in MEASURES))
    if sparsity is None or layer not in sparsity.layers:
        return (*cells, *("–" for _ in MEASURES))
    at = sparsity.layers.index(layer)
    return (*cells, *(one.unit.show(float(sparsity.values[one.key][at].mean())) for one in MEASURES))
