"""Dialogs of the main screen, and what they start: open, compare, write, export."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from edge.doctor import exporter
from edge.trace import Trace
from models.errors import EdgeError
from models.spec import DecoderSpec
from tui import messages
from tui.available_models import engine_choices
from tui.background_reader import BackgroundReader
from tui.jobs.job import Job, ModelOnEngine
from tui.jobs.load import summary_of_trace
from tui.jobs.open_trace import MeasureTrace
from tui.jobs.run import Prompt
from tui.options import Options, suited
from tui.output_files import (
    CSV,
    EDITED,
    HTML,
    JSON,
    KINDS,
    REPORT,
    SVG,
    TRACE,
    TRACES,
    FileKind,
    described,
    edit_words,
    offline,
    writer_of,
)
from tui.runner import Runner
from tui.screens.compare import Compared, CompareScreen
from tui.screens.editing import EditingScreen
from tui.screens.export_model import ExportedScreen, ExportScreen
from tui.screens.open import OpenScreen
from tui.screens.running import NO_COMPARISON
from tui.screens.write import MODEL, WriteScreen, Written
from tui.settings import Settings, SettingsStore
from tui.view_state import MeasuredRun, ViewState
from tui.views.view import View


class AskingScreen(EditingScreen):
    """Opens dialogs, and stores what was chosen in the settings.

    Attributes:
        engines: The installed engines.
        settings_store: Settings kept between sessions.
        reader: Computes what needs weights but no engine, on its own thread.
        writer: Writes files, on its own thread.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "open", "open", tooltip="Open another model, engine or saved trace"),
        Binding("d", "compare", "compare", tooltip="Compare this run with another engine, model, prompt or trace"),
        Binding("w", "write", "write", tooltip="Write the run, this screen or its numbers to a file"),
    ]

    def __init__(
        self, runner: Runner, place: ModelOnEngine | None, engines: tuple[str, ...], settings_store: SettingsStore
    ) -> None:
        super().__init__(runner, place)
        self.engines, self.settings_store = engines, settings_store
        self.reader, self.writer = BackgroundReader(), BackgroundReader()
        self.set_reactive(AskingScreen.state, ViewState(options=settings_store.settings.options))

    @property
    def other_engines(self) -> list[str]:
        """The other installed engines that can run the current model, in every precision they offer."""
        at, stored = self.place.engine if self.place else None, self.loaded.stored if self.loaded else ""
        return [key for key, missing in engine_choices(self.engines, stored) if not missing and key != at]

    # ---- settings ---------------------------------------------------------------------------------------

    def suited_to(self, spec: DecoderSpec) -> Options:
        """The options for a model: the chosen definition of sparsity, or one that fits its activation functions."""
        return suited(replace(self.state.options, sparsity=self.settings_store.settings.options.sparsity), spec)

    def set_options(self, options: Options) -> None:
        """Changes the display options, and stores them in the settings."""
        self.remember(self.settings_store.keep_options(self.state.options, options))
        super().set_options(options)

    def remember(self, complaint: str) -> None:
        """Shows why the settings could not be stored, if so."""
        if complaint:
            self.notify(complaint, title="settings", severity="warning", markup=False)

    def show_settings_path(self) -> None:
        """Shows the path of the settings file."""
        where = self.settings_store.file or "no file: they last until you quit"
        self.notify(str(where), title="settings file", markup=False)

    def reset_settings(self) -> None:
        """Resets the display options to their defaults; the recent models and traces are kept."""
        self.app.theme = Settings().theme
        self.set_options(Options())
        self.remember(self.settings_store.keep(options=Options()))

    # ---- comparing --------------------------------------------------------------------------------------

    def action_compare(self) -> None:
        state, options = self.state, self.state.options
        runs = state.main is not None and state.model is not None and state.model is self.loaded
        dialog = CompareScreen(
            self.reader,
            self.place if runs else None,
            self.other_engines,
            self.settings_store.settings.models,
            Prompt("", options.max_new_tokens, options.sampling),
            state.compared.name if state.compared else "",
        )
        self.app.push_screen(dialog, self.compare_with)

    def compare_with(self, answer: Compared | None) -> None:
        """Begins or ends a comparison."""
        if answer is not None:
            if answer.companion is not None:
                self.drop_edits(f"{answer.companion.name} is compared now, and there is one comparison run at a time")
            self.run_comparison(answer.companion)

    # ---- writing ----------------------------------------------------------------------------------------

    @property
    def shown_view(self) -> View:
        """The current view."""
        raise NotImplementedError

    def action_write(self) -> None:
        view, name = self.shown_view, self.state.model.name if self.state.model else "edge"
        stems = {kind.key: name if kind in (*TRACES, REPORT) else f"{name}-{view.name_of_view}" for kind in KINDS}
        lacking = {}
        if self.state.main is None:
            lacking = dict.fromkeys((TRACE.key, REPORT.key), "no run yet")
        if self.state.compared is None or not self.state.edits:
            lacking[EDITED.key] = "no edit is active"
        if view.table(self.state) is None:
            lacking |= dict.fromkeys((CSV.key, JSON.key), "this screen has no numbers yet")
        if self.loaded is None:
            lacking[MODEL] = "no model is loaded"
        self.app.push_screen(WriteScreen(stems, lacking), self.write_as)

    def write_as(self, answer: Written | None) -> None:
        """Writes a file once the dialog is closed, so that it is not in the picture."""
        if answer is not None and answer.kind is None:
            self.action_export()
        elif answer is not None:
            self.call_after_refresh(self._write, answer.kind, answer.path)

    def action_export(self) -> None:
        if self.place is not None and self.loaded is not None:
            found = exporter()
            fix = "" if found.works else f"{found.detail}: {found.fix}"
            self.app.push_screen(ExportScreen(self.place.model, self.loaded.name, fix), self.take_up)

    def on_model_exported(self, message: messages.ModelExported) -> None:
        self.app.push_screen(ExportedScreen(message))

    def _write(self, kind: FileKind, path: Path) -> None:
        view = self.shown_view
        title = f"{self.state.model.name if self.state.model else 'edge'} · {view.title}"
        svg = offline(self.app.export_screenshot(title=title)) if kind in (SVG, HTML) else ""
        svg = described(svg, edit_words(self.state)) if svg else ""
        write = writer_of(kind, self.state, view.table(self.state), svg, title)

        def attempt() -> Message:
            try:
                write(path)
            except EdgeError as error:
                return messages.JobFailed("not written", str(error))
            except Exception as error:  # a defect: it is shown, and the screen stays open
                return messages.JobFailed("not written", f"{type(error).__name__}: {error}")
            return messages.FileWritten(path, is_trace=kind in TRACES)

        self.writer.ask(str(path), attempt, self)

    def on_file_written(self, message: messages.FileWritten) -> None:
        self.notify(f"wrote {message.path}", markup=False)
        if message.is_trace:
            self.remember(self.settings_store.keep_trace(message.path))

    # ---- opening ----------------------------------------------------------------------------------------

    def action_open(self) -> None:
        self.app.push_screen(
            OpenScreen(self.reader, self.settings_store.settings, self.place, self.engines), self.take_up
        )

    def on_header_bar_clicked(self) -> None:
        self.action_open()

    def take_up(self, job: Job | None) -> None:
        """Starts the job that a dialog returned."""
        if job is not None:
            self.do(job)

    def on_model_loaded(self, message: messages.ModelLoaded) -> None:
        folder = Path(message.model.source).expanduser()
        name = str(folder.absolute()) if folder.is_dir() else message.model.source
        self.remember(self.settings_store.keep_model(name))

    def on_trace_opened(self, message: messages.TraceOpened) -> None:
        self.remember(self.settings_store.keep_trace(message.path))
        self.show_saved(message.trace)

    def show_saved(self, trace: Trace) -> None:
        """Shows a saved trace, which needs no engine; a loaded model stays loaded."""
        model = summary_of_trace(trace)
        self.drop_edits("a saved trace is shown, and it cannot be run again")
        self.companion = None
        shown = self.suited_to(trace.spec)
        self.state = replace(
            self.state, **NO_COMPARISON, model=model, options=shown, profile=None, comparison=None, tried={}
        )
        self.take(MeasuredRun.of(trace.engine, trace, None))
        self.do(MeasureTrace(trace))
