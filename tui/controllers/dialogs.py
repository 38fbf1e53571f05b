"""The dialogs that open a model or a trace, and that choose a comparison run."""

from tui.available_models import engine_choices
from tui.background_reader import BackgroundReader
from tui.controllers.session import Session
from tui.controllers.state_screen import StateScreen
from tui.jobs.job import Job
from tui.jobs.run import Prompt
from tui.screens.compare import Compared, CompareScreen
from tui.screens.open import OpenScreen
from tui.settings import SettingsStore


class Dialogs:
    """Opens dialogs, and does what is chosen there.

    Attributes:
        engines: The installed engines.
    """

    def __init__(
        self,
        screen: StateScreen,
        session: Session,
        reader: BackgroundReader,
        store: SettingsStore,
        engines: tuple[str, ...],
    ) -> None:
        self._screen, self._session, self._reader, self._store = screen, session, reader, store
        self.engines = engines

    @property
    def other_engines(self) -> list[str]:
        """The other installed engines that can run the current model, in every precision they offer."""
        target, loaded = self._session.target, self._session.loaded
        at, stored = target.engine if target else None, loaded.stored if loaded else ""
        return [key for key, missing in engine_choices(self.engines, stored) if not missing and key != at]

    def open(self) -> None:
        """Asks for a model, an engine or a saved trace."""
        target = self._session.target
        self._screen.app.push_screen(OpenScreen(self._reader, self._store.settings, target, self.engines), self._do)

    def _do(self, job: Job | None) -> None:
        if job is not None:
            self._session.do(job)

    def compare(self) -> None:
        """Asks what to compare the current run with."""
        state, options = self._screen.state, self._screen.state.options
        runs = state.main is not None and state.model is not None and state.model is self._session.loaded
        dialog = CompareScreen(
            self._reader,
            self._session.target if runs else None,
            self.other_engines,
            self._store.settings.models,
            Prompt("", options.max_new_tokens, options.sampling),
            state.compared.name if state.compared else "",
        )
        self._screen.app.push_screen(dialog, self.compare_with)

    def compare_with(self, answer: Compared | None) -> None:
        """Begins or ends a comparison."""
        if answer is not None:
            if answer.comparison is not None:
                self._session.drop_edits(
                    f"{answer.comparison.name} is compared now, and there is one comparison run at a time"
                )
            self._session.run_comparison(answer.comparison)
