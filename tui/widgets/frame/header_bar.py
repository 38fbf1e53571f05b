"""The model, the last run in numbers, and the source of the numbers on the screen."""

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from edge.picture.units import show_bytes, show_count, show_number
from edge.trace import Trace
from tui.edit_names import edits_that_fit
from tui.messages import Streaming
from tui.view_state import ModelSummary


class HeaderBar(Widget):
    """Two lines: the model and the current job; the last run in numbers.

    Attributes:
        facts: The loaded model; None before there is one.
        trace: The last run.
        live: The run in progress; None without one.
        compared: The comparison run; empty without one, and with edits.
        edits: Names of the active edits.
        progress: What the current job is doing; empty when idle.
        shows: Where the numbers on the screen come from.
    """

    DEFAULT_CSS = """
    HeaderBar { height: 2; background: $panel; color: $foreground; }
    """

    model: reactive[ModelSummary | None] = reactive(None)
    trace: reactive[Trace | None] = reactive(None, always_update=True)
    live: reactive[Streaming | None] = reactive(None)
    compared: reactive[str] = reactive("")
    edits: reactive[tuple[str, ...]] = reactive(())
    progress: reactive[str] = reactive("")
    shows: reactive[str] = reactive("")

    class Clicked(Message):
        """The header was clicked, to open another model."""

    def on_click(self) -> None:
        self.post_message(self.Clicked())

    def render_line(self, y: int) -> Strip:
        plain = self.rich_style
        right = self._state() if y == 0 else self._way()
        room = self.size.width - cell_len(right) - 2
        left = self._model() if y == 0 else [*self._compared(room), *self._run()]
        parts = [Segment(" ", plain)]
        for index, words in enumerate(left):
            words = words if index == 0 else f" · {words}"
            if cell_len(words) <= room:
                parts.append(Segment(words, plain + Style(bold=index == 0 and (y == 0 or self._is_compared))))
                room -= cell_len(words)
        parts += [Segment(" " * (room), plain), Segment(right + " ", plain + Style(bold=y == 0))]
        return Strip(parts).adjust_cell_length(self.size.width, plain)

    def _model(self) -> list[str]:
        if self.model is None:
            return ["edge"]
        spec = self.model.spec
        return [
            f"edge  {self.model.name}",
            f"{self.model.engine} ({self.model.types})" if self.model.types else self.model.engine,
            f"{spec.n_layers} layers",
            f"{spec.n_heads} heads",
            f"{show_count(self.model.parameters)} parameters",
            *([f"{self.model.threads} threads"] if self.model.threads else []),
        ]

    def _state(self) -> str:
        return f"◌ {self.progress}" if self.progress else f"● {self.shows}"

    def _run(self) -> list[str]:
        if self.model is None:
            return ["no model is loaded"]
        if self.live is not None:
            return self._as_it_runs(self.live, self.model.spec.context)
        if self.trace is None:
            return [f"context {self.model.spec.context} tokens", "no run yet"]
        timing, trace = self.trace.timing, self.trace
        rate = timing.tokens_per_second
        speed = f"{show_number(rate)} tok/s" if rate else "no rate"
        return [
            f"ttft {show_number(timing.ttft_ms)} ms, {speed} while recording",
            f"{len(trace.tokens)}/{trace.spec.context} tokens",
            f"recorded {show_bytes(trace.watch.cost_bytes(trace.spec, trace.n_fed))}",
        ]

    @property
    def _is_compared(self) -> bool:
        return bool(self.edits or self.compared or (self.trace and self.trace.edits))

    def _compared(self, room: int) -> list[str]:
        """Active edits, edits of a saved run, and the comparison run: before all numbers, so that they always fit."""
        if self.live is not None and not self.edits:
            return []
        compared = [f"compared with {self.compared}"] if self.compared else []
        room -= sum(cell_len(words) + 3 for words in compared)
        of = self.trace.edits if self.trace else ()
        saved = [f"run with {edits_that_fit(of, room - len('run with '))}"] if of else []
        edits = [edits_that_fit(self.edits, room, "X")] if self.edits else []
        return [*saved, *edits, *compared]

    def _as_it_runs(self, live: Streaming, context: int) -> list[str]:
        return [
            f"{len(live.pieces)}/{context} tokens",
            f"ttft {show_number(live.ttft_ms)} ms" if live.ttft_ms else "prefill",
            f"{show_number(live.tokens_per_second)} tok/s" if live.tokens_per_second else "",
        ]

    def _way(self) -> str:
        ends = {
            "length": "max new tokens",
            "stop": "stop token",
            "stop_text": "stop text",
            "stopped": "stopped by you",
            "context": "context full",
        }
        return f"ended: {ends[self.trace.finish]}" if self.trace else ""
