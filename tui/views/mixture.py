"""The mixture of experts of a layer, where there is one."""

from models.spec import MoE
from tui.view_state import MeasuredRun


def mixture_of(main: MeasuredRun | None, layer: int) -> MoE | None:
    """The mixture of a layer; None where its FFN is dense, or before a run."""
    kind = main.trace.spec.layers[layer].ffn if main is not None else None
    return kind if isinstance(kind, MoE) else None
