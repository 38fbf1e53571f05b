"""Base of the views: panes side by side, or behind tabs where there is no space for all of them."""

from collections.abc import Iterator
from typing import ClassVar

from textual import events
from textual.containers import Container
from textual.geometry import Size
from textual.reactive import reactive
from textual.widget import Widget

from edge.tables import Table
from tui.messages import PaneChosen, Streaming
from tui.view_state import ViewState
from tui.widgets.frame.pane_tabs import PaneTabs
from tui.widgets.grid import Grid
from tui.widgets.legend import Legend
from tui.widgets.pane import Pane
from tui.widgets.text_line import TextLine


class View(Container):
    """One view. Subclasses say what panes there are, compose them, and draw a `ViewState`.

    Keys of a view are its `BINDINGS`; they work, and are offered, while one of its widgets has the keyboard focus.

    Attributes:
        pane: The current pane; where panes are folded, the visible one.
        offered: The panes of `tabs` that this state has something for; the others are away.
    """

    DEFAULT_CSS = """
    View { layout: vertical; }
    View > .panes { height: 1fr; }
    View.folded > .panes { layout: grid; grid-size: 1 1; grid-columns: 1fr; grid-rows: 1fr; }
    View.folded Pane { display: none; row-span: 1; column-span: 1; }
    View.folded Pane.shown { display: block; }
    View Pane.away { display: none; }
    View > PaneTabs { display: none; }
    View.folded > PaneTabs { display: block; }
    """

    title: ClassVar[str]
    """The title on the tab of this view."""
    tabs: ClassVar[dict[str, str]]
    """The panes by name, with their titles, in the order of the tab key. A pane's widget has its name as id."""
    roomy: ClassVar[tuple[int, int]] = (104, 28)
    """Columns and lines below which panes are shown one at a time."""
    shows: ClassVar[str] = "recorded run"
    """Where the numbers of this view come from: a recorded run, a timed pass, a comparison."""
    needs_run: ClassVar[bool] = True
    """Whether it is empty before the first run; other views show their own messages."""

    pane: reactive[str] = reactive("", init=False)
    offered: reactive[tuple[str, ...]] = reactive((), init=False)

    def __init__(self, name: str) -> None:
        super().__init__(id=f"{name}-view")
        self.name_of_view, self._notice = name, ""
        self.set_reactive(View.pane, next(iter(self.tabs)))
        self.set_reactive(View.offered, self.first_offered)

    @property
    def first_offered(self) -> tuple[str, ...]:
        """The panes that are offered before there is a state."""
        return tuple(self.tabs)

    def compose(self) -> Iterator[Widget]:
        yield PaneTabs(self._offered_tabs)
        with Container(classes="panes"):
            yield from self.compose_panes()

    def compose_panes(self) -> Iterator[Widget]:
        """A `Pane` for each of `tabs`."""
        raise NotImplementedError

    def draw(self, state: ViewState) -> None:
        """Draws a state. `state.main` is not None if the view needs a run."""
        raise NotImplementedError

    def show(self, state: ViewState) -> None:
        """Draws a state, if this view has something to draw."""
        if self.needs_run:
            if state.main is None:
                return
            self._lift_notice()
        for grid in self.query(Grid):
            grid.palette = state.options.palette
        for legend in self.query(Legend):
            legend.palette = state.options.palette
        self.draw(state)

    def _lift_notice(self) -> None:
        if self._notice:
            self.show_notice("")

    def show_live(self, message: Streaming) -> None:
        """Shows the progress of a run. Called often, so it must be fast. The next `draw` replaces it."""

    def show_progress(self, work: str) -> None:
        """Shows what the current job is doing; empty when idle."""

    def table(self, state: ViewState) -> Table | None:
        """The numbers of this view as rows; None while it is empty."""
        raise NotImplementedError

    def show_notice(self, notice: str) -> None:
        """Shows a message in every pane instead of its content; an empty text removes it."""
        self._notice = notice
        for grid in self.query(Grid):
            grid.notice = notice
        if notice:
            for legend in self.query(Legend):
                legend.scale = None
            for line in self.query(TextLine):
                line.show_text("")
            for pane in self.query(Pane):
                pane.set_title("")

    def focus_pane(self) -> None:
        """Gives the keyboard focus to the current pane."""
        self.query_one(f"#{self.pane}").focus()

    def next_pane(self, step: int) -> None:
        """Goes to another pane."""
        names = [name for name in self.offered if self.is_folded or self.query_one(f"#{name}-pane").display]
        names = names or list(self.offered)
        if self.pane not in names:
            self.pane = names[0]
        self.pane = names[(names.index(self.pane) + step) % len(names)]
        self.focus_pane()

    @property
    def is_folded(self) -> bool:
        """Whether panes are shown one at a time."""
        return self.has_class("folded")

    def on_mount(self) -> None:
        self.watch_offered()

    @property
    def _offered_tabs(self) -> dict[str, str]:
        return {name: self.tabs[name] for name in self.offered}

    def watch_offered(self) -> None:
        self.query_one(PaneTabs).tabs = self._offered_tabs
        for name in self.tabs:
            self.query_one(f"#{name}-pane").set_class(name not in self.offered, "away")
        self.watch_pane(self.pane)

    def watch_pane(self, pane: str) -> None:
        self.query_one(PaneTabs).shown = pane
        for name in self.tabs:
            self.query_one(f"#{name}-pane").set_class(name == pane, "shown")

    def on_resize(self, event: events.Resize) -> None:
        cells, lines = self.roomy
        self.set_class(event.size.width < cells or event.size.height < lines, "folded")
        self.make_room(event.size)
        self.refresh_bindings()

    def make_room(self, size: Size) -> None:
        """Arranges the panes for a view of this size; `is_folded` is set before."""

    def on_pane_chosen(self, message: PaneChosen) -> None:
        message.stop()
        self.pane = message.pane
        self.focus_pane()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if event.widget.id in self.tabs:
            self.pane = str(event.widget.id)
