"""The relative change of each sublayer's output at one token with edits, for the rows of the layers view."""

import numpy as np

from edge.ablated import Ablated
from edge.trace import Trace
from models.sites import ATTENTION_OUTPUT, FFN_OUTPUT, layer_site
from tui.view_state import ViewState
from tui.widgets.layers.layer_table import LayerRow

COLUMNS = ("edited_logit_lens_token", "edited_logit_lens_probability", "attn_change", "ffn_change", "edits")
"""Columns of the layers table for the run with edits; empty without one."""

NOISE = 1e-5
"""Relative differences below this are rounding: runs with and without edits use different graphs."""


Change = tuple[float, str]
"""`‖with - without‖ / ‖without‖` of a sublayer's output: 0 up to rounding, NaN where it is not known.

Then which part of it is ablated, in words."""


def sublayer_changes(state: ViewState) -> tuple[tuple[Change, Change], ...]:
    """Attention and FFN of every layer at the chosen token, layer 0 first."""
    main, compared, token = state.main, state.compared, state.selection.token
    assert main is not None
    layers = range(main.trace.spec.n_layers)
    if not state.edits or compared is None or token >= compared.trace.n_fed:
        return tuple(((float("nan"), ""), (float("nan"), "")) for _ in layers)
    off, runs = compared.trace.ablated, (main.trace, compared.trace)
    return tuple(
        (
            (_share(*runs, layer_site(layer, ATTENTION_OUTPUT), token), attention_words(off, layer)),
            (_share(*runs, layer_site(layer, FFN_OUTPUT), token), ffn_words(off, layer)),
        )
        for layer in layers
    )


def _share(without: Trace, edited: Trace, site: str, token: int) -> float:
    if site not in without.sites or site not in edited.sites:
        return float("nan")
    before, after = without.row(site, token), edited.row(site, token)
    length = float(np.linalg.norm(before))
    share = float(np.linalg.norm(after - before)) / length if length else float("nan")
    return 0.0 if share < NOISE else share


def edited_cells(state: ViewState, row: LayerRow) -> tuple[str | float | None, ...]:
    """One layer's cells of `COLUMNS`."""
    names = ", ".join(state.run_edits)
    if not state.edits:
        return (None, None, None, None, names)
    return (*(row.compared or (None, None)), *(share for share, _ in row.changes), names)


def attention_words(off: Ablated, layer: int) -> str:
    """Which part of the attention of a layer is ablated."""
    return "ablated" if layer in off.attentions else _count(sum(of == layer for of, _ in off.heads), "head")


def ffn_words(off: Ablated, layer: int) -> str:
    """Which part of the FFN of a layer is ablated."""
    if layer in off.ffns:
        return "ablated"
    counts = _count(len(off.experts_of(layer)), "expert"), _count(len(off.neurons_of(layer)), "neuron")
    return " ".join(filter(None, counts))


def _count(count: int, what: str) -> str:
    return f"×{count} {what}{'s' if count > 1 else ''}" if count else ""
