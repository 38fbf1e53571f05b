"""Loads a model on an engine, which becomes the current one."""

from dataclasses import dataclass

from edge.stored_kinds import gguf_types
from edge.trace import Trace
from export.quantizing import stored_precision
from models.parameters import parameter_count
from tui.jobs.job import JobContext, ModelOnEngine, RunnableModel
from tui.messages import ModelLoaded
from tui.view_state import ModelSummary


@dataclass(frozen=True)
class Load:
    """Opens a model on an engine; if it cannot be opened, the current model stays."""

    target: ModelOnEngine

    def work(self, context: JobContext) -> None:
        model = context.open(self.target)
        if context.at != self.target:
            context.at, context.lab = self.target, None
        context.post(ModelLoaded(summary_of(self.target, model), context.weights(self.target)))


def summary_of(target: ModelOnEngine, model: RunnableModel) -> ModelSummary:
    """Summary of a model, for the screen."""
    return ModelSummary(
        source=target.model,
        name=model.name,
        engine=model.engine,
        spec=model.spec,
        parameters=parameter_count(model.spec),
        threads=model.threads,
        reads_text=model.tokenizer is not None,
        stored=str(stored_precision(model.checkpoint) or "") if model.checkpoint else "",
        types=gguf_types(model.checkpoint) if model.checkpoint else "",
    )


def summary_of_trace(trace: Trace) -> ModelSummary:
    """Summary of the model of a saved trace."""
    return ModelSummary(
        source="",
        name=trace.model,
        engine=trace.engine,
        spec=trace.spec,
        parameters=parameter_count(trace.spec),
        threads=None,
        reads_text=False,
    )
