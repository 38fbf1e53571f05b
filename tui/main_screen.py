"""The main screen: the prompt, the tokens of the current run, and six views of it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from textual import events, on
from textual.binding import BindingType
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import ContentSwitcher

from edge.trace import Trace
from tui import messages
from tui.background_reader import BackgroundReader
from tui.controllers.dialogs import Dialogs
from tui.controllers.edits import Edits
from tui.controllers.files import Files
from tui.controllers.job_status import JobStatus
from tui.controllers.preferences import Preferences
from tui.controllers.session import Session
from tui.controllers.state_screen import StateScreen
from tui.garbage_collection import freeze_long_lived
from tui.jobs.job import JobRequested, ModelOnEngine
from tui.jobs.load import Load
from tui.keys import KEYS, LETTERS, works
from tui.main_layout import main_widgets
from tui.run_header import draw_header, draw_tokens
from tui.runner import Runner
from tui.screens.help import HelpScreen
from tui.settings import SettingsStore
from tui.state_changes import changed, choose_row
from tui.view_state import ViewState
from tui.views.all_views import VIEWS
from tui.views.prediction_change import EffectLine
from tui.views.view import View
from tui.widgets.frame.header_bar import HeaderBar
from tui.widgets.frame.pane_tabs import PaneTabs
from tui.widgets.frame.prompt_box import PromptBox
from tui.widgets.frame.token_strip import TokenStrip
from tui.widgets.legend import Legend

LOW = 40
"""Below this number of lines, prompt and tokens take less space."""

LEAST = (60, 18)
"""Columns and lines below which only a message is shown."""


class MainScreen(StateScreen):
    """Draws the state in the current view; hands keys and messages to the controller that they concern.

    `view` names the current view. `reader` computes what needs weights but no engine, on its own thread.
    """

    BINDINGS: ClassVar[list[BindingType]] = KEYS

    view: reactive[str] = reactive(next(iter(VIEWS)), bindings=True, init=False)

    def __init__(
        self,
        runner: Runner,
        target: ModelOnEngine | None,
        engines: tuple[str, ...],
        saved: Trace | None,
        settings_store: SettingsStore,
    ) -> None:
        super().__init__()
        self.runner, self.settings_store, self._saved = runner, settings_store, saved
        self.reader, self._writer = BackgroundReader(), BackgroundReader()
        self.preferences = Preferences(self, settings_store)
        self.session = Session(self, runner, self.preferences, target)
        self.jobs = JobStatus(self, self.session)
        self.edits = Edits(self, self.session)
        self.dialogs = Dialogs(self, self.session, self.reader, settings_store, engines)
        self.files = Files(self, self.session, self.preferences, self._writer)
        self.set_reactive(MainScreen.state, ViewState(options=settings_store.settings.options))

    def compose(self) -> Iterator[Widget]:
        return main_widgets(self.view)

    def on_mount(self) -> None:
        self._strip, self._header = self.query_one(TokenStrip), self.query_one(HeaderBar)
        self._box, self._switcher = self.query_one(PromptBox), self.query_one(ContentSwitcher)
        self._strip.border_title = Content("tokens")
        self.query_one("#views", PaneTabs).shown = self.view
        self.jobs.settle()
        self.runner.start(self.post_message)
        if self.session.target is not None:
            self.session.do(Load(self.session.target))
            self._box.focus()
        elif self._saved is not None:
            self.session.show_saved(self._saved)
            self.shown_view.focus_pane()
        self.preferences.report(self.settings_store.complaint)
        self.call_after_refresh(freeze_long_lived)

    def on_unmount(self) -> None:
        self.reader.close()
        self._writer.close()
        self.runner.close(0.0)

    @property
    def shown_view(self) -> View:
        """The current view."""
        return self.query_one(f"#{self.view}-view", View)

    # ---- messages of jobs -------------------------------------------------------------------------------

    @on(messages.StateChange)
    def change_state(self, message: messages.StateChange) -> None:
        """Stores what a message says in the state."""
        self.state = changed(message, self.state)

    def on_job_requested(self, message: JobRequested) -> None:
        self.session.start(message.job)

    def on_model_loaded(self, message: messages.ModelLoaded) -> None:
        self.call_after_refresh(freeze_long_lived)
        self.session.model_loaded(message)

    def on_trace_opened(self, message: messages.TraceOpened) -> None:
        self.preferences.keep_trace(message.path)
        self.session.show_saved(message.trace)

    def on_run_ended(self, message: messages.RunEnded) -> None:
        self.session.run_ended(message.trace)

    def on_sublayers_timed(self, message: messages.SublayersTimed) -> None:
        if not message.is_compared:
            self.session.follow_run()

    def on_compared_run_ready(self, message: messages.ComparedRunReady) -> None:
        self.session.comparison_ready(message.shown)

    def on_file_written(self, message: messages.FileWritten) -> None:
        self.files.written(message)

    def on_model_exported(self, message: messages.ModelExported) -> None:
        self.files.exported(message)

    def on_job_progress(self, message: messages.JobProgress) -> None:
        self.jobs.report(message)

    def on_streaming(self, message: messages.Streaming) -> None:
        self.jobs.stream(message, self.shown_view)

    def on_job_failed(self, message: messages.JobFailed) -> None:
        self.session.end_waiting("the run with them failed")
        self.on_job_stopped()
        self.session.show_error(message.title, message.text)

    def on_job_stopped(self) -> None:
        """Shows the previous run again."""
        self.jobs.settle()
        self.draw()

    # ---- messages of the widgets ------------------------------------------------------------------------

    @on(PromptBox.Submitted)
    def run_prompt(self, event: PromptBox.Submitted) -> None:
        self.session.run_text(event.value)
        self.shown_view.focus_pane()

    def on_prompt_box_left(self) -> None:
        self.shown_view.focus_pane()

    def on_header_bar_clicked(self) -> None:
        self.dialogs.open()

    def on_options_chosen(self, message: messages.OptionsChosen) -> None:
        self.preferences.change(message.options)

    @on(messages.EditChange)
    def change_edits(self, message: messages.EditChange) -> None:
        self.edits.change(message)

    def on_pane_chosen(self, message: messages.PaneChosen) -> None:
        self.view = message.pane

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self.refresh_bindings()

    # ---- keys -------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offers only actions that work now: while the prompt has the keyboard focus, letters are text."""
        return self.offers(action) and not (action in LETTERS and isinstance(self.focused, PromptBox))

    def offers(self, action: str) -> bool:
        """Whether an action works now, wherever the keyboard focus is."""
        if action == "stop":
            return self.jobs.can_stop
        is_idle_engine = action == "engine" and len(self.dialogs.engines) < 2
        return works(action, self.state, self.session.target is not None) and not is_idle_engine

    def action_stop(self) -> None:
        self.runner.stop()
        self.session.end_waiting("the run with them was stopped")

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
        self.session.load_engine(self.dialogs.engines, engine)

    def action_select(self, layers: int, heads: int, tokens: int) -> None:
        was = self.state.selection
        layer, head, token = was.layer + layers, was.head + heads, was.token + tokens
        self.state = choose_row(self.state, replace(was, layer=layer, head=head, token=token))

    def action_color(self) -> None:
        self.preferences.next_color()

    def action_palette(self) -> None:
        self.preferences.next_palette()

    def action_length(self) -> None:
        self.preferences.next_length()

    def action_sampling(self) -> None:
        self.preferences.toggle_sampling()

    def action_theme(self) -> None:
        self.preferences.toggle_theme()

    def action_open(self) -> None:
        self.dialogs.open()

    def action_compare(self) -> None:
        self.dialogs.compare()

    def action_write(self) -> None:
        self.files.ask(self.shown_view)

    def action_export(self) -> None:
        self.files.ask_export()

    def action_edits(self) -> None:
        self.edits.show_list()

    def action_isolate(self) -> None:
        self.edits.isolate_next()

    def action_clear_edits(self) -> None:
        self.session.run_comparison(None)

    def action_help(self) -> None:
        view = self.shown_view
        self.app.push_screen(HelpScreen("tokens" if self._strip.has_focus else view.pane, view.offered))

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
            self.jobs.hint()
        if len(before.edits) != len(now.edits):
            self.refresh_bindings()
        self.draw()

    def draw(self) -> None:
        """Draws the state."""
        with self.app.batch_update():
            if self.state.main is not None:
                draw_tokens(self.state, self.state.main, self._strip, self.query_one("#tokens-legend", Legend))
                draw_header(self.state, self.state.main, self._header)
            self.query_one(EffectLine).draw(self.state)
            self._draw_view()

    def _draw_view(self) -> None:
        view = self.shown_view
        view.show(self.state)
        self._header.shows = view.shows if self.state.main else "ready"

    def on_resize(self, event: events.Resize) -> None:
        width, height = event.size
        self.set_class(width < LEAST[0] or height < LEAST[1], "tiny")
        self.set_class(height < LOW or width < 100, "low")
