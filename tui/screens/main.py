"""The main screen: the prompt, the tokens of the current run, and six views of it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np
from textual import events, on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import ContentSwitcher, Static

from edge.engines.choice import elsewhere, engine_of
from edge.picture.levels import to_levels
from edge.trace import Trace
from tui import messages
from tui.coloring import token_values
from tui.garbage_collection import freeze_long_lived
from tui.jobs.job import ModelOnEngine
from tui.jobs.load import Load
from tui.jobs.run import invitation
from tui.runner import Runner
from tui.screens.asking import AskingScreen
from tui.screens.editing import WITH_EDITS
from tui.screens.help import HelpScreen
from tui.settings import SettingsStore
from tui.view_state import ViewState
from tui.views.all_views import VIEWS
from tui.views.prediction_change import EffectLine
from tui.views.view import View
from tui.widgets.header_bar import HeaderBar
from tui.widgets.key_line import KeyLine
from tui.widgets.legend import Legend
from tui.widgets.pane_tabs import PaneTabs
from tui.widgets.prompt_box import PromptBox
from tui.widgets.token_strip import TokenStrip

LOW = 40
"""Below this number of lines, prompt and tokens take less space."""

LEAST = (60, 18)
"""Columns and lines below which only a message is shown."""

FIRST_STEPS = "type a prompt above and press enter\n\n? explains the current pane, ctrl+p lists all commands"

WITH_MODEL = {"prompt", "engine", "length", "sampling", "export"}
"""Actions that need a loaded model."""

LETTERS = {*WITH_MODEL, *WITH_EDITS, "open", "compare", "write", "view", "select", "color", "palette", "theme", "help"}
"""Actions on letter keys: while the prompt has the keyboard focus, letters are text."""


class MainScreen(AskingScreen):
    """Draws the state in the current view.

    Attributes:
        view: The name of the current view.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "stop", priority=True, tooltip="Stop the current job"),
        *(
            Binding(str(number), f"view('{name}')", kind.title, show=False, tooltip=f"Show the screen {kind.title}")
            for number, (name, kind) in enumerate(VIEWS.items(), 1)
        ),
        Binding("tab", "pane(1)", "pane", tooltip="Go to the next pane of this screen"),
        Binding("shift+tab", "pane(-1)", "previous pane", show=False, tooltip="Go to the previous pane"),
        Binding("p,slash", "prompt", "prompt", tooltip="Type another prompt"),
        Binding("e", "engine", "engine", tooltip="Run the same prompt on the next engine"),
        Binding("c", "color", "color", tooltip="Color the tokens by the next metric"),
        Binding("h", "select(0, -1, 0)", "previous head", show=False, tooltip="Choose the previous head"),
        Binding("l", "select(0, 1, 0)", "next head", show=False, tooltip="Choose the next head"),
        Binding("j", "select(-1, 0, 0)", "layer below", show=False, tooltip="Choose the layer below"),
        Binding("k", "select(1, 0, 0)", "layer above", show=False, tooltip="Choose the layer above"),
        Binding(
            "left_square_bracket", "select(0, 0, -1)", "previous token", show=False, tooltip="Choose the previous token"
        ),
        Binding("right_square_bracket", "select(0, 0, 1)", "next token", show=False, tooltip="Choose the next token"),
        Binding("n", "length", "new tokens", show=False, tooltip="Change how many tokens a run generates: 16 to 256"),
        Binding(
            "r", "sampling", "sampling", show=False, tooltip="Sample at temperature 0.8, top-p 0.95, or decode greedily"
        ),
        Binding("y", "palette", "palette", show=False, tooltip="Use the next color palette"),
        Binding("t", "theme", "theme", show=False, tooltip="Switch between light and dark theme"),
        Binding("question_mark", "help", "help", key_display="?", tooltip="Explain the current pane"),
    ]

    view: reactive[str] = reactive(next(iter(VIEWS)), bindings=True, init=False)

    def __init__(
        self,
        runner: Runner,
        place: ModelOnEngine | None,
        engines: tuple[str, ...],
        saved: Trace | None,
        settings_store: SettingsStore,
    ) -> None:
        super().__init__(runner, place, engines, settings_store)
        self._saved = saved

    def compose(self) -> Iterator[Widget]:
        yield HeaderBar()
        yield PromptBox()
        yield TokenStrip(id="tokens")
        yield Legend(id="tokens-legend")
        yield EffectLine(id="effect")
        yield PaneTabs(
            {name: f"{number} {kind.title}" for number, (name, kind) in enumerate(VIEWS.items(), 1)}, id="views"
        )
        with ContentSwitcher(initial=f"{self.view}-view"):
            for name, kind in VIEWS.items():
                yield kind(name)
        yield Static("the terminal is too small: Edge needs 60 columns and 18 lines", id="small")
        yield KeyLine()

    def on_mount(self) -> None:
        self._strip, self._header = self.query_one(TokenStrip), self.query_one(HeaderBar)
        self._box, self._switcher = self.query_one(PromptBox), self.query_one(ContentSwitcher)
        self._strip.border_title = Content("tokens")
        self._strip.notice = "no run yet"
        self.query_one("#views", PaneTabs).shown = self.view
        self.show_notice(FIRST_STEPS)
        self.runner.start(self.post_message)
        if self.place is not None:
            self.do(Load(self.place))
            self._box.focus()
        elif self._saved is not None:
            self.show_saved(self._saved)
            self.shown_view.focus_pane()
        self._update_prompt_hint()
        self.remember(self.settings_store.complaint)
        self.call_after_refresh(freeze_long_lived)

    def on_unmount(self) -> None:
        self.reader.close()
        self.writer.close()
        self.runner.close(0.0)

    @property
    def shown_view(self) -> View:
        """The current view."""
        return self.query_one(f"#{self.view}-view", View)

    def show_notice(self, notice: str) -> None:
        """Shows the same message in every view that needs a run."""
        for view in self.query(View):
            if view.needs_run:
                view.show_notice(notice)

    # ---- messages of the runner -------------------------------------------------------------------------

    def on_model_loaded(self, message: messages.ModelLoaded) -> None:
        self.call_after_refresh(freeze_long_lived)

    def on_job_progress(self, message: messages.JobProgress) -> None:
        self.progress, self.can_stop = message.work, message.can_stop
        self._header.progress = message.work
        for view in self.query(View):
            view.show_progress(message.work)
        self.refresh_bindings()

    def on_streaming(self, message: messages.Streaming) -> None:
        if self._strip.chosen is not None or self._strip.notice:
            self.show_notice("running …")
        self._strip.notice, self._strip.chosen = "", None
        self._strip.prompt_length, self._strip.pieces = message.prompt_length, message.pieces
        self._header.live = message
        self.shown_view.show_live(message)

    def on_job_failed(self, message: messages.JobFailed) -> None:
        self._end_waiting("the run with them failed")
        self._settle()
        self.show_error(message.title, message.text)

    def on_job_stopped(self) -> None:
        self._settle()

    def _settle(self) -> None:
        """Shows the previous run again after a job that failed or was stopped."""
        if self.state.main is None:
            self.show_notice(FIRST_STEPS)
            self._strip.notice = "no run yet"
        self._update_prompt_hint()
        self.draw()

    # ---- messages of the widgets ------------------------------------------------------------------------

    @on(PromptBox.Submitted)
    def run_prompt(self, event: PromptBox.Submitted) -> None:
        self.run_text(event.value)
        self.shown_view.focus_pane()

    def on_prompt_box_left(self) -> None:
        self.shown_view.focus_pane()

    def on_pane_chosen(self, message: messages.PaneChosen) -> None:
        self.view = message.pane

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self.refresh_bindings()

    # ---- keys -------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offers only actions that work now: while the prompt has the keyboard focus, letters are text."""
        return self.offers(action) and not (action in LETTERS and isinstance(self.focused, PromptBox))

    def offers(self, action: str) -> bool:
        if action == "stop":
            return self.can_stop
        if action == "compare":
            return self.state.main is not None
        if action in WITH_MODEL:
            return self.place is not None and (action != "engine" or len(self.engines) > 1)
        return super().offers(action)

    def action_stop(self) -> None:
        self.runner.stop()
        self._end_waiting("the run with them was stopped")

    def action_view(self, name: str) -> None:
        self.view = name

    def action_pane(self, step: int) -> None:
        if isinstance(self.focused, PromptBox):
            self.shown_view.focus_pane()
        else:
            self.shown_view.next_pane(step)

    def action_prompt(self) -> None:
        self._box.focus()

    def action_engine(self, engine: str | None = None) -> None:
        """Loads the next installed engine in the same precision, or `engine`, and runs the last prompt again on it."""
        if self.place is not None and self.engines:
            now = engine_of(self.place.engine).name
            at = self.engines.index(now) + 1 if now in self.engines else 0
            following = elsewhere(self.place.engine, self.engines[at % len(self.engines)])
            self.do(Load(replace(self.place, engine=engine or following)))

    def action_help(self) -> None:
        view = self.shown_view
        self.app.push_screen(HelpScreen("tokens" if self._strip.has_focus else view.pane, view.tabs))

    # ---- what follows from state ------------------------------------------------------------------------

    def watch_view(self, name: str) -> None:
        self._switcher.current = f"{name}-view"
        self.query_one("#views", PaneTabs).shown = name
        self._draw_view()
        self.shown_view.focus_pane()

    def watch_state(self, before: ViewState, now: ViewState) -> None:
        if not self.is_mounted:
            return
        self._header.model = now.model
        if before.model is not now.model or before.options is not now.options:
            self._update_prompt_hint()
        if len(before.edits) != len(now.edits):
            self.refresh_bindings()
        self.draw()

    def draw(self) -> None:
        """Draws the state."""
        with self.app.batch_update():
            self._draw_tokens()
            self.query_one(EffectLine).draw(self.state)
            self._draw_view()

    def _draw_tokens(self) -> None:
        state, strip, legend = self.state, self._strip, self.query_one("#tokens-legend", Legend)
        if (main := state.main) is None:
            return
        values = token_values(main, state.selection, state.options)
        strip.notice, strip.prompt_length, strip.pieces = "", main.trace.prompt_length, main.trace.pieces
        strip.chosen, strip.palette = state.selection.token, state.options.palette
        levels = to_levels(values.values, values.scale) if values.scale else strip.levels[:0]
        if not np.array_equal(levels, strip.levels):
            strip.levels = levels
        legend.title, legend.scale, legend.palette = values.title, values.scale, state.options.palette
        if self._header.trace is not main.trace:
            self._header.trace = main.trace
        self._header.live = None
        self._header.compared = state.compared.told if state.compared and not state.edits else ""
        self._header.edits = tuple(map(str, state.edits))

    def _draw_view(self) -> None:
        view = self.shown_view
        view.show(self.state)
        self._header.shows = view.shows if self.state.main else "ready"

    def _update_prompt_hint(self) -> None:
        """Shows what to type, and how much memory a run will take."""
        self._box.disabled = self.place is None
        if self.place is None:
            self._box.tell("this is a saved trace; open a model with o to run prompts", "")
            return
        self._box.tell(*invitation(self.state.model, self.state.options))

    def on_resize(self, event: events.Resize) -> None:
        width, height = event.size
        self.set_class(width < LEAST[0] or height < LEAST[1], "tiny")
        self.set_class(height < LOW or width < 100, "low")
