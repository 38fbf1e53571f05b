"""The middle of a page: where tokens look, how silent FFNs are, and both in numbers, layer by layer."""

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
from models.spec import Activation

SHOWN: dict[str, Scale] = {"log": Log(1e-3, 1.0), "linear": Linear(0.0, 1.0)}
"""The scales on which attention weights are colored; all heads share one, so that they compare."""

ABLATED = "ablated"
"""In place of numbers of what adds 0."""

READ_KEYS = 8
"""Keys that are listed for the chosen query."""


def attention_section(trace: Trace, maps: AttentionMaps | None) -> Section:
    """Every head small, one of them large, and what the chosen token reads through it."""
    if maps is None:
        missing = note("Queries and keys were not watched in this run, so that no pattern can be shown.")
        return Section("attention", "Attention", (missing,))
    how = note(
        "A row is the token that reads, a column the token that is read, the color the weight: ",
        tag("code", "softmax(q·kᵀ·scale)"),
        " over the keys a token may read (Vaswani et al. 2017), a share of 1; a row sums to 1. Recomputed from the "
        "queries and keys that the engine computed. ",
        *_kept(maps),
        *_edits(trace),
    )
    controls = tag("div", *_scale_choice(), legend("weight"), class_="controls")
    reads = tag("div", tag("h4", id="reads-title"), tag("ol", id="reads"), class_="reads")
    body = tag("div", _heads(maps), _chosen_head(), reads, class_="attention")
    return Section("attention", "Attention", (how, controls, body), {"attention": _maps_record(maps)})


def _edits(trace: Trace) -> Iterator[str]:
    if trace.edits:
        yield tag("strong", f" Edits of this run: {', '.join(trace.edits)}. Means leave out what is ablated.")


def _kept(maps: AttentionMaps) -> Iterator[str]:
    yield f"Kept as {exactness(WEIGHTS, briefly)}; what is less is the lowest level. "
    if maps.block > 1:
        tokens, cells, block = maps.entropy_bits.shape[2], maps.levels.shape[2], maps.block
        yield tag(
            "strong",
            f"{tokens:,} × {tokens:,} weights a head are shown as {cells} × {cells} cells: each is the largest weight "
            f"of a block of {block} × {block}, the others are left out of this page.",
        )


def _scale_choice() -> list[Markup]:
    """Radio buttons for the colors of weights."""
    return [
        tag("label", tag("input", type="radio", name="weights", value=name, checked=name == "log"), f" {name}")
        for name in SHOWN
    ]


def _heads(maps: AttentionMaps) -> Markup:
    """A row of small maps for each layer, the deepest on top as the residual stream rises."""
    rows = (_layer_row(maps, place) for place in reversed(range(len(maps.layers))))
    what = tag("p", "Every head: arrow keys or a click choose the layer (↑ ↓) and the head (← →).", class_="caption")
    grid = tag("div", *rows, id="heads", role="group", aria_label="heads of every watched layer")
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
    """Means over the rows after the first token's, which has nothing else to read."""
    if not maps.not_ablated[place, head]:
        return "ablated, what it writes is 0"
    bits, first = (float(mean_after_first(one[place, head])) for one in (maps.entropy_bits, maps.first_token_share))
    if np.isnan(bits):
        return "one token, which reads itself"
    return f"mean entropy {show_number(bits)} bits, {show_share(first)} on the first token"


def _chosen_head() -> Markup:
    name = "attention map of the chosen head; arrow keys move from cell to cell"
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
    """A map of layers and tokens for each definition, and the mean of every layer."""
    if sparsity is None:
        why = "are ablated" if trace.ablated.ffns else "were not watched"
        missing = note(f"The FFN's neurons {why} in this run, so that their sparsity cannot be shown.")
        return Section("sparsity", "FFN sparsity", (missing,))
    relu = any(layer.ffn.activation is Activation.RELU for layer in trace.spec.layers)
    choice = tag("div", *_definition_choice(relu), legend("sparsity"), class_="controls")
    definition = note(tag("span", id="sparsity-definition"), *_columns(trace.n_fed), *_edits(trace))
    layers = [str(layer) for layer in reversed(sparsity.layers)]
    canvas = tag(
        "canvas",
        id="sparsity-map",
        tabindex=0,
        role="img",
        aria_label="activation sparsity of the FFN, a row for each layer and a column for each token; arrow keys move",
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
    """Exact zeros are chosen where activations have them, top-p where they have none."""
    first = EXACT_ZERO if relu else TOP_P
    for measure in MEASURES:
        choice = tag("input", type="radio", name="definition", value=measure.key, checked=measure is first)
        yield tag("label", choice, f" {measure.title}")


def _columns(tokens: int) -> Iterator[str]:
    wide = -(-tokens // COLUMNS)
    if wide > 1:
        yield tag("strong", f" {tokens:,} tokens do not fit: a column is the mean of {wide} tokens.")


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
            "definition": f"{measure.definition} Kept as {exactness(scale, measure.unit.show)}.",
            "means": [measure.unit.show(float(row.mean())) for row in values],
            "levels": quantized_text(to_byte_levels(columns, scale)),
        }
    record["measures"] = measures
    return record


def layers_section(trace: Trace, maps: AttentionMaps | None, sparsity: FfnSparsity | None) -> Section:
    """Means of every layer as a table; a dash where it was not watched."""
    rows = [_layer_numbers(trace, layer, maps, sparsity) for layer in reversed(range(trace.spec.n_layers))]
    headings = ("layer", "entropy, bits", "on first token", *(measure.title for measure in MEASURES))
    what = note(
        "Means over tokens, and over heads for attention. Entropy: −Σ p·log₂ p of a row; on first token: its weight on "
        "token 0, a share. Both leave out the first token's own row, which has nothing else to read. ",
        " ".join(measure.definition for measure in MEASURES),
        *_edits(trace),
    )
    table = numbers("What each layer did, computed from the trace's own floats.", headings, rows)
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
