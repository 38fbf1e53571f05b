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
from tui.jobs.job import Job, Place
from tui.jobs.load import facts_of_trace
from tui.jobs.reopen import Measure
from tui.jobs.run import Prompt
from tui.options import Options, suited
from tui.reader import Reader
from tui.runner import Runner
from tui.screens.compare import Compared, CompareScreen
from tui.screens.editing import EditingScreen
from tui.screens.export_model import ExportedScreen, ExportScreen
from tui.screens.open import OpenScreen
from tui.screens.running import NOTHING_BESIDE
from tui.screens.write import MODEL, WriteScreen, Written
from tui.settings import Kept, Settings
from tui.shelf import engine_choices
from tui.view_state import Shown, ViewState
from tui.views.view import View
from tui.writing import (
    CSV,
    EDITED,
    HTML,
    JSON,
    KINDS,
    REPORT,
    SVG,
    TRACE,
    TRACES,
    Kind,
    described,
    edit_words,
    offline,
    writer_of,
)


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

    def __init__(self, runner: Runner, place: Place | None, engines: tuple[str, ...], kept: Kept) -> None:
        super().__init__(runner, place)
        self.engines, self.kept = engines, kept
        self.reader, self.writer = Reader(), Reader()
        self.set_reactive(AskingScreen.state, ViewState(options=kept.settings.options))

    @property
    def other_engines(self) -> list[str]:
        """What the model at hand can run on beside what it runs on: installed, in the precisions it can be had in."""
        at, stored = self.place.engine if self.place else None, self.loaded.stored if self.loaded else ""
        return [key for key, missing in engine_choices(self.engines, stored) if not missing and key != at]

    # ---- what is remembered -----------------------------------------------------------------------------

    def suited_to(self, spec: DecoderSpec) -> Options:
        """The definition of sparsity that was chosen, or the one that suits a model: not what another one asked for."""
        return suited(replace(self.state.options, sparsity=self.kept.settings.options.sparsity), spec)

    def set_options(self, options: Options) -> None:
        """Shows things another way, now and at the next start."""
        self.remember(self.kept.keep_options(self.state.options, options))
        super().set_options(options)

    def remember(self, complaint: str) -> None:
        """Says why something could not be kept, if so."""
        if complaint:
            self.notify(complaint, title="settings", severity="warning", markup=False)

    def tell_settings(self) -> None:
        """Says which file remembers the settings."""
        where = self.kept.file or "nowhere: they last until you quit"
        self.notify(str(where), title="settings are kept in", markup=False)

    def reset_settings(self) -> None:
        """Shows everything as at the first start; what was opened last stays known."""
        self.app.theme = Settings().theme
        self.set_options(Options())
        self.remember(self.kept.keep(options=Options()))

    # ---- comparing --------------------------------------------------------------------------------------

    def action_compare(self) -> None:
        state, options = self.state, self.state.options
        runs = state.main is not None and state.facts is not None and state.facts is self.loaded
        dialog = CompareScreen(
            self.reader,
            self.place if runs else None,
            self.other_engines,
            self.kept.settings.models,
            Prompt("", options.max_new_tokens, options.sampling),
            state.beside.name if state.beside else "",
        )
        self.app.push_screen(dialog, self.compare_with)

    def compare_with(self, answer: Compared | None) -> None:
        """Begins or ends a comparison."""
        if answer is not None:
            if answer.companion is not None:
                self.drop_edits(f"{answer.companion.name} is beside now, and one run stands there at a time")
            self.run_beside(answer.companion)

    # ---- writing ----------------------------------------------------------------------------------------

    @property
    def shown_view(self) -> View:
        """The view at hand."""
        raise NotImplementedError

    def action_write(self) -> None:
        facts, view = self.state.facts, self.shown_view
        model = facts.name if facts else "edge"
        stems = {kind.key: model if kind in (*TRACES, REPORT) else f"{model}-{view.name_of_view}" for kind in KINDS}
        lacking = {}
        if self.state.main is None:
            lacking = dict.fromkeys((TRACE.key, REPORT.key), "nothing ran yet")
        if self.state.beside is None or not self.state.edits:
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

    def on_exported(self, message: messages.Exported) -> None:
        self.app.push_screen(ExportedScreen(message))

    def _write(self, kind: Kind, path: Path) -> None:
        view = self.shown_view
        title = f"{self.state.facts.name if self.state.facts else 'edge'} · {view.title}"
        svg = offline(self.app.export_screenshot(title=title)) if kind in (SVG, HTML) else ""
        svg = described(svg, edit_words(self.state)) if svg else ""
        write = writer_of(kind, self.state, view.table(self.state), svg, title)

        def attempt() -> Message:
            try:
                write(path)
            except EdgeError as error:
                return messages.Failed("not written", str(error))
            except Exception as error:  # a defect: it must be seen, and the screen must live on
                return messages.Failed("not written", f"{type(error).__name__}: {error}")
            return messages.Wrote(path, is_trace=kind in TRACES)

        self.writer.ask(str(path), attempt, self)

    def on_wrote(self, message: messages.Wrote) -> None:
        self.notify(f"wrote {message.path}", markup=False)
        if message.is_trace:
            self.remember(self.kept.keep_trace(message.path))

    # ---- opening ----------------------------------------------------------------------------------------

    def action_open(self) -> None:
        self.app.push_screen(OpenScreen(self.reader, self.kept.settings, self.place, self.engines), self.take_up)

    def on_header_bar_clicked(self) -> None:
        self.action_open()

    def take_up(self, job: Job | None) -> None:
        """Does what a dialog was answered with."""
        if job is not None:
            self.do(job)

    def on_loaded(self, message: messages.Loaded) -> None:
        folder = Path(message.facts.source).expanduser()
        name = str(folder.absolute()) if folder.is_dir() else message.facts.source
        self.remember(self.kept.keep_model(name))

    def on_reopened(self, message: messages.Reopened) -> None:
        self.remember(self.kept.keep_trace(message.path))
        self.show_saved(message.trace)

    def show_saved(self, trace: Trace) -> None:
        """Shows a saved trace, for which no engine is needed; a model that is loaded stays so."""
        facts = facts_of_trace(trace)
        self.drop_edits("a saved trace shows, which nothing runs again")
        self.companion = None
        shown = self.suited_to(trace.spec)
        self.state = replace(
            self.state, **NOTHING_BESIDE, facts=facts, options=shown, profile=None, comparison=None, tried={}
        )
        self.take(Shown.of(trace.engine, trace, None))
        self.do(Measure(trace))
