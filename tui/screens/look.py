"""The screen: a prompt, its tokens, and what happened inside while they came."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from textual import events, on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Footer

from edge.measure.overview import Overview, survey
from edge.picture.pieces import quote_piece
from edge.picture.units import show_bytes
from edge.timing import SublayerTiming
from edge.trace import Trace
from tui import messages
from tui.help import FIRST_STEPS
from tui.messages import Facts
from tui.runner import WATCH, Prompt, Runner, facts_of_trace
from tui.screens.choosing import ChoosingScreen
from tui.screens.help import HelpScreen
from tui.screens.trouble import TroubleScreen
from tui.state import clamp, strongest_key, suited
from tui.widgets.header_bar import HeaderBar
from tui.widgets.pane_tabs import PaneTabs
from tui.widgets.panes import TABS, Panes, Sight
from tui.widgets.prompt_box import PromptBox
from tui.widgets.token_strip import TokenStrip

FOLDED_BELOW = (110, 40)
"""Cells and lines under which panes show one at a time."""

OF_ONE_PANE = {"log": "map", "first": "map", "score": "heads", "definition": "ffn"}
"""Actions that change one pane only: offered while it can be seen."""

LETTERS = {*OF_ONE_PANE, "prompt", "engine", "length", "sampling", "select", "colours", "theme", "help"}
"""Actions on keys that a prompt takes for text."""


class LookScreen(ChoosingScreen):
    """Drives the runner, and hands what is chosen down to the panes.

    Attributes:
        facts: The loaded model; None before there is one.
        overview: What is measured of it so far.
        timing: Its sublayers, timed; None until they are.
        pane: The pane at hand.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "stop", priority=True),
        Binding("tab", "pane(1)", "pane"),
        Binding("shift+tab", "pane(-1)", "previous pane", show=False),
        Binding("p,slash", "prompt", "prompt"),
        Binding("e", "engine", "engine", tooltip="Run the same prompt on the next engine"),
        Binding("s", "log", "log", tooltip="Attention weights on a log or a linear scale"),
        Binding("f", "first", "drop first", tooltip="Leave the first token's column out of the map"),
        Binding("g", "score", "score", tooltip="Score heads by entropy or by first-token share"),
        Binding("d", "definition", "definition", tooltip="FFN sparsity as exact-zero share or top-p 0.9"),
        Binding("h", "select(0, -1, 0)", "head", show=False),
        Binding("l", "select(0, 1, 0)", "head", show=False),
        Binding("j", "select(-1, 0, 0)", "layer", show=False),
        Binding("k", "select(1, 0, 0)", "layer", show=False),
        Binding("left_square_bracket", "select(0, 0, -1)", "token", show=False),
        Binding("right_square_bracket", "select(0, 0, 1)", "token", show=False),
        Binding("n", "length", "tokens to come", show=False),
        Binding("r", "sampling", "draw or greedy", show=False),
        Binding("c", "colours", "colours", show=False),
        Binding("t", "theme", "theme", show=False),
        Binding("question_mark", "help", "help", key_display="?"),
    ]

    pane: reactive[str] = reactive("map", bindings=True)

    def __init__(self, runner: Runner | None, engine: str, engines: tuple[str, ...], saved: Trace | None) -> None:
        super().__init__()
        self._runner, self._engine, self._engines, self._saved = runner, engine, engines, saved
        self.facts: Facts | None = None
        self.overview: Overview | None = None
        self.timing: SublayerTiming | None = None
        self._prompt: Prompt | None = None
        self._can_stop = False

    def compose(self) -> Iterator[Widget]:
        yield HeaderBar()
        yield PromptBox()
        yield TokenStrip(id="tokens")
        yield PaneTabs(TABS)
        yield Panes()
        yield Footer()

    def on_mount(self) -> None:
        self._panes, self._strip = self.query_one(Panes), self.query_one(TokenStrip)
        self._strip.border_title = Content("tokens")
        self._panes.explain(FIRST_STEPS)
        self._strip.notice = "nothing ran yet"
        self._tell_pane()
        if self._runner is not None:
            self._runner.start(self.post_message)
            self._runner.load(self._engine)
            self.query_one(PromptBox).focus()
        elif self._saved is not None:
            self._show_saved(self._saved)
        self._tell_prompt()

    # ---- messages of the runner -------------------------------------------------------------------------

    def on_doing(self, message: messages.Doing) -> None:
        self.query_one(HeaderBar).doing, self._can_stop = message.work, message.can_stop
        self.refresh_bindings()

    def on_loaded(self, message: messages.Loaded) -> None:
        if self.facts is None:
            self.options = suited(self.options, message.facts.spec)
        self.facts, self._engine = message.facts, message.facts.engine
        self.query_one(HeaderBar).facts = message.facts
        self._tell_prompt()
        self._lay_out()
        if self._prompt is not None and self._runner is not None:
            self._runner.run(self._prompt)

    def on_streaming(self, message: messages.Streaming) -> None:
        if self._strip.chosen is not None or self._strip.notice:
            self._panes.forget()
            self._panes.explain(dict.fromkeys(TABS, "running …"))
        self._strip.notice, self._strip.chosen = "", None
        self._strip.prompt_length, self._strip.pieces = message.prompt_length, message.pieces
        self._strip.border_title = Content("tokens, as they come")

    def on_ended(self, message: messages.Ended) -> None:
        self._take_trace(message.trace)
        self._panes.explain({"time": "timing each sublayer …"})

    def on_surveyed(self, message: messages.Surveyed) -> None:
        self.overview = message.overview
        self.show_all()

    def on_timed(self, message: messages.Timed) -> None:
        self.timing = message.timing
        self._panes.explain({"time": "" if message.timing else "not timed, as the run was stopped"})
        self.show_all()

    def on_failed(self, message: messages.Failed) -> None:
        if self.trace is not None:
            self._take_trace(self.trace)
            self._panes.explain({"time": "" if self.timing else "not timed"})
        else:
            self._panes.explain(FIRST_STEPS)
            self._strip.notice = "nothing ran yet"
        self._tell_prompt()
        self.app.push_screen(TroubleScreen(message.title, message.text))

    # ---- messages of the widgets ------------------------------------------------------------------------

    @on(PromptBox.Submitted)
    def run_prompt(self, event: PromptBox.Submitted) -> None:
        if self._runner is not None:
            self._prompt = Prompt(event.value, self.options.max_new_tokens, self.options.sampling)
            self._runner.run(self._prompt)
            self._focus_pane()

    def on_prompt_box_left(self) -> None:
        self._focus_pane()

    def on_cell_pointed(self, message: messages.CellPointed) -> None:
        self._panes.read_out(message.cell)

    def on_pane_chosen(self, message: messages.PaneChosen) -> None:
        self.pane = message.pane
        self._focus_pane()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if event.widget.id in TABS:
            self.pane = str(event.widget.id)
        self.refresh_bindings()

    # ---- keys -------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offers only what works now: while the prompt has the keys, letters belong to it."""
        if action == "stop":
            return self._can_stop
        if action not in LETTERS:
            return True
        if isinstance(self.focused, PromptBox):
            return False
        if action in ("prompt", "engine", "length", "sampling"):
            return self._runner is not None and (action != "engine" or len(self._engines) > 1)
        return OF_ONE_PANE.get(action, self.pane) == self.pane or not self.has_class("folded")

    def action_stop(self) -> None:
        if self._runner is not None:
            self._runner.stop()

    def action_pane(self, step: int) -> None:
        if not isinstance(self.focused, PromptBox):
            names = list(TABS)
            self.pane = names[(names.index(self.pane) + step) % len(names)]
        self._focus_pane()

    def action_prompt(self) -> None:
        self.query_one(PromptBox).focus()

    def action_engine(self, engine: str | None = None) -> None:
        """Loads the next installed engine, or the one named; the last prompt runs again on it."""
        if self._runner is not None and self._engines:
            at = self._engines.index(self._engine) + 1 if self._engine in self._engines else 0
            self._engine = engine or self._engines[at % len(self._engines)]
            self._runner.load(self._engine)

    def action_help(self) -> None:
        self.app.push_screen(HelpScreen(self.pane))

    # ---- what follows from state ------------------------------------------------------------------------

    def watch_options(self) -> None:
        self._tell_prompt()
        self.show_all()

    def watch_pane(self) -> None:
        if self.is_mounted:
            self._tell_pane()

    def on_resize(self) -> None:
        self._lay_out()

    def _focus_pane(self) -> None:
        self._panes.shown = self.pane
        self.query_one(f"#{self.pane}").focus()

    def _show_saved(self, trace: Trace) -> None:
        self.facts, self.options = facts_of_trace(trace), suited(self.options, trace.spec)
        self.query_one(HeaderBar).facts = self.facts
        self._take_trace(trace)
        *_, self.overview = survey(trace)
        self._panes.explain({"time": "a saved trace holds no latency;\nopen its model to measure it"})
        self.show_all()
        self._focus_pane()

    def _take_trace(self, trace: Trace) -> None:
        """Shows a run from its last token, which reads what it reads most."""
        is_first = self.trace is None
        if trace is not self.trace:
            self.timing, self.overview = None, Overview.unknown(trace.spec.n_layers, trace.spec.n_heads, trace.n_fed)
        self.trace = self.query_one(HeaderBar).trace = trace
        layer = trace.spec.n_layers // 2 if is_first else self.selection.layer
        self._panes.explain(dict.fromkeys(TABS, ""))
        self._strip.notice, self._strip.prompt_length = "", trace.prompt_length
        self._strip.pieces = trace.pieces
        last = clamp(replace(self.selection, layer=layer, token=trace.n_fed - 1), trace)
        self.set_reactive(LookScreen.selection, replace(last, key=strongest_key(trace, last)))
        self._lay_out()
        self.show_all()

    def show_all(self) -> None:
        if self.trace is None or self.overview is None:
            return
        self._panes.show(Sight(self.trace, self.overview, self.timing, self.selection, self.options))
        self._strip.chosen, self._strip.palette = self.selection.token, self.options.palette
        self._strip.levels = self._panes.row_levels()
        reader = quote_piece(self.trace.pieces[self.selection.token])
        self._strip.border_title = Content(f"tokens · coloured by what {reader} reads")
        self._tell_what_shows()

    def _tell_prompt(self) -> None:
        """Says what may be typed, and what a run will cost before it runs."""
        box, facts = self.query_one(PromptBox), self.facts
        if self._runner is None:
            box.disabled = True
            box.tell("a saved trace; open a model to run prompts", "")
            return
        example = "Once upon a time" if facts is None or facts.reads_text else "token ids, such as 1 5 2"
        cost = f" · watching holds {show_bytes(WATCH.cost_bytes(facts.spec, 1))} a token" if facts else ""
        box.tell(f"type a prompt, such as: {example}", f"enter runs {self.options.plan}{cost}")

    def _tell_pane(self) -> None:
        self._panes.shown = self.query_one(PaneTabs).shown = self.pane
        self._tell_what_shows()

    def _tell_what_shows(self) -> None:
        if not self.has_class("folded"):
            shows = "watched run · latency timed apart" if self.timing else "watched run"
        else:
            shows = "timed apart" if self.pane == "time" else "watched run"
        self.query_one(HeaderBar).shows = shows if self.trace else "ready"

    def _lay_out(self) -> None:
        """Folds the panes where there is no room, and gives rows of panes the lines they need."""
        width, height = self.size
        self.set_class(width < FOLDED_BELOW[0] or height < FOLDED_BELOW[1], "folded")
        layers = self.facts.spec.n_layers if self.facts else 8
        heads, bottom = min(layers + 5, height // 4), min(layers + 9, height // 3)
        folded = self.has_class("folded")
        self._panes.styles.grid_rows = "1fr" if folded else f"{heads} 1fr {bottom}"
        self._tell_what_shows()
        self.refresh_bindings()
