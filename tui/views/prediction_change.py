"""How edits, or another engine, change the next-token prediction: a line on every screen, and a pane of bars."""

from rich.cells import cell_len
from textual.content import Content
from textual.widget import Widget

from edge.insight.prediction_change import DistributionChange, TokenChange, read_run_change
from edge.picture.pieces import quote_piece
from edge.picture.units import show_number, show_weight
from tui.result_cache import ResultCache, ResultReady, Unavailable
from tui.view_state import MeasuredRun, ViewState
from tui.widgets.change_bars import ChangeBars
from tui.widgets.pane import Pane
from tui.widgets.text_line import TextLine

NO_WEIGHTS = "the prediction needs the weights, and a saved trace has none\n\nopen its model with o and run the prompt"

Found = DistributionChange | Unavailable | None
"""Two predictions; why there are not two; None while they are computed."""


class PredictionChange:
    """The predictions of the current run and of the comparison run, at the chosen token.

    Args:
        kind: A name that distinguishes its requests from others.
    """

    def __init__(self, asker: Widget, kind: str) -> None:
        self._cache: ResultCache[DistributionChange] = ResultCache(kind, asker)
        self._of: tuple[object, object] = (None, None)

    def at(self, state: ViewState) -> Found:
        """Both predictions; requests them where they are not computed yet."""
        main, compared = state.main, state.compared
        if main is None or compared is None:
            return Unavailable(waits(state))
        if self._of[0] is not main.trace or self._of[1] is not compared.trace:
            self._of = (main.trace, compared.trace)
            self._cache.clear()
        if main.weights is None or compared.weights is None:
            return Unavailable(NO_WEIGHTS)
        token, of, by = state.selection.token, (main.trace, main.weights), (compared.trace, compared.weights)
        return self._cache.at(token, lambda: read_run_change(*of, *by, token, also=following_id(main, token)))

    def show(self, state: ViewState, main: MeasuredRun, grid: ChangeBars) -> Found:
        """Draws both predictions, or why there are not two."""
        found = self.at(state)
        compared = state.compared.name if state.compared else ""
        grid.headings = ("without edits", state.edits_title) if state.edits else ("this run", compared)
        show_shift(grid, found, following_id(main, state.selection.token))
        return found

    def fill(self, view: Widget, state: ViewState, main: MeasuredRun) -> None:
        """Draws the pane that `prediction_pane` made."""
        found = self.show(state, main, view.query_one("#prediction", ChangeBars))
        view.query_one("#prediction-pane", Pane).set_title(title_of(state, main), bits_of(found))


def prediction_pane() -> Pane:
    """A pane for both predictions."""
    return Pane("prediction", "prediction", ChangeBars(id="prediction"))


def waits(state: ViewState) -> str:
    """The next action, or the running one, before the comparison run exists."""
    if state.edits:
        return f"running with {state.edits_title} …"
    return "no comparison run: x, a and z ablate the selection,\nand this pane then compares both predictions"


def title_of(state: ViewState, main: MeasuredRun) -> str:
    """Which edits, and after which token. Several edits are always named as several."""
    of = f"effect of {state.edits_title}, " if state.edits else ""
    return f"{of}after {main.quote(state.selection.token)}"


def full_title(state: ViewState, main: MeasuredRun, found: Found) -> str:
    """The title, with the KL divergence once it is known."""
    return ", ".join(filter(None, (title_of(state, main), bits_of(found))))


def bits_of(found: Found) -> str:
    """The KL divergence of the two predictions; empty while it is not known."""
    return f"KL {show_number(found.bits)} bits" if isinstance(found, DistributionChange) else ""


def following_id(main: MeasuredRun, token: int) -> tuple[int, ...]:
    """The id of the token that follows in the text; empty after the last."""
    return main.trace.tokens[token + 1 : token + 2]


def show_shift(grid: ChangeBars, found: Found, next_ids: tuple[int, ...]) -> None:
    """Draws the tokens, or why there are none; the previous ones stay, dimmed, while new ones are computed."""
    grid.set_class(found is None, "computing")
    grid.notice = found.text if isinstance(found, Unavailable) else ""
    if isinstance(found, DistributionChange):
        grid.next_id = next_ids[0] if next_ids else None
        grid.words = found.tokens


class EffectLine(TextLine):
    """The effect of the active edits on the next token. Hidden while there are no edits."""

    DEFAULT_CSS = """
    EffectLine { display: none; color: $foreground; background: $panel; }
    EffectLine.on { display: block; }
    """

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._change, self._state = PredictionChange(self, "effect"), ViewState()

    def draw(self, state: ViewState) -> None:
        """Draws the state."""
        self._state = state
        self.set_class(bool(state.edits) and state.main is not None, "on")
        if state.main is not None and state.edits:
            self.show_text(self._words(state, state.main, self._change.at(state)))

    def _words(self, state: ViewState, main: MeasuredRun, found: Found) -> Content | str:
        head = full_title(state, main, found)
        if found is None:
            return f" {head} …"
        if isinstance(found, Unavailable):
            return f" {head}: {found.text.splitlines()[0]}" if state.compared else f" {found.text}"
        words = [_change_text(word) for word in sorted(found.tokens, key=lambda word: -abs(word.after - word.before))]
        short = head.removeprefix("effect of "), state.edits_title
        head = next((one for one in (head, *short) if cell_len(f" {one}: {words[0]}") <= self.size.width), short[-1])
        return Content.assemble((f" {head}: ", "bold"), _fitting(words, self.size.width - cell_len(head) - 3))

    def on_result_ready(self, message: ResultReady) -> None:
        message.stop()
        message.keep()
        self.draw(self._state)

    def on_resize(self) -> None:
        self.draw(self._state)


def _change_text(word: TokenChange) -> str:
    return f"{quote_piece(word.piece)} {show_weight(word.before)} → {show_weight(word.after)}"


def _fitting(words: list[str], cells: int) -> str:
    """As many as fit, at least one."""
    shown = words[0]
    for word in words[1:]:
        if cell_len(f"{shown} · {word}") > cells:
            break
        shown = f"{shown} · {word}"
    return shown
