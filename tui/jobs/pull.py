"""Pulling: a model of the hub comes into its cache, in a process that can be ended, and is loaded."""

from dataclasses import dataclass
from pathlib import Path

from edge.picture.units import show_bytes
from edge.worker_process import WorkerProcess, cancelable
from models.hub import cached, entry_of, pull
from models.progress import Progress
from tui.jobs.job import JobContext, ModelOnEngine
from tui.jobs.load import Load
from tui.jobs.periodic_progress import report_periodically

_NO_BARS = {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}


@dataclass(frozen=True)
class Pull:
    """Fetches a model that is not here yet, then loads it; a fetch that is stopped is gone on with the next time."""

    place: ModelOnEngine

    def work(self, context: JobContext) -> None:
        id = self.place.model
        if cached(id) is None:
            context.report(f"pulling {id}", can_stop=True)
            with cancelable(context.check):
                WorkerProcess(f"the pull of {id}", fetch, context.progress_as(f"pulling {id}"), _NO_BARS, id).close()
        Load(self.place).work(context)


def fetch(report: Progress, id: str) -> None:
    """Fetches a model, and tells how much of it is there."""
    folder = entry_of(id) / "blobs"
    with report_periodically(report, lambda: f"{show_bytes(_bytes_in(folder))} so far"):
        pull(id)


def _bytes_in(folder: Path) -> int:
    """Bytes of all files; files come and go while they are counted."""
    total = 0
    for file in folder.glob("*"):
        try:
            total += file.stat().st_size
        except OSError:
            continue
    return total
