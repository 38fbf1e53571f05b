"""A scrolling widget of lines, with a ruler above and fixed columns at both sides."""

from textwrap import wrap
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Region, Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from edge.picture.palettes import CIVIDIS, Palette
from tui.widgets.palette_styles import PaletteStyles


class Grid(ScrollView, can_focus=True):
    """Base of maps and tables. A subclass calls `resize_body` and draws; lines of the body are cached until `redraw`.

    Attributes:
        notice: A message in place of the content; empty where there is content.
    """

    DEFAULT_CSS = """
    Grid {
        scrollbar-size: 1 1;
        &> .grid--label { color: $text-muted; }
        &> .grid--chosen { color: $accent; text-style: bold; }
        &> .grid--cursor { color: $accent; text-style: bold; }
        &> .grid--unknown { color: $error; text-style: bold; }
        &> .grid--notice { color: $text-muted; }
        &> .grid--first { color: $primary; }
        &> .grid--second { color: $secondary; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "grid--label",
        "grid--chosen",
        "grid--cursor",
        "grid--unknown",
        "grid--notice",
        "grid--first",
        "grid--second",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1, 0)", "up", show=False, tooltip="Go up"),
        Binding("down", "move(1, 0)", "down", show=False, tooltip="Go down"),
        Binding("left", "move(0, -1)", "left", show=False, tooltip="Go left"),
        Binding("right", "move(0, 1)", "right", show=False, tooltip="Go right"),
        Binding("pageup", "move(-10, 0)", "10 up", show=False, tooltip="Go up by ten"),
        Binding("pagedown", "move(10, 0)", "10 down", show=False, tooltip="Go down by ten"),
        Binding("home", "move(0, -100000)", "first", show=False, tooltip="Go to the first"),
        Binding("end", "move(0, 100000)", "last", show=False, tooltip="Go to the last"),
    ]

    notice: reactive[str] = reactive("")
    palette: reactive[Palette] = reactive(CIVIDIS)

    gutter_cells = 0
    """Cells at the left that do not scroll."""
    tail_cells = 0
    """Cells at the right that do not scroll."""
    ruler_lines = 1
    """Lines at the top that do not scroll."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: LRUCache[int, Strip] = LRUCache(1024)
        self._ink: PaletteStyles | None = None
        self._plain: Style | None = None
        self._room: Region | None = None

    @property
    def scrollable_content_region(self) -> Region:
        """Cached while lines are drawn: finding it climbs to the screen, and every line needs it."""
        return super().scrollable_content_region if self._room is None else self._room

    def render_lines(self, crop: Region) -> list[Strip]:
        self._room = super().scrollable_content_region
        try:
            return super().render_lines(crop)
        finally:
            self._room = None

    @property
    def rich_style(self) -> Style:
        """Style of plain text. Cached: every segment needs it, and finding it climbs to the screen."""
        if self._plain is None:
            self._plain = super().rich_style
        return self._plain

    @property
    def ink(self) -> PaletteStyles:
        """Styles of the palette on this widget's background."""
        if self._ink is None:
            _, background = self.background_colors
            self._ink = PaletteStyles(self.palette, background.rgb)
        return self._ink

    def style_of(self, name: str) -> Style:
        """The style of one component class."""
        return self.get_component_rich_style(f"grid--{name}")

    @property
    def width(self) -> int:
        """Cells of one line, without the scrollbar."""
        return self.scrollable_content_region.width

    @property
    def view_cells(self) -> int:
        """Cells left for the body."""
        return max(1, self.width - self.gutter_cells - self.tail_cells)

    @property
    def view_lines(self) -> int:
        """Lines left for the body."""
        return max(1, self.scrollable_content_region.height - self.ruler_lines)

    def resize_body(self, cells: int, lines: int) -> None:
        """Sets the size of the body, and redraws all of it."""
        self.virtual_size = Size(self.gutter_cells + cells + self.tail_cells, self.ruler_lines + lines)
        self.redraw()

    def redraw(self) -> None:
        """Drops cached lines, and redraws."""
        self._lines.clear()
        self.refresh()

    def redraw_lines(self, *lines: int, ruler: bool = False) -> None:
        """Redraws some lines of the body, and the ruler: faster than all of it."""
        seen = [line + self.ruler_lines - self.scroll_offset.y for line in lines]
        at = [y for y in seen if self.ruler_lines <= y < self.size.height] + ([0] if ruler else [])
        if self.notice or not self.size.area:
            self.refresh()
        elif at:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in at))

    def show_cell(self, x: int, y: int, cells: int = 1, lines: int = 1) -> None:
        """Scrolls until this part of the body is visible."""
        left, top = self.scroll_offset
        right, bottom = left + self.view_cells, top + self.view_lines
        to_x = x if x < left else x + cells - self.view_cells if x + cells > right else None
        to_y = y if y < top else y + lines - self.view_lines if y + lines > bottom else None
        # Forced: right after a resize Textual has not yet decided that there is anything to scroll.
        self.scroll_to(to_x, to_y, animate=False, force=True)
        self.call_after_refresh(self._place_thumbs)

    def _place_thumbs(self) -> None:
        """Moves scrollbars that appeared after the scroll."""
        if self.show_horizontal_scrollbar:
            self.horizontal_scrollbar.position = self.scroll_x
        if self.show_vertical_scrollbar:
            self.vertical_scrollbar.position = self.scroll_y

    def body_cell(self, event: events.MouseEvent) -> tuple[int, int] | None:
        """The cell and line of the body under the mouse; None on the frozen parts."""
        offset = event.get_content_offset(self)
        if offset is None or self.notice:
            return None
        x, y = offset.x - self.gutter_cells, offset.y - self.ruler_lines
        if y < 0 or not 0 <= x < self.view_cells:
            return None
        return x + self.scroll_offset.x, y + self.scroll_offset.y

    def body_line(self, event: events.MouseEvent) -> int | None:
        """The line under the mouse, in any column."""
        offset = event.get_content_offset(self)
        if offset is None or self.notice or offset.y < self.ruler_lines:
            return None
        return offset.y - self.ruler_lines + self.scroll_offset.y

    def draw_ruler(self) -> Strip:
        """The line above, as wide as the widget."""
        return self.fit([], self.width)

    def draw_second_ruler(self) -> Strip:
        """The line below it, where `ruler_lines` is 2."""
        return self.fit([], self.width)

    def draw_gutter(self, line: int) -> list[Segment]:
        """The cells left of one line of the body, `gutter_cells` wide."""
        return []

    def draw_body(self, line: int) -> Strip:
        """One line of the body, whole."""
        raise NotImplementedError

    def draw_tail(self, line: int) -> list[Segment]:
        """The cells right of one line of the body, `tail_cells` wide."""
        return []

    def mark(self, line: int, strip: Strip) -> Strip:
        """Draws the cursor over one line of the body, which is cached without it."""
        return strip

    def fit(self, segments: list[Segment], cells: int) -> Strip:
        """A strip of exactly `cells`, all of it styled: an unstyled strip breaks Textual without color."""
        return Strip(segments).adjust_cell_length(cells, self.rich_style)

    def text(self, text: str, cells: int, style: Style | None = None) -> Segment:
        """Text of exactly `cells`, cut with an ellipsis where it is longer."""
        if cell_len(text) > cells:
            text = set_cell_size(text, max(0, cells - 1)) + "…"
        return Segment(set_cell_size(text, cells), self.rich_style + (style or Style.null()))

    def render_line(self, y: int) -> Strip:
        width = self.width
        if self.notice:
            return self._draw_notice(y, width)
        if y < self.ruler_lines:
            return self.fit(list(self.draw_ruler() if y == 0 else self.draw_second_ruler()), width)
        line = y - self.ruler_lines + self.scroll_offset.y
        if line >= self.virtual_size.height - self.ruler_lines:
            return self.fit([], width)
        if (strip := self._lines.get(line)) is None:
            strip = self._lines[line] = self.draw_body(line)
        left = self.scroll_offset.x
        seen = self.mark(line, strip).crop_extend(left, left + self.view_cells, self.rich_style)
        return self.fit([*self.draw_gutter(line), *seen, *self.draw_tail(line)], width)

    def _draw_notice(self, y: int, width: int) -> Strip:
        room = max(10, width - 4)
        lines = [part for line in self.notice.split("\n") for part in wrap(line, room) or [""]]
        first = max(0, (self.scrollable_content_region.height - len(lines)) // 2)
        if not first <= y < first + len(lines):
            return self.fit([], width)
        line = lines[y - first]
        indent = max(0, (width - cell_len(line)) // 2)
        return self.fit([self.text(" " * indent + line, width, self.style_of("notice"))], width)

    def action_move(self, down: int, right: int) -> None:
        """Moves the selection; subclasses define it."""

    def watch_notice(self) -> None:
        self.redraw()

    def watch_palette(self) -> None:
        self._ink = None
        self.redraw()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._ink = self._plain = None
        self._lines.clear()
