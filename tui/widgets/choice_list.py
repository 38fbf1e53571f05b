"""A list to choose from: enter takes the line under the cursor; one click moves the cursor, a second takes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option


@dataclass(frozen=True)
class Choice:
    """One line of the list.

    Attributes:
        key: Its id.
        note: Dimmed text after the title.
        works: Whether it can be taken.
    """

    key: str
    title: str
    note: str = ""
    works: bool = True


class ChoiceList(OptionList):
    """Choices under headings. Text of models and files is never read as markup."""

    DEFAULT_CSS = """
    ChoiceList {
        height: 1fr;
        border: round $border-blurred;
        border-title-color: $text-muted;
        padding: 0;
        background: $surface;
        &:focus { border: heavy $primary; border-title-color: $primary; background-tint: transparent; }
    }
    """

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._groups: Mapping[str, Sequence[Choice]] = {}

    def offer(self, groups: Mapping[str, Sequence[Choice]]) -> None:
        """Lists choices under headings, without empty groups and empty headings."""
        self._groups = groups
        self.clear_options()
        for heading, choices in groups.items():
            if choices and heading:
                self.add_option(Option(Content.styled(heading, "dim italic"), disabled=True))
            wide = max((cell_len(choice.title) for choice in choices if choice.note), default=0)
            self.add_options(self._line(choice, wide) for choice in choices)

    def _line(self, choice: Choice, wide: int) -> Option:
        """Title and note in two columns, or one below the other where they do not fit."""
        title = Content(choice.title)
        if choice.note:
            gap = " " * (wide + 2 - cell_len(choice.title))
            if wide + 2 + cell_len(choice.note) > self.scrollable_content_region.width:
                gap = "\n  "
            title = Content.assemble(title, gap, (choice.note, "dim"))
        return Option(title, id=choice.key, disabled=not choice.works)

    @property
    def current_choice(self) -> str | None:
        """The key under the cursor; None if it cannot be taken."""
        option = self.highlighted_option
        return None if option is None or option.disabled else option.id

    def point_at(self, key: str) -> None:
        """Moves the cursor to a choice, or to the first that can be taken."""
        options = [option for option in self.options if not option.disabled]
        wanted = next((option for option in options if option.id == key), options[0] if options else None)
        if wanted is not None:
            self.highlighted = self.options.index(wanted)

    def on_resize(self, event: events.Resize) -> None:
        """Lays the columns out again for the new width."""
        key = self.current_choice
        self.offer(self._groups)
        self.point_at(key or "")

    def on_click(self, event: events.Click) -> None:
        event.prevent_default()
        place = event.style.meta.get("option")
        if place is not None and not self.options[place].disabled:
            was, self.highlighted = self.highlighted, place
            if was == place:
                self.action_select()
