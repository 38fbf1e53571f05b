"""The export dialogs: tool, precision and folder; then the measured parity."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from edge.tables import Column, Table
from models.errors import EdgeError
from tui.jobs.export import Export
from tui.messages import ModelExported
from tui.output_files import free_path
from tui.screens.dialog import Dialog, Field
from tui.widgets.choice_list import Choice, ChoiceList

TOOLS = (
    Choice("std", "std", "ONNX in standard operators, for any tool"),
    Choice("genai", "genai", "for onnxruntime-genai"),
    Choice("edge", "edge", "a checkpoint that Edge runs without torch"),
)
PRECISIONS = (Choice("fp32", "fp32"), Choice("int8", "int8"), Choice("int4", "int4"))


class ExportScreen(Dialog[Export]):
    """Tool, precision and folder; the proposed folder does not exist yet.

    Weights that are stored quantized keep their precision, `stored`.
    """

    DEFAULT_CSS = """
    ExportScreen > .frame { max-height: 16; }
    #export-tools { width: 1fr; }
    #export-precisions { width: 18; }
    """
    title_of_frame: ClassVar[str] = "export the model"
    keys: ClassVar[str] = "enter or a second click exports · tab next field · escape closes"

    def __init__(self, model: str, name: str, lacking: str, stored: str = "") -> None:
        super().__init__()
        self._model, self._name, self._lacking = model, name, lacking
        self._precisions = (Choice(stored, stored),) if stored else PRECISIONS
        self._offered, self._warned = "", ""
        self._at = "", ""

    def compose_fields(self) -> Iterator[Widget]:
        with Horizontal():
            yield ChoiceList(id="export-tools")
            yield ChoiceList(id="export-precisions")
        yield Field("to the folder", id="export-out")

    def on_mount(self) -> None:
        tools, precisions = (
            self.query_one("#export-tools", ChoiceList),
            self.query_one("#export-precisions", ChoiceList),
        )
        tools.border_title, precisions.border_title = Content("for"), Content("precision")
        tools.offer({"": TOOLS})
        precisions.offer({"": self._precisions})
        tools.point_at("std")
        precisions.point_at(self._precisions[0].key)
        tools.focus()
        if self._lacking:
            self.refuse(self._lacking)

    @on(ChoiceList.OptionHighlighted)
    def offer_folder(self) -> None:
        """Proposes a free name; a typed name is kept."""
        field = self.query_one(Field)
        was, self._at = self._at, (self._tool, self._precision)
        if was == self._at:
            return  # listed again
        if field.value == self._offered:
            precision = "" if self._precision == "fp32" else f"-{self._precision}"
            stem = f"{self._name}-{self._tool}{precision}"
            self._offered = field.value = str(free_path(Path(), stem, ""))
        if not self._lacking:
            self.note(f"in {Path.cwd()}; the export is compared with torch, token by token")

    @on(ChoiceList.OptionSelected)
    @on(Field.Submitted)
    def export(self) -> None:
        text = self.query_one(Field).value.strip()
        try:
            out = _folder_for(text)
        except EdgeError as error:
            self.refuse(str(error))
            return
        if self._lacking:
            self.refuse(self._lacking)
        elif out.exists() and self._warned != text:
            self._warned = text
            self.refuse(f"{out} exists; enter again overwrites it, if Edge wrote it")
        else:
            self.dismiss(Export(self._model, self._tool, self._precision, out))

    @property
    def _tool(self) -> str:
        return self.query_one("#export-tools", ChoiceList).current_choice or "std"

    @property
    def _precision(self) -> str:
        return self.query_one("#export-precisions", ChoiceList).current_choice or "fp32"


def _folder_for(text: str) -> Path:
    if not text:
        raise EdgeError("name a folder to export to")
    return Path(text).expanduser().absolute()


class ExportedScreen(Dialog[None]):
    """The export, and its difference from torch."""

    DEFAULT_CSS = (
        "ExportedScreen > .frame { height: auto; max-height: 90%; } ExportedScreen VerticalScroll { height: auto; }"
    )
    title_of_frame: ClassVar[str] = "the model is exported"
    keys: ClassVar[str] = "escape closes"

    def __init__(self, exported: ModelExported) -> None:
        super().__init__()
        self._exported = exported

    def compose_fields(self) -> Iterator[Widget]:
        exported = self._exported
        with VerticalScroll():
            means = "\n".join(exported.means)
            yield Static(
                Content(f"{exported.folder}\n{exported.size}\n\n{transposed(exported.parity).text()}\n\n{means}\n")
            )

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()


def transposed(table: Table) -> Table:
    """The transposed table, which fits a narrow screen."""
    first, *others = table.columns
    names = [str(row[0]) for row in table.rows]
    columns = [Column("measure", first.heading), *(Column(name, name) for name in names)]
    rows = [
        [column.heading, *(column.show(row[place]) for row in table.rows)] for place, column in enumerate(others, 1)
    ]
    return Table(columns, rows)
