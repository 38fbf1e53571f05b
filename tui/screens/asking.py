"""What is asked over a screen, and what follows from the answers: opening, comparing, writing, exporting."""

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
    """Opens dialogs, and remembers what was chosen.

    Attributes:
        engines: Those that are installed.
        kept: What is remembered from one start to the next.
        reader: Reads what shows but needs no engine.
        writer: Writes files, beside what is read.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "open", "open", tooltip="Open another model, engine or saved trace"),
        Binding("d", "compare", "compare", tooltip="See another engine, model, prompt or trace beside this run"),
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
        """What the model at hand can run on beside what it runs on: installed, in the precisions it can be had in."""
        at, stored = self.place.engine if self.place else None, self.loaded.stored if self.loaded else ""
        return [key for key, missing in engine_choices(self.engines, stored) if not missing and key != at]

    # ---- what is remembered -----------------------------------------------------------------------------

    def suited_to(self, spec: DecoderSpec) -> Options:
        """The definition of sparsity that was chosen, or the one that suits a model: not what another one asked for."""
        return suited(replace(self.state.options, sparsity=self.settings_store.settings.options.sparsity), spec)

    def set_options(self, options: Options) -> None:
        """Shows things another way, now and at the next start."""
        self.remember(self.settings_store.keep_options(self.state.options, options))
        super().set_options(options)

    def remember(self, complaint: str) -> None:
        """Says why something could not be kept, if so."""
        if complaint:
            self.notify(complaint, title="settings", severity="warning", markup=False)

    def show_settings_path(self) -> None:
        """Says which file remembers the settings."""
        where = self.settings_store.file or "nowhere: they last until you quit"
        self.notify(str(where), title="settings are kept in", markup=False)

    def reset_settings(self) -> None:
        """Shows everything as at the first start; what was opened last stays known."""
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
                self.drop_edits(f"{answer.companion.name} is beside now, and one run stands there at a time")
            self.run_comparison(answer.companion)

    # ---- writing ----------------------------------------------------------------------------------------

    @property
    def shown_view(self) -> View:
        """The view at hand."""
        raise NotImplementedError

    def action_write(self) -> None:
        view, name = self.shown_view, self.state.model.name if self.state.model else "edge"
        stems = {kind.key: name if kind in (*TRACES, REPORT) else f"{name}-{view.name_of_view}" for kind in KINDS}
        lacking = {}
        if self.state.main is None:
            lacking = dict.fromkeys((TRACE.key, REPORT.key), "nothing ran yet")
        if self.state.compared is None or not self.state.edits:
            lacking[EDITED.key] = "no edit is on"
        if view.table(self.state) is None:
            lacking |= dict.fromkeys((CSV.key, JSON.key), "this screen shows no numbers yet")
        if self.loaded is None:
            lacking[MODEL] = "no model is loaded"
        self.app.push_screen(WriteScreen(stems, lacking), self.write_as)

    def write_as(self, answer: Written | None) -> None:
        """Writes a file, once the dialog is gone from the picture."""
        if answer is not None and answer.kind is None:
            self.action_export()
        elif answer is not None:
            self.call_after_refresh(self._write, answer.kind, answer.path)

    def action_export(self) -> None:
        if self.place is not None and self.loaded is not None:
            found = exporter()
            way_out = "" if found.works else f"{found.found}: {found.fix}"
            self.app.push_screen(ExportScreen(self.place.model, self.loaded.name, way_out), self.take_up)

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
            except Exception as error:  # a defect: it must be seen, and the screen must live on
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
        """Does what a dialog was answered with."""
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
        """Shows a saved trace, for which no engine is needed; a model that is loaded stays so."""
        model = summary_of_trace(trace)
        self.drop_edits("a saved trace shows, which nothing runs again")
        self.companion = None
        shown = self.suited_to(trace.spec)
        self.state = replace(
            self.state, **NO_COMPARISON, model=model, options=shown, profile=None, comparison=None, tried={}
        )
        self.take(MeasuredRun.of(trace.engine, trace, None))
        self.do(MeasureTrace(trace))
