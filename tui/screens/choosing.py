"""The selection and the display options of a screen, and every key and message that changes them."""

from dataclasses import replace

from textual.reactive import reactive
from textual.screen import Screen

from edge.picture.palettes import PALETTES
from edge.sampling import Sampling
from tui import messages
from tui.options import COLORS, LENGTHS, SAMPLED, Options, Selection, after, clamp, strongest_key
from tui.view_state import ViewState


class ChoosingScreen(Screen[None]):
    """Base of the main screen: one `ViewState`, shared by all widgets."""

    state: reactive[ViewState] = reactive(ViewState, init=False)

    def choose(self, selection: Selection) -> None:
        """Chooses one cell of an attention pattern, or the nearest cell of the current run."""
        if self.state.main is not None:
            self.state = replace(self.state, selection=clamp(selection, self.state.main.trace))

    def choose_row(self, selection: Selection) -> None:
        """Chooses a query token, and the key with the largest attention weight in its row."""
        if self.state.main is not None:
            trace = self.state.main.trace
            row = clamp(selection, trace)
            self.choose(replace(row, key=strongest_key(trace, row)))

    def set_options(self, options: Options) -> None:
        """Changes the display options."""
        self.state = replace(self.state, options=options)

    def on_options_chosen(self, message: messages.OptionsChosen) -> None:
        self.set_options(message.options)

    def on_cell_chosen(self, message: messages.CellChosen) -> None:
        self.choose(replace(self.state.selection, token=message.token, key=message.key))

    def on_head_chosen(self, message: messages.HeadChosen) -> None:
        self.choose_row(replace(self.state.selection, layer=message.layer, head=message.head))

    def on_token_chosen(self, message: messages.TokenChosen) -> None:
        layer = self.state.selection.layer if message.layer is None else message.layer
        self.choose_row(replace(self.state.selection, token=message.token, layer=layer))

    def on_layer_chosen(self, message: messages.LayerChosen) -> None:
        self.choose_row(replace(self.state.selection, layer=message.layer))

    def on_neuron_chosen(self, message: messages.NeuronChosen) -> None:
        self.choose(replace(self.state.selection, neuron=message.neuron))

    def action_select(self, layers: int, heads: int, tokens: int) -> None:
        was = self.state.selection
        layer, head, token = was.layer + layers, was.head + heads, was.token + tokens
        self.choose_row(replace(was, layer=layer, head=head, token=token))

    def action_color(self) -> None:
        self.set_options(replace(self.state.options, color=after(COLORS, self.state.options.color)))

    def action_palette(self) -> None:
        self.set_options(replace(self.state.options, palette=after(PALETTES, self.state.options.palette)))

    def action_length(self) -> None:
        self.set_options(replace(self.state.options, max_new_tokens=after(LENGTHS, self.state.options.max_new_tokens)))

    def action_sampling(self) -> None:
        samples = self.state.options.sampling == SAMPLED
        self.set_options(replace(self.state.options, sampling=Sampling.greedy() if samples else SAMPLED))

    def action_theme(self) -> None:
        self.app.theme = "edge-light" if self.app.current_theme.dark else "edge-dark"
