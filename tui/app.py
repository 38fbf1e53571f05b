"""The terminal UI. It draws at once; heavy imports come after the first frame."""

import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App, SystemCommand
from textual.filter import LineFilter
from textual.pilot import Pilot
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from edge.error_message import error_message
from tui.control_characters import DropControlCharacters
from tui.screens.opening import OpeningScreen
from tui.theme import DARK, LIGHT

if TYPE_CHECKING:
    from tui.main_screen import MainScreen

AutoPilot = Callable[[Pilot[Any]], Coroutine[Any, Any, None]]
"""Presses keys, for tests."""

MakeScreen = Callable[[], Screen[Any]]
"""Makes the main screen, on the UI's thread."""

_CONTROLS = DropControlCharacters()

PATIENCE_S = 2.0
"""Seconds that quitting waits for the current pass."""


class EdgeApp(App[None]):
    """Themes, commands and the main screen.

    Attributes:
        main: The main screen; from the start, or once it is opened.
        failure: Why it could not be opened.
    """

    TITLE = "edge"
    CSS_PATH: ClassVar[str] = "app.tcss"
    main: "MainScreen"

    def __init__(self, main: Screen[Any] | None = None) -> None:
        super().__init__()
        self.failure: BaseException | None = None
        self._target = ""
        self._importing: Callable[[], MakeScreen] | None = None
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = DARK.name
        if main is not None:
            self._take(main)

    def opening(self, target: str, importing: Callable[[], MakeScreen]) -> "EdgeApp":
        """The same app; `importing` runs on another thread and returns what makes the main screen."""
        self._target, self._importing = target, importing
        return self

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), _CONTROLS]

    def _fatal_error(self) -> None:
        """Ends the app; the caller reports the error once the terminal is restored."""
        self.failure = self._exception
        self._close_messages_no_wait()

    def on_mount(self) -> None:
        if self._importing is None:
            self.push_screen(self.main)
        else:
            self.push_screen(OpeningScreen(self._target))
            self.call_after_refresh(self.run_worker, self._importing, thread=True, exit_on_error=False)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.state == WorkerState.SUCCESS:
            self._take(event.worker.result())  # type: ignore[misc]
            self.switch_screen(self.main)
        elif event.state == WorkerState.ERROR:
            self.failure = event.worker.error
            self.exit()

    def _take(self, main: Any) -> None:
        self.main = main
        theme = self.main.settings_store.settings.theme
        self.theme = theme if theme in self.available_themes else DARK.name

    def get_system_commands(self, screen: Screen[Any]) -> Iterator[SystemCommand]:
        from tui.command_palette import commands_of

        if screen is getattr(self, "main", None):
            yield from commands_of(self.main)
            return
        if not isinstance(screen, OpeningScreen):
            yield SystemCommand("close: this dialog", "Close the dialog · escape", screen.dismiss)
        yield SystemCommand("quit: leave Edge", "Stop the current job and quit · ctrl+q", self.action_quit)

    def watch_theme(self, theme: str) -> None:
        if hasattr(self, "main"):
            self.main.preferences.keep_theme(theme)


def show(app: EdgeApp, headless: bool = False, auto_pilot: AutoPilot | None = None) -> None:
    """Runs the app until it is quit; the process ends then, even if an engine is busy."""
    _end_with_the_terminal()
    try:
        app.run(headless=headless, auto_pilot=auto_pilot)
    finally:
        if hasattr(app, "main") and not app.main.runner.close(PATIENCE_S):
            # A load cannot be interrupted, and Python would wait for its thread: leave without it.
            if app.failure is not None:
                print(f"edge: {error_message(app.failure, 'the UI').message}", file=sys.stderr)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(app.return_code or 0)
    if app.failure is not None:
        raise app.failure
    if app.return_code:
        sys.exit(app.return_code)


def _end_with_the_terminal() -> None:
    """Ends the process when its terminal closes, also under a parent that ignores that, as nohup does.

    Textual would read the end of the closed terminal again and again.
    """
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
