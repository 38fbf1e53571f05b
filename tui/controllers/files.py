"""Files: the run, the screen or its numbers are written, and models are exported."""

from collections.abc import Callable
from pathlib import Path

from textual.message import Message

from edge.doctor import exporter
from models.errors import EdgeError
from tui import messages
from tui.background_reader import BackgroundReader
from tui.controllers.preferences import Preferences
from tui.controllers.session import Session
from tui.controllers.state_screen import StateScreen
from tui.jobs.job import Job
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
from tui.screens.export_model import ExportedScreen, ExportScreen
from tui.screens.write import MODEL, WriteScreen, Written
from tui.views.view import View


class Files:
    """Asks what to write, and writes it on the thread of `writer`."""

    def __init__(
        self, screen: StateScreen, session: Session, preferences: Preferences, writer: BackgroundReader
    ) -> None:
        self._screen, self._session, self._preferences, self._writer = screen, session, preferences, writer

    def ask(self, view: View) -> None:
        """Asks what of the current view, its run or its model to write."""
        state = self._screen.state
        name = state.model.name if state.model else "edge"
        stems = {kind.key: name if kind in (*TRACES, REPORT) else f"{name}-{view.name_of_view}" for kind in KINDS}
        lacking = {}
        if state.main is None:
            lacking = dict.fromkeys((TRACE.key, REPORT.key), "no run yet")
        if state.compared is None or not state.edits:
            lacking[EDITED.key] = "no edit is active"
        if view.table(state) is None:
            lacking |= dict.fromkeys((CSV.key, JSON.key), "this screen has no numbers yet")
        if self._session.loaded is None:
            lacking[MODEL] = "no model is loaded"
        self._screen.app.push_screen(WriteScreen(stems, lacking), self._answered(view))

    def _answered(self, view: View) -> Callable[[Written | None], None]:
        def write_as(answer: Written | None) -> None:
            """Writes a file once the dialog is closed, so that it is not in the picture."""
            if answer is not None and answer.kind is None:
                self.ask_export()
            elif answer is not None:
                self._screen.call_after_refresh(self._write, view, answer.kind, answer.path)

        return write_as

    def _write(self, view: View, kind: FileKind, path: Path) -> None:
        state, app = self._screen.state, self._screen.app
        title = f"{state.model.name if state.model else 'edge'} · {view.title}"
        svg = offline(app.export_screenshot(title=title)) if kind in (SVG, HTML) else ""
        svg = described(svg, edit_words(state)) if svg else ""
        write = writer_of(kind, state, view.table(state), svg, title)

        def attempt() -> Message:
            try:
                write(path)
            except EdgeError as error:
                return messages.JobFailed("not written", str(error))
            except Exception as error:  # a defect: it is shown, and the screen stays open
                return messages.JobFailed("not written", f"{type(error).__name__}: {error}")
            return messages.FileWritten(path, is_trace=kind in TRACES)

        self._writer.submit(str(path), attempt, self._screen)

    def written(self, message: messages.FileWritten) -> None:
        """Shows the path of a file that was written."""
        self._screen.notify(f"wrote {message.path}", markup=False)
        if message.is_trace:
            self._preferences.keep_trace(message.path)

    def ask_export(self) -> None:
        """Asks how to export the current model."""
        target, loaded = self._session.target, self._session.loaded
        if target is not None and loaded is not None:
            found = exporter()
            fix = "" if found.works else f"{found.detail}: {found.fix}"
            self._screen.app.push_screen(ExportScreen(target.model, loaded.name, fix, loaded.stored), self._export)

    def _export(self, job: Job | None) -> None:
        if job is not None:
            self._session.do(job)

    def exported(self, message: messages.ModelExported) -> None:
        """Shows what an export contains."""
        self._screen.app.push_screen(ExportedScreen(message))
