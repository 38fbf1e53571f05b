"""The keys that work now, as many as fit, always with the key of the command palette."""

from dataclasses import dataclass

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

_MORE = "…"


@dataclass(frozen=True)
class Key:
    """One key on the line: what is pressed, what it is called, and what it does."""

    press: str
    name: str
    does: str

    @property
    def cells(self) -> int:
        """Its width, with a space on both sides."""
        return cell_len(f" {self.name} {self.does} ")


class KeyLine(Widget):
    """One line; the keys of the focused widget and its view come first."""

    DEFAULT_CSS = """
    KeyLine {
        dock: bottom; height: 1; background: $footer-background; color: $foreground;
        &> .key-line--key { color: $footer-key-foreground; text-style: bold; }
    }
    """
    COMPONENT_CLASSES = {"key-line--key"}  # noqa: RUF012

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._change)

    def _change(self, screen: Screen[object]) -> None:
        self.refresh()

    def keys(self) -> list[Key]:
        """The keys that work now and are shown; the palette is last."""
        found: dict[str, Key] = {}
        last: Key | None = None
        for _, binding, enabled, _ in self.screen.active_bindings.values():
            key = Key(binding.key, self.app.get_key_display(binding), binding.description)
            if binding.key == self.app.COMMAND_PALETTE_BINDING:
                last = Key(binding.key, key.name, "all")
            elif binding.show and enabled:
                found.setdefault(binding.action, key)
        return [*found.values(), *([last] if last else [])]

    def fitting(self) -> list[Key]:
        """The keys that fit; an ellipsis before the palette marks the others."""
        keys = self.keys()
        if not keys or sum(key.cells for key in keys) <= self.size.width:
            return keys
        *keys, last = keys
        room, fitting_keys = self.size.width - last.cells - 3, []
        for key in keys:
            room -= key.cells
            if room < 0:
                break
            fitting_keys.append(key)
        return [*fitting_keys, Key("", _MORE, ""), last]

    def render_line(self, y: int) -> Strip:
        plain = self.rich_style
        bold = plain + self.get_component_rich_style("key-line--key", partial=True)
        parts: list[Segment] = []
        for key in self.fitting():
            parts += [Segment(f" {key.name}", bold if key.press else plain), Segment(f" {key.does} ", plain + Style())]
        return Strip(parts).adjust_cell_length(self.size.width, plain)

    def on_click(self, event: events.Click) -> None:
        end = 0
        for key in self.fitting():
            end += key.cells
            if event.x < end:
                if key.press:
                    self.app.simulate_key(key.press)
                return
