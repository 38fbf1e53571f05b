"""Display options: changed by keys, kept in the settings file."""

from dataclasses import replace
from pathlib import Path

from edge.picture.palettes import PALETTES
from edge.sampling import Sampling
from tui.controllers.state_screen import StateScreen
from tui.options import COLORS, LENGTHS, SAMPLED, Options, after
from tui.settings import Settings, SettingsStore


class Preferences:
    """Changes the display options of the screen, and stores them between sessions."""

    def __init__(self, screen: StateScreen, store: SettingsStore) -> None:
        self._screen, self._store = screen, store

    @property
    def stored(self) -> Options:
        """The options as the settings keep them: what a model needs does not change them."""
        return self._store.settings.options

    def change(self, options: Options) -> None:
        """Changes the display options, and stores them in the settings."""
        self.report(self._store.keep_options(self._screen.state.options, options))
        self._screen.state = replace(self._screen.state, options=options)

    def next_color(self) -> None:
        """Colors tokens by the next metric."""
        options = self._screen.state.options
        self.change(replace(options, color=after(COLORS, options.color)))

    def next_palette(self) -> None:
        """Uses the next color palette."""
        options = self._screen.state.options
        self.change(replace(options, palette=after(PALETTES, options.palette)))

    def next_length(self) -> None:
        """Changes how many tokens a run generates."""
        options = self._screen.state.options
        self.change(replace(options, max_new_tokens=after(LENGTHS, options.max_new_tokens)))
        self._show_plan()

    def toggle_sampling(self) -> None:
        """Switches between sampling and greedy decoding."""
        options = self._screen.state.options
        self.change(replace(options, sampling=Sampling.greedy() if options.sampling == SAMPLED else SAMPLED))
        self._show_plan()

    def _show_plan(self) -> None:
        """Shows what the next run will do: on a small screen the prompt box has no room for it."""
        self._screen.notify(f"the next run generates up to {self._screen.state.options.plan}", markup=False)

    def toggle_theme(self) -> None:
        """Switches between the light and the dark theme."""
        self._screen.app.theme = "edge-light" if self._screen.app.current_theme.dark else "edge-dark"

    def keep_theme(self, theme: str) -> None:
        """Stores the name of the theme."""
        self.report(self._store.keep(theme=theme))

    def keep_model(self, name: str) -> None:
        """Stores a model among the recent ones."""
        self.report(self._store.keep_model(name))

    def keep_trace(self, file: Path) -> None:
        """Stores a trace among the recent ones."""
        self.report(self._store.keep_trace(file))

    def report(self, complaint: str) -> None:
        """Shows why the settings could not be stored, if so."""
        if complaint:
            self._screen.notify(complaint, title="settings", severity="warning", markup=False)

    def show_path(self) -> None:
        """Shows the path of the settings file."""
        where = self._store.file or "no file: they last until you quit"
        self._screen.notify(str(where), title="settings file", markup=False)

    def reset(self) -> None:
        """Resets the display options to their defaults; the recent models and traces are kept."""
        self._screen.app.theme = Settings().theme
        self.change(Options())
        self.report(self._store.keep(options=Options()))
