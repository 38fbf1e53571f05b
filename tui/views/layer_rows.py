"""One row per layer at the chosen token, as the table of the layers view shows it."""

import numpy as np

from edge.insight.predictions import LensPredictions
from edge.measure.overview import HeadScores
from tui.options import ROLES
from tui.result_cache import Unavailable
from tui.view_state import ViewState
from tui.views import sublayer_change
from tui.widgets.layers.layer_table import LayerRow

Found = LensPredictions | Unavailable | None
"""The logit lens; why there is none; None while it is computed, or without a run."""


def rows_of(state: ViewState, predictions: Found, compared: Found) -> tuple[LayerRow, ...]:
    """Every layer at the chosen token."""
    assert state.main is not None
    main, token = state.main, state.selection.token
    parts = main.timing.scaled_ns if main.timing else {}
    attn, ffn = main.overview.attn_write[:, token], main.overview.ffn_write[:, token]
    known = np.concatenate([attn, ffn])
    known = known[~np.isnan(known)]
    largest = float(known.max()) if known.size else float("nan")
    sparsity = main.overview.sparsity[state.options.sparsity.key][:, token]
    return tuple(
        LayerRow(
            layer=layer,
            attn_ns=parts.get(f"layers.{layer}.attn", float("nan")),
            ffn_ns=parts.get(f"layers.{layer}.ffn", float("nan")),
            attn_write=float(attn[layer]) / largest,
            ffn_write=float(ffn[layer]) / largest,
            sparsity=float(sparsity[layer]),
            prediction=_prediction(predictions, layer),
            compared=_prediction(compared, layer),
            kinds=kinds_of(main.overview.heads, layer),
            parity=_parity(state, layer),
            changes=changes,
        )
        for layer, changes in enumerate(sublayer_change.sublayer_changes(state))
    )


def _prediction(predictions: Found, layer: int) -> tuple[str, float] | None:
    if not isinstance(predictions, LensPredictions) or layer >= len(predictions.after_layer):
        return None
    prediction = predictions.after_layer[layer]
    return prediction.piece, prediction.probability


def kinds_of(scores: HeadScores, layer: int) -> str:
    """The number of heads of a layer with each role: `2 prev · 3 sink`."""
    counts = [(role.short, int((getattr(scores, role.field)[layer] >= role.least).sum())) for role in ROLES]
    return " · ".join(f"{count} {short}" for short, count in counts if count)


def _parity(state: ViewState, layer: int) -> str:
    """One mark per engine compared: within tolerance, or over it."""
    if state.comparison is None:
        return ""
    worst = [(one.worst_of_layer(layer), one.tolerance) for one in state.comparison.variants]
    return "".join("–" if np.isnan(off) else "●" if off <= tolerance else "○" for off, tolerance in worst)
