"""How messages change the state: one pure function per message, without widgets."""

from dataclasses import replace
from functools import singledispatch

from tui import messages
from tui.options import Selection, clamp, strongest_key
from tui.view_state import MeasuredRun, ViewState


@singledispatch
def changed(message: messages.StateChange, state: ViewState) -> ViewState:
    """The state after a message.

    Raises:
        TypeError: no change is registered for this message.
    """
    raise TypeError(f"{type(message).__name__} has no change of the state")


# ---- selection ------------------------------------------------------------------------------------------


def choose(state: ViewState, selection: Selection) -> ViewState:
    """Chooses one cell of an attention pattern, or the nearest cell of the current run."""
    return state if state.main is None else replace(state, selection=clamp(selection, state.main.trace))


def choose_row(state: ViewState, selection: Selection) -> ViewState:
    """Chooses a query token, and the key with the largest attention weight in its row."""
    if state.main is None:
        return state
    row = clamp(selection, state.main.trace)
    return choose(state, replace(row, key=strongest_key(state.main.trace, row)))


@changed.register
def _(message: messages.CellChosen, state: ViewState) -> ViewState:
    return choose(state, replace(state.selection, token=message.token, key=message.key))


@changed.register
def _(message: messages.HeadChosen, state: ViewState) -> ViewState:
    return choose_row(state, replace(state.selection, layer=message.layer, head=message.head))


@changed.register
def _(message: messages.TokenChosen, state: ViewState) -> ViewState:
    layer = state.selection.layer if message.layer is None else message.layer
    return choose_row(state, replace(state.selection, token=message.token, layer=layer))


@changed.register
def _(message: messages.LayerChosen, state: ViewState) -> ViewState:
    return choose_row(state, replace(state.selection, layer=message.layer))


@changed.register
def _(message: messages.NeuronChosen, state: ViewState) -> ViewState:
    return choose(state, replace(state.selection, neuron=message.neuron))


@changed.register
def _(message: messages.ExpertChosen, state: ViewState) -> ViewState:
    token = state.selection.token if message.token is None else message.token
    return choose_row(state, replace(state.selection, expert=message.expert, token=token))


# ---- measurements of a run ------------------------------------------------------------------------------


def measured(state: ViewState, is_compared: bool, **found: object) -> ViewState:
    """Stores a result of the current run, or of the comparison run; nothing where that run is gone."""
    of = state.compared if is_compared else state.main
    if of is None:
        return state
    known: MeasuredRun = replace(of, **found)  # type: ignore[arg-type]
    return replace(state, compared=known) if is_compared else replace(state, main=known)


@changed.register
def _(message: messages.OverviewMeasured, state: ViewState) -> ViewState:
    return measured(state, message.is_compared, overview=message.overview)


@changed.register
def _(message: messages.SurprisalMeasured, state: ViewState) -> ViewState:
    return measured(state, message.is_compared, surprisal_bits=message.bits)


@changed.register
def _(message: messages.SublayersTimed, state: ViewState) -> ViewState:
    return measured(state, message.is_compared, timing=message.timing)


@changed.register
def _(message: messages.NeuronsAblated, state: ViewState) -> ViewState:
    main, found = state.main, message.agreement
    if main is None or main.trace is not message.trace:  # another run is shown by now
        return state
    return measured(state, False, agreements={**main.agreements, (found.layer, found.token): found})


# ---- engines, laws, claims ------------------------------------------------------------------------------


@changed.register
def _(message: messages.EnginesTimed, state: ViewState) -> ViewState:
    return replace(state, profile=message.profile)


@changed.register
def _(message: messages.EnginesCompared, state: ViewState) -> ViewState:
    return replace(state, comparison=message.comparison)


@changed.register
def _(message: messages.LawsQueued, state: ViewState) -> ViewState:
    return replace(state, laws_queued=message.numbers)


@changed.register
def _(message: messages.LawChecked, state: ViewState) -> ViewState:
    own = {**state.laws.get(message.engine, {}), message.result.number: message.result}
    return replace(state, laws={**state.laws, message.engine: own})


@changed.register
def _(message: messages.ClaimsQueued, state: ViewState) -> ViewState:
    return replace(state, claims_queued=message.keys)


@changed.register
def _(message: messages.ClaimTested, state: ViewState) -> ViewState:
    return replace(state, claim_results={**state.claim_results, message.result.key: message.result})
