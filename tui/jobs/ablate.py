"""Measures promoted tokens of the strongest neurons at one token, and the effect of ablating them: two passes each."""

from dataclasses import dataclass

from edge.edits import ScaleNeuron
from edge.insight.ablation import NEURONS, Ablation
from edge.trace import Trace
from edge.watch import Watch
from models.errors import MisuseError
from tui.jobs.job import JobContext
from tui.messages import NeuronsAblated


@dataclass(frozen=True)
class AblateNeurons:
    """Ablates neurons of a layer at one token of a run of the current model, and measures their promoted tokens."""

    trace: Trace
    layer: int
    token: int

    def work(self, context: JobContext) -> None:
        model, weights = context.model(), context.weights(context.at) if context.at else None
        if weights is None:
            raise MisuseError(f"{model.name} has no weights to read promoted tokens from; open a checkpoint with 'o'")
        context.report(f"ablating {NEURONS} neurons of layer {self.layer}, 2 passes each", can_stop=True)

        def run(ids: list[int], edits: tuple[ScaleNeuron, ...], watch: Watch) -> Trace:
            context.check()
            found = model.run(ids=ids, max_new_tokens=0, watch=watch, edits=edits)
            context.check()  # a pass that was stopped has no rows
            return found

        agreement = Ablation(self.trace, weights, self.token, run).agreement(self.layer)
        context.post(NeuronsAblated(self.trace, agreement))
