"""Downloads a model of the hub into its cache, in a process that can be stopped, and loads it."""

from dataclasses import dataclass
from pathlib import Path

from edge.picture.units import show_bytes
from edge.worker_process import WorkerProcess, cancelable
from models.errors import EdgeError
from models.find_model import find_model
from models.hub import HubName, entry_of, hub_name
from models.progress import Progress
from models.pull import pull
from tui.jobs.job import JobContext, ModelOnEngine
from tui.jobs.load import Load
from tui.jobs.periodic_progress import report_periodically

_NO_BARS = {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}


@dataclass(frozen=True)
class Pull:
    """Downloads a model if needed, then loads it; a stopped download resumes the next time."""

    target: ModelOnEngine

    def work(self, context: JobContext) -> None:
        id = self.target.model
        if not _is_here(id):
            context.report(f"pulling {id}", can_stop=True)
            with cancelable(context.check):
                WorkerProcess(f"the pull of {id}", fetch, context.progress_as(f"pulling {id}"), _NO_BARS, id).close()
        Load(self.target).work(context)


def fetch(report: Progress, id: str) -> None:
    """Downloads a model, and reports the bytes so far."""
    folder = entry_of((hub_name(id) or HubName(id)).id) / "blobs"
    with report_periodically(report, lambda: f"{show_bytes(_bytes_in(folder))} so far"):
        pull(id)


def _is_here(id: str) -> bool:
    """Whether a model is on this machine and complete."""
    try:
        find_model(id)
    except EdgeError:
        return False
    return True


def _bytes_in(folder: Path) -> int:
    """Bytes of all files; files may disappear while they are counted."""
    total = 0
    for file in folder.glob("*"):
        try:
            total += file.stat().st_size
        except OSError:
            continue
    return total
