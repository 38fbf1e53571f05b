"""A requested comparison run."""

from dataclasses import dataclass
from pathlib import Path

from edge.change import Edit
from edge.trace import Trace
from models.errors import MisuseError
from tui.edit_names import edits_title
from tui.jobs.job import Job, ModelOnEngine
from tui.jobs.open_trace import OpenTraceForComparison
from tui.jobs.run import Prompt, RunComparison
from tui.view_state import MeasuredRun


@dataclass(frozen=True)
class ComparisonRequest:
    """The comparison run: what the current run is compared with. It is run again after every change.

    Attributes:
        target: Another model or engine; the current one where None.
        prompt: Another prompt; the same tokens where None.
        edits: The active edits.
        alone: The only one of them that is applied; None where all are.
        saved: The file of a saved trace.
    """

    name: str
    target: ModelOnEngine | None = None
    prompt: Prompt | None = None
    edits: tuple[Edit, ...] = ()
    alone: Edit | None = None
    saved: Path | None = None

    @classmethod
    def of_edits(cls, edits: tuple[Edit, ...], alone: Edit | None = None) -> "ComparisonRequest | None":
        """The same tokens with edits; None without any."""
        return cls(edits_title(edits, alone), edits=edits, alone=alone) if edits else None

    @property
    def applied(self) -> tuple[Edit, ...]:
        """The edits that are applied in this run."""
        return self.edits if self.alone is None else (self.alone,)

    def matches(self, shown: MeasuredRun) -> bool:
        """Whether a run is the one of this request, and not of an earlier one."""
        return shown.name == self.name and (
            self.saved is not None or shown.trace.edits == tuple(map(str, self.applied))
        )

    @property
    def is_kept(self) -> bool:
        """Whether the comparison run is kept when the current run changes."""
        return self.prompt is not None or self.saved is not None

    def job(self, at: ModelOnEngine | None, trace: Trace) -> Job:
        """The job that runs it."""
        if self.saved is not None:
            return OpenTraceForComparison(self.saved, trace)
        if at is None:
            raise MisuseError("no model is loaded, so there is nothing to compare with; open one with 'o'")
        ids = None if self.prompt else trace.tokens[: trace.n_fed]
        return RunComparison(self.name, self.target or at, ids, self.prompt, self.applied)
