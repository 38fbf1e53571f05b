"""Opens a saved trace, and measures it."""

from dataclasses import dataclass
from pathlib import Path

from edge.trace import Trace, open_trace
from models.errors import MisuseError
from tui.jobs.job import JobContext
from tui.jobs.run import measure
from tui.messages import ComparedRunReady, TraceOpened
from tui.view_state import MeasuredRun


@dataclass(frozen=True)
class OpenTrace:
    """Opens a saved trace as the current run."""

    path: Path

    def work(self, context: JobContext) -> None:
        context.report(f"opening {self.path.name}")
        context.post(TraceOpened(open_trace(self.path), self.path))


@dataclass(frozen=True)
class OpenTraceForComparison:
    """Opens a saved trace as the comparison run, if its model has as many layers and heads."""

    path: Path
    main: Trace

    def work(self, context: JobContext) -> None:
        context.report(f"opening {self.path.name}")
        trace = open_trace(self.path)
        ours, theirs = self.main.spec, trace.spec
        if (ours.n_layers, ours.n_heads) != (theirs.n_layers, theirs.n_heads):
            raise MisuseError(
                f"{self.path.name} has {theirs.n_layers} layers and {theirs.n_heads} heads, the current run has "
                f"{ours.n_layers} and {ours.n_heads}; only runs with the same layers and heads can be compared"
            )
        context.post(ComparedRunReady(MeasuredRun.of(self.path.name, trace, None)))
        measure(context, trace, None, True)


@dataclass(frozen=True)
class MeasureTrace:
    """Measures the current trace."""

    trace: Trace

    def work(self, context: JobContext) -> None:
        measure(context, self.trace, None, False)
