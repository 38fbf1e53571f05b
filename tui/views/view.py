"""Base of the views: panes that stand side by side, or fold behind tabs where there is no room for them all."""

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
from tui.widgets.grid import Grid
from tui.widgets.legend import Legend
from tui.widgets.pane import Pane
from tui.widgets.pane_tabs import PaneTabs
from tui.widgets.text_line import TextLine


class View(Container):
    """One view. Subclasses say what panes there are, compose them, and draw a `ViewState`.

    Keys of a view are its `BINDINGS`; they work, and are offered, while one of its widgets has the focus.

    Attributes:
        pane: The pane at hand; where panes fold, the one that shows.
    """

    DEFAULT_CSS = """
    View { layout: vertical; }
    View > .panes { height: 1fr; }
    View.folded > .panes { layout: grid; grid-size: 1 1; grid-columns: 1fr; grid-rows: 1fr; }
    View.folded Pane { display: none; row-span: 1; column-span: 1; }
    View.folded Pane.shown { display: block; }
    View > PaneTabs { display: none; }
    View.folded > PaneTabs { display: block; }
    """

    title: ClassVar[str]
    """What the tab of this view says."""
    tabs: ClassVar[dict[str, str]]
    """The panes by name, with what their tabs say, in the order of the tab key. A pane's widget has its name as id."""
    roomy: ClassVar[tuple[int, int]] = (104, 28)
    """Cells and lines under which panes show one at a time."""
    shows: ClassVar[str] = "watched run"
    """Whether the figures of this view were watched or timed."""
    needs_run: ClassVar[bool] = True
    """It shows nothing before a prompt ran; a view without this says itself what to do, and has its own notices."""

    pane: reactive[str] = reactive("", init=False)

    def __init__(self, name: str) -> None:
        super().__init__(id=f"{name}-view")
        self.name_of_view, self._notice = name, ""
        self.set_reactive(View.pane, next(iter(self.tabs)))

    def compose(self) -> Iterator[Widget]:
        yield PaneTabs(self.tabs)
        with Container(classes="panes"):
            yield from self.compose_panes()

    def compose_panes(self) -> Iterator[Widget]:
        """A `Pane` for each of `tabs`."""
        raise NotImplementedError

    def draw(self, state: ViewState) -> None:
        """Draws what changed since the last time. `state.main` is there where the view needs a run."""
        raise NotImplementedError

    def show(self, state: ViewState) -> None:
        """Draws a state, if there is anything in it for this view."""
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
        """Shows how a run goes while it goes; told often, so it must be cheap. The next `draw` ends that."""

    def show_progress(self, work: str) -> None:
        """Shows what the runner is at; empty once it rests."""

    def table(self, state: ViewState) -> Table | None:
        """What this view shows, as rows; None while it shows nothing."""
        raise NotImplementedError

    def show_notice(self, notice: str) -> None:
        """Says in every pane what to do, or what is awaited, instead of a picture; an empty text lifts that."""
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
        """Gives the keys to the pane at hand."""
        self.query_one(f"#{self.pane}").focus()

    def next_pane(self, step: int) -> None:
        """Goes to another pane."""
        names = [name for name in self.tabs if self.is_folded or self.query_one(f"#{name}-pane").display]
        names = names or list(self.tabs)
        if self.pane not in names:
            self.pane = names[0]
        self.pane = names[(names.index(self.pane) + step) % len(names)]
        self.focus_pane()

    @property
    def is_folded(self) -> bool:
        """Panes show one at a time."""
        return self.has_class("folded")

    def on_mount(self) -> None:
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
        """Places what stands elsewhere in a view of this size; whether panes fold is decided by then."""

    def on_pane_chosen(self, message: PaneChosen) -> None:
        message.stop()
        self.pane = message.pane
        self.focus_pane()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if event.widget.id in self.tabs:
            self.pane = str(event.widget.id)
