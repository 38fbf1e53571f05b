"""What edits, or another engine, do to the answer: one line that every screen has, and bars that list it."""

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

NO_WEIGHTS = "the prediction needs the weights, which a saved trace has not\n\nopen its model with o and run the prompt"

Found = DistributionChange | Unavailable | None
"""Two answers; why there are not two; None while they are awaited."""


class PredictionChange:
    """The answers of the run that shows and of the one beside, at the chosen token.

    Args:
        kind: Tells its readings from those of others.
    """

    def __init__(self, asker: Widget, kind: str) -> None:
        self._readings: ResultCache[DistributionChange] = ResultCache(kind, asker)
        self._of: tuple[object, object] = (None, None)

    def at(self, state: ViewState) -> Found:
        """What is known of them; they are asked for where they are not."""
        main, compared = state.main, state.compared
        if main is None or compared is None:
            return Unavailable(waits(state))
        if self._of[0] is not main.trace or self._of[1] is not compared.trace:
            self._of = (main.trace, compared.trace)
            self._readings.forget()
        if main.weights is None or compared.weights is None:
            return Unavailable(NO_WEIGHTS)
        token, of, by = state.selection.token, (main.trace, main.weights), (compared.trace, compared.weights)
        return self._readings.at(token, lambda: read_run_change(*of, *by, token, also=following_id(main, token)))

    def show(self, state: ViewState, main: MeasuredRun, grid: ChangeBars) -> Found:
        """Draws both answers; words that say why where there are not two."""
        found = self.at(state)
        compared = state.compared.name if state.compared else ""
        grid.headings = ("no edit", state.edits_title) if state.edits else ("this run", compared)
        show_shift(grid, found, following_id(main, state.selection.token))
        return found

    def fill(self, view: Widget, state: ViewState, main: MeasuredRun) -> None:
        """Draws the pane that `answer_pane` made."""
        found = self.show(state, main, view.query_one("#answer", ChangeBars))
        view.query_one("#answer-pane", Pane).set_title(title_of(state, main, found))


def prediction_pane() -> Pane:
    """A pane for both answers."""
    return Pane("answer", "answer", ChangeBars(id="answer"))


def waits(state: ViewState) -> str:
    """What to do, or what is awaited, while nothing runs beside."""
    if state.edits:
        return f"running with {state.edits_title} …"
    return "nothing runs beside: x, a and z ablate what is chosen,\nand both answers then stand here"


def title_of(state: ViewState, main: MeasuredRun, found: Found) -> str:
    """Whose effect it is, after which token, how far apart the answers are: several edits are never told as one."""
    bits = f", KL {show_number(found.bits)} bits" if isinstance(found, DistributionChange) else ""
    of = f"effect of {state.edits_title}, " if state.edits else ""
    return f"{of}after {main.quote(state.selection.token)}{bits}"


def following_id(main: MeasuredRun, token: int) -> tuple[int, ...]:
    """The id that came after a token; none after the last."""
    return main.trace.tokens[token + 1 : token + 2]


def show_shift(grid: ChangeBars, found: Found, came: tuple[int, ...]) -> None:
    """Words where they are known, else why not; what showed before stays, dimmed, while they are awaited."""
    grid.set_class(found is None, "awaited")
    grid.notice = found.text if isinstance(found, Unavailable) else ""
    if isinstance(found, DistributionChange):
        grid.came = came[0] if came else None
        grid.words = found.words


class EffectLine(TextLine):
    """What the edits that are on do to the next token after the chosen one. No line at all while none are on."""

    DEFAULT_CSS = """
    EffectLine { display: none; color: $foreground; background: $panel; }
    EffectLine.on { display: block; }
    """

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._change, self._state = PredictionChange(self, "effect"), ViewState()

    def draw(self, state: ViewState) -> None:
        """Draws what is known."""
        self._state = state
        self.set_class(bool(state.edits) and state.main is not None, "on")
        if state.main is not None and state.edits:
            self.show_text(self._words(state, state.main, self._change.at(state)))

    def _words(self, state: ViewState, main: MeasuredRun, found: Found) -> Content | str:
        head = title_of(state, main, found)
        if found is None:
            return f" {head} …"
        if isinstance(found, Unavailable):
            return f" {head}: {found.text.splitlines()[0]}" if state.compared else f" {found.text}"
        words = [_told(word) for word in sorted(found.words, key=lambda word: -abs(word.after - word.before))]
        short = head.removeprefix("effect of "), state.edits_title
        head = next((one for one in (head, *short) if cell_len(f" {one}: {words[0]}") <= self.size.width), short[-1])
        return Content.assemble((f" {head}: ", "bold"), _fitting(words, self.size.width - cell_len(head) - 3))

    def on_result_ready(self, message: ResultReady) -> None:
        message.stop()
        message.keep()
        self.draw(self._state)

    def on_resize(self) -> None:
        self.draw(self._state)


def _told(word: TokenChange) -> str:
    return f"{quote_piece(word.piece)} {show_weight(word.before)} → {show_weight(word.after)}"


def _fitting(words: list[str], cells: int) -> str:
    """As many as fit whole, at least one."""
    told = words[0]
    for word in words[1:]:
        if cell_len(f"{told} · {word}") > cells:
            break
        told = f"{told} · {word}"
    return told
