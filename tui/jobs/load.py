"""Loading: a model on an engine becomes the one at hand."""

from dataclasses import dataclass

from edge.trace import Trace
from export.packing import stored_precision
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
        desk.post(Loaded(facts_of(self.place, model), desk.weights(self.place)))


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
        stored=str(stored_precision(model.checkpoint) or "") if model.checkpoint else "",
    )


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
