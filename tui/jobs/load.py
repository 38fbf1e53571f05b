"""Loading: a model on an engine becomes the one at hand."""

from dataclasses import dataclass

from edge.engines.choice import engine_of
from edge.engines.registry import as_computed
from edge.insight.weights import Weights
from edge.trace import Trace
from models.parameters import parameter_count
from tui.jobs.job import Desk, Drivable, Place
from tui.messages import Loaded
from tui.sight import Facts


@dataclass(frozen=True)
class Load:
    """Opens a model on an engine; one that cannot be opened leaves the other at hand."""

    place: Place

    def work(self, desk: Desk) -> None:
        model = desk.open(self.place)
        if desk.at != self.place:
            desk.at, desk.subject = self.place, None
        desk.post(Loaded(facts_of(self.place, model), weights_of(model)))


def facts_of(place: Place, model: Drivable) -> Facts:
    """What the screen shows of a model."""
    return Facts(
        source=place.model,
        name=model.name,
        engine=model.engine,
        spec=model.spec,
        parameters=parameter_count(model.spec),
        threads=model.threads,
        reads_text=model.tokenizer is not None,
    )


def weights_of(model: Drivable) -> Weights | None:
    """What explains the model's traces, in the precision that its engine computes with."""
    if model.checkpoint is None:
        return None
    reader = model.tokenizer
    _, checkpoint = as_computed(engine_of(model.engine), model.checkpoint, lambda text: None)
    return Weights(checkpoint, reader.piece if reader else "<{}>".format)


def facts_of_trace(trace: Trace) -> Facts:
    """What the screen shows of a saved trace."""
    return Facts(
        source="",
        name=trace.model,
        engine=trace.engine,
        spec=trace.spec,
        parameters=parameter_count(trace.spec),
        threads=None,
        reads_text=False,
    )
