"""The write dialog: which file of the current screen, and where."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.content import Content
from textual.widget import Widget

from models.errors import EdgeError
from tui.output_files import KINDS, FileKind, free_path, place_for
from tui.screens.dialog import Dialog, Field
from tui.widgets.choice_list import Choice, ChoiceList

MODEL = "model"
"""Key of the choice that opens the export dialog."""


@dataclass(frozen=True)
class Written:
    """The answer: a kind of file, and its path; None for an export of the model."""

    kind: FileKind | None
    path: Path = Path()


class WriteScreen(Dialog[Written]):
    """Kinds of files, and a free path. An existing file is overwritten only after a second enter.

    Args:
        stems: Beginning of the file name, by kind.
        lacking: Why a kind cannot be written, by kind.
    """

    DEFAULT_CSS = "WriteScreen > .frame { max-height: 20; }"
    title_of_frame: ClassVar[str] = "write to a file"
    keys: ClassVar[str] = "enter or a second click writes · tab next field · escape closes"

    def __init__(self, stems: dict[str, str], lacking: dict[str, str]) -> None:
        super().__init__()
        self._stems, self._lacking = stems, lacking
        self._offered, self._warned = "", ""
        self._at: str | None = ""

    def compose_fields(self) -> Iterator[Widget]:
        yield ChoiceList(id="write-kinds")
        yield Field("to", id="write-path")

    def on_mount(self) -> None:
        kinds = self.query_one(ChoiceList)
        kinds.border_title = Content("what")
        files = [
            Choice(kind.key, kind.title, self._lacking.get(kind.key) or kind.about, kind.key not in self._lacking)
            for kind in KINDS
        ]
        lacking = self._lacking.get(MODEL)
        model = Choice(MODEL, "the model …", lacking or "for other tools or machines: ONNX, genai", not lacking)
        kinds.offer({"": [*files, model]})
        kinds.point_at("")
        kinds.focus()

    @on(ChoiceList.OptionHighlighted)
    def offer_path(self) -> None:
        """Proposes a free name; a typed name is kept."""
        field, kind = self.query_one("#write-path", Field), self._kind
        was, self._at = self._at, self.query_one(ChoiceList).current_choice
        if was == self._at:
            return  # listed again
        field.disabled = kind is None
        if kind is not None and field.value == self._offered:
            self._offered = field.value = str(free_path(Path(), self._stems[kind.key], kind.suffix))
        self._warned = ""
        self.note(f"in {Path.cwd()}" if kind else "the next dialog has the folder")

    @on(Field.Changed)
    def forget_warning(self, event: Field.Changed) -> None:
        if event.value != self._warned:
            self._warned = ""

    @on(ChoiceList.OptionSelected)
    @on(Field.Submitted)
    def write(self) -> None:
        kind, text = self._kind, self.query_one("#write-path", Field).value.strip()
        if kind is None:
            self.dismiss(Written(None))
            return
        try:
            path = place_for(text)
        except EdgeError as error:
            self.refuse(str(error))
            return
        if path.exists() and self._warned != text:
            self._warned = text
            self.refuse(f"{path} exists; enter again overwrites it, or type another name")
        else:
            self.dismiss(Written(kind, path))

    @property
    def _kind(self) -> FileKind | None:
        key = self.query_one(ChoiceList).current_choice
        return next((kind for kind in KINDS if kind.key == key), None)
