"""Records the same tokens in each variant's process as trace files, and compares the files in this process."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from edge.compare.activations import head_divergence, mean_sparsity
from edge.compare.predictions import Scores, score
from edge.compare.routing import TokenRouting, layer_routing
from edge.compare.sites import record, trace_errors, watches
from edge.compare.tokenized_text import Window
from edge.compare.variants import OpenVariant
from edge.engines.choice import engine_of
from edge.session import Model
from edge.trace import Trace, open_trace
from edge.watch import Watch
from models.progress import Progress
from models.sites import LOGITS

_LOGITS_ALONE = Watch(parts=(), logits=True)


@dataclass
class Recorded:
    """Results of one variant, one block of layers and one window at a time. The reference has only sparsity.

    Attributes:
        has_sites: Whether sites can be recorded; without them only predictions are compared.
        sparsity: Exact-zero share and top-p sparsity of each layer.
        errors: Relative error of each token of the first window, by site, in the order of computation.
        heads: Jensen-Shannon divergence of each head, by layer of the reference.
        routing: Routing of each token, by layer of the reference; None for a layer without a mixture of experts.
        scores: Differences of predictions, by window.
    """

    has_sites: bool
    sparsity: list[tuple[float, ...]] = field(default_factory=list)
    errors: dict[str, Float64[np.ndarray, " token"]] = field(default_factory=dict)
    heads: list[tuple[float, ...] | None] = field(default_factory=list)
    routing: list[TokenRouting | None] = field(default_factory=list)
    scores: list[Scores] = field(default_factory=list)


class Recordings:
    """Temporary trace files, each deleted after use."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._numbers = folder, count()

    @contextmanager
    def of(self, member: OpenVariant, ids: tuple[int, ...], watch: Watch) -> Iterator[Trace]:
        """A trace of `ids` in one variant; layers that it does not have are left out."""
        if watch.layers is not None:
            watch = replace(watch, layers=tuple(layer for layer in watch.layers if layer < member.spec.n_layers))
        file = self._folder / f"{next(self._numbers)}.trace"
        member.remote.call(record, ids, watch, file)
        try:
            yield open_trace(file)
        finally:
            file.unlink()


def compare_activations(
    members: Sequence[OpenVariant], ids: tuple[int, ...], recordings: Recordings, progress: Progress
) -> list[Recorded]:
    """Compares every site of every layer with the first variant, a few layers at a time."""
    seen = [Recorded(member.remote.call(_has_sites)) for member in members]
    inside = [member.spec for member, own in zip(members, seen, strict=True) if own.has_sites]
    if not inside:
        return seen

    def sites(place: int, watch: Watch) -> AbstractContextManager[Trace | None]:
        return recordings.of(members[place], ids, watch) if seen[place].has_sites else nullcontext()

    for watch in watches(max(inside, key=lambda spec: spec.n_layers), len(ids)):
        layers = watch.layers or ()
        progress(f"comparing layers {layers[0]} to {layers[-1]} on {len(ids)} tokens")
        with sites(0, watch) as reference:
            _note_sparsity(seen[0], reference)
            for place, own in enumerate(seen[1:], start=1):
                with sites(place, watch) as trace:
                    _note_sparsity(own, trace)
                    _note_differences(own, trace, reference)
    return seen


def _has_sites(model: Model) -> bool:
    """Runs in a variant's process."""
    return engine_of(model.engine).has_sites


def compare_predictions(
    members: Sequence[OpenVariant],
    windows: Sequence[Window],
    seen: Sequence[Recorded],
    recordings: Recordings,
    progress: Progress,
) -> None:
    """Compares next-token predictions at every position of the text with the first variant."""
    for number, window in enumerate(windows, start=1):
        progress(f"comparing predictions, window {number} of {len(windows)}, {len(window.ids)} tokens")
        targets = np.array(window.targets, np.int64)
        with recordings.of(members[0], window.ids, _LOGITS_ALONE) as reference:
            for member, own in zip(members[1:], seen[1:], strict=True):
                with recordings.of(member, window.ids, _LOGITS_ALONE) as trace:
                    own.scores.append(score(reference.site(LOGITS), trace.site(LOGITS), targets))
                    if number == 1 and own.has_sites and seen[0].has_sites:
                        own.errors |= trace_errors(trace, reference)


def _note_sparsity(own: Recorded, trace: Trace | None) -> None:
    if trace is not None:
        own.sparsity += [mean_sparsity(trace, layer) for layer in trace.watch.layers or ()]


def _note_differences(own: Recorded, trace: Trace | None, reference: Trace | None) -> None:
    if trace is None or reference is None:
        return
    own.errors |= trace_errors(trace, reference)
    own.heads += [head_divergence(trace, reference, layer) for layer in reference.watch.layers or ()]
    own.routing += [layer_routing(trace, reference, layer) for layer in reference.watch.layers or ()]
