"""Ablating the neurons that write most at one token: a pass for each, compared with the words they promote."""

from dataclasses import dataclass

from edge.edits import ScaleNeuron
from edge.insight.ablation import NEURONS, Ablation
from edge.trace import Trace
from edge.watch import Watch
from models.errors import MisuseError
from tui.jobs.job import Desk
from tui.messages import NeuronsAblated


@dataclass(frozen=True)
class AblateNeurons:
    """Ablates neurons of a layer at one token of a run of the model at hand."""

    trace: Trace
    layer: int
    token: int

    def work(self, desk: Desk) -> None:
        model, weights = desk.model(), desk.weights(desk.at) if desk.at else None
        if weights is None:
            raise MisuseError(f"{model.name} has no weights to read words off; open a checkpoint with 'o'")
        desk.doing(f"ablating {NEURONS} neurons of layer {self.layer}", can_stop=True)

        def run(ids: list[int], edits: tuple[ScaleNeuron, ...], watch: Watch) -> Trace:
            desk.check()
            found = model.run(ids=ids, max_new_tokens=0, watch=watch, edits=edits)
            desk.check()  # a pass that was stopped has no rows
            return found

        agreement = Ablation(self.trace, weights, self.token, run).agreement(self.layer)
        desk.post(NeuronsAblated(self.trace, agreement))
