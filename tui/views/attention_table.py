"""The chosen head's pattern as rows: what the attention view writes to CSV and JSON."""

import numpy as np
from jaxtyping import Float32

from edge.attention_pattern import visible_keys
from edge.tables import Column, Table
from tui.coloring import MAPPED
from tui.view_state import ViewState


def pattern_table(state: ViewState) -> Table | None:
    """One row per cell in the attention window, with the weight in the run with edits; None if it was not recorded."""
    if state.main is None or state.main.lacks(state.selection.layer, *MAPPED):
        return None
    trace, chosen, edited = state.main.trace, state.selection, _edited_pattern(state)
    pattern = trace.pattern(chosen.layer, chosen.head)
    seen = visible_keys(len(pattern), pattern.shape[1], trace.spec.layers[chosen.layer].attention.window)
    keys = ("layer", "head", "token", "piece", "key", "key_piece", "weight", "weight_with_edits", "edits")
    edits = ", ".join(state.run_edits)
    rows = [
        (
            *(chosen.layer, chosen.head, token, trace.pieces[token], key, trace.pieces[key]),
            *(float(pattern[token, key]), None if edited is None else float(edited[token, key]), edits),
        )
        for token, key in zip(*(axis.tolist() for axis in np.nonzero(seen)), strict=True)
    ]
    return Table([Column(key, key) for key in keys], rows)


def _edited_pattern(state: ViewState) -> Float32[np.ndarray, "token past"] | None:
    """The chosen head's pattern in the run with edits; None where there is none."""
    compared, chosen = state.compared, state.selection
    if not state.edits or compared is None or compared.lacks(chosen.layer, *MAPPED):
        return None
    return compared.trace.pattern(chosen.layer, chosen.head)
