"""What is chosen on a screen, and every key and message that changes it."""

from dataclasses import replace

from textual.reactive import reactive
from textual.screen import Screen

from edge.picture.palettes import PALETTES
from edge.sampling import Sampling
from edge.trace import Trace
from tui import messages
from tui.state import DRAWN, LENGTHS, Options, Selection, clamp, strongest_key


class ChoosingScreen(Screen[None]):
    """Base of screens that show a trace: one selection and one set of options, shared by all their panes."""

    trace: Trace | None = None
    """The run that shows; None before the first."""

    selection: reactive[Selection] = reactive(Selection())
    options: reactive[Options] = reactive(Options())

    def show_all(self) -> None:
        """Draws the trace as it is chosen now."""
        raise NotImplementedError

    def watch_selection(self) -> None:
        self.show_all()

    def choose(self, selection: Selection) -> None:
        """Chooses one cell of a pattern, or the nearest that the trace has."""
        if self.trace is not None:
            self.selection = clamp(selection, self.trace)

    def choose_row(self, selection: Selection) -> None:
        """Chooses the row of a token, and in it the key that is read most."""
        if self.trace is not None:
            row = clamp(selection, self.trace)
            self.selection = replace(row, key=strongest_key(self.trace, row))

    def on_cell_chosen(self, message: messages.CellChosen) -> None:
        self.choose(replace(self.selection, token=message.token, key=message.key))

    def on_head_chosen(self, message: messages.HeadChosen) -> None:
        self.choose_row(replace(self.selection, layer=message.layer, head=message.head))

    def on_token_chosen(self, message: messages.TokenChosen) -> None:
        layer = self.selection.layer if message.layer is None else message.layer
        self.choose_row(replace(self.selection, token=message.token, layer=layer))

    def on_layer_chosen(self, message: messages.LayerChosen) -> None:
        self.choose_row(replace(self.selection, layer=message.layer))

    def action_select(self, layers: int, heads: int, tokens: int) -> None:
        was = self.selection
        layer, head, token = was.layer + layers, was.head + heads, was.token + tokens
        self.choose_row(replace(was, layer=layer, head=head, token=token))

    def action_log(self) -> None:
        self.options = replace(self.options, is_log=not self.options.is_log)

    def action_first(self) -> None:
        self.options = replace(self.options, drops_first=not self.options.drops_first)

    def action_score(self) -> None:
        self.options = replace(self.options, scores_first=not self.options.scores_first)

    def action_definition(self) -> None:
        self.options = replace(self.options, shows_top_p=not self.options.shows_top_p)

    def action_colours(self) -> None:
        at = PALETTES.index(self.options.palette) + 1
        self.options = replace(self.options, palette=PALETTES[at % len(PALETTES)])

    def action_length(self) -> None:
        longer = [length for length in LENGTHS if length > self.options.max_new_tokens]
        self.options = replace(self.options, max_new_tokens=longer[0] if longer else LENGTHS[0])

    def action_sampling(self) -> None:
        drawn = self.options.sampling == DRAWN
        self.options = replace(self.options, sampling=Sampling.greedy() if drawn else DRAWN)

    def action_theme(self) -> None:
        self.app.theme = "edge-light" if self.app.current_theme.dark else "edge-dark"
