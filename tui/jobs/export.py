"""Exports the current model as files for other tools, in a process that can be stopped."""

from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from edge.export_summary import parity_lines, parity_table, prepared
from edge.picture.units import show_bytes
from edge.worker_process import WorkerProcess, cancelable
from export.standalone import check_target, export_checkpoint
from export.targets import TARGETS
from models.atomic_folder import remove_leftovers
from models.checkpoint import open_checkpoint
from models.find_model import find_model
from models.precision import precision_of
from models.progress import Progress
from tui.jobs.job import JobContext
from tui.jobs.periodic_progress import report_periodically
from tui.messages import ModelExported


@dataclass(frozen=True)
class Export:
    """Writes a model to a folder, which appears whole or not at all.

    Attributes:
        tool: The tool that opens it, a key of `export.targets.TARGETS`.
    """

    model: str
    tool: str
    precision: str
    out: Path

    def work(self, context: JobContext) -> None:
        context.report(f"exporting {self.model}", can_stop=True)
        check_target(open_checkpoint(find_model(self.model)), self.out)
        try:
            with cancelable(context.check):
                arguments = (self.model, self.tool, self.precision, self.out)
                WorkerProcess(
                    "the export", write, context.progress_as(f"exporting {self.model}"), {}, *arguments
                ).close()
        finally:
            parent = self.out.resolve().parent
            if parent.is_dir():
                remove_leftovers(parent)  # what a stopped process leaves
        size = sum(file.stat().st_size for file in self.out.rglob("*") if file.is_file())
        context.post(ModelExported(self.out, show_bytes(size), parity_table(self.out), tuple(parity_lines(self.out))))


class LatestMessage:
    """The last progress message of the export."""

    def __init__(self) -> None:
        self._lock, self._word = Lock(), "starting"

    def set(self, word: str) -> None:
        with self._lock:
            self._word = word

    def __call__(self) -> str:
        with self._lock:
            return self._word


def write(report: Progress, model: str, tool: str, precision: str, out: Path) -> None:
    """Writes the export and measures its parity."""
    word = LatestMessage()
    with report_periodically(report, word):
        original, chosen = open_checkpoint(find_model(model)), precision_of(precision)
        held = prepared(original, chosen, word.set)
        is_quantized_now = held is not original
        export_checkpoint(held, out, word.set, TARGETS[tool], chosen, original if is_quantized_now else None)
