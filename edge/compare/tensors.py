"""What quantizing each matrix costs: next tokens with one matrix, or one kind of matrices, quantized at a time.

Two checkpoints of one model differ in how precisely they store each matrix. The model is run with the matrices of the
first, but for those of one group, which come from the second. Then groups are added one after another, cheapest first.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from edge.compare.predictions import PredictionDifference, joined, prediction_difference, score
from edge.compare.tensor_record import Record
from edge.compare.tokenized_text import LONGEST_WINDOW, TokenizedText, Window, windows
from edge.session import Model
from models.checkpoint import Checkpoint
from models.errors import MisuseError
from models.parameters import parameter_shapes, parameters_of, part_of
from models.progress import Progress
from models.quantized_file import stem_of

OTHERS = "norms and biases"
"""The group of parameters that are no matrices, if any of them differs."""


@dataclass(frozen=True)
class Group:
    """Parameters that are quantized together.

    Attributes:
        name: A matrix (`layers.3.ffn.down`), a kind of matrices (`ffn.down`), or `OTHERS`.
        kinds: How the second checkpoint stores them, such as `Q4_K`.
        saved_bytes: Bytes on disk that the second checkpoint saves.
    """

    name: str
    parameters: tuple[str, ...]
    kinds: tuple[str, ...]
    saved_bytes: int


@dataclass(frozen=True)
class Step:
    """One group, and what quantizing it costs.

    Attributes:
        alone: Differences of predictions if only this group is quantized.
        total: The same if all groups before it are too.
        total_bytes: Bytes of the model on disk with these groups quantized.
    """

    group: Group
    alone: PredictionDifference
    total: PredictionDifference
    total_bytes: int

    @property
    def price(self) -> float:
        """Mean KL divergence alone, in nats per megabyte saved; infinite where nothing is saved."""
        return price_of(self.alone, self.group)


def price_of(alone: PredictionDifference, group: Group) -> float:
    """What a group is sorted by."""
    return alone.kl_mean_nats / group.saved_bytes * 1e6 if group.saved_bytes > 0 else float("inf")


@dataclass(frozen=True)
class TensorCosts:
    """All groups, cheapest first. The total of the last is that of the whole second checkpoint.

    Attributes:
        engine: The engine that computed the predictions, in float32.
        tokens: Tokens of the text.
        first_bytes: Bytes of the first checkpoint on disk.
    """

    first: str
    second: str
    engine: str
    tokens: int
    source: str
    first_bytes: int
    steps: tuple[Step, ...]


class Mixed(Mapping[str, NDArray[np.generic]]):
    """The parameters of one checkpoint, some of them from another."""

    def __init__(self, first: Checkpoint, second: Checkpoint, taken: frozenset[str]) -> None:
        self._first, self._second, self._taken = first.weights, second.weights, taken

    def __getitem__(self, name: str) -> NDArray[np.generic]:
        return (self._second if name in self._taken else self._first)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)


def groups_of(first: Checkpoint, second: Checkpoint, *, by_kind: bool) -> list[Group]:
    """The groups of parameters whose values differ.

    Args:
        by_kind: One group for all matrices of a kind, such as `ffn.down`, instead of one for each matrix.

    Raises:
        MisuseError: the two are not of one model, or no parameter differs.
    """
    _check_shapes(first, second)
    members: dict[str, list[str]] = {}
    for name, parameter in parameters_of(first.spec).items():
        if not np.array_equal(np.asarray(first.weights[name], np.float32), np.asarray(second.weights[name])):
            whole = part_of(name) if by_kind else stem_of(name)
            members.setdefault(whole if parameter.product else OTHERS, []).append(name)
    if not members:
        raise MisuseError(f"{first.name} and {second.name} have the same weights; there is nothing to measure")
    kinds = second.quantized.kinds
    return [
        Group(
            name,
            tuple(names),
            tuple(dict.fromkeys(kinds[one] if one in kinds else str(second.weights[one].dtype) for one in names)),
            sum(first.stored_bytes_of(one) - second.stored_bytes_of(one) for one in names),
        )
        for name, names in members.items()
    ]


def _check_shapes(first: Checkpoint, second: Checkpoint) -> None:
    shapes, others = parameter_shapes(first.spec), parameter_shapes(second.spec)
    for name in [*shapes, *others]:
        if shapes.get(name) != others.get(name):
            raise MisuseError(
                f"{first.name} and {second.name} are not one model in two precisions: '{name}' is "
                f"{shapes.get(name, 'absent')} and {others.get(name, 'absent')}"
            )


def measure_tensors(
    first: Checkpoint,
    second: Checkpoint,
    engine: str,
    text: TokenizedText,
    *,
    by_kind: bool,
    threads: int | None,
    progress: Progress,
) -> TensorCosts:
    """Measures every group alone, then all of them added one after another.

    Every measurement is recorded when it is done, so that an interrupted run continues with the next one.
    """
    groups = groups_of(first, second, by_kind=by_kind)
    cut = list(windows(text.ids, min(LONGEST_WINDOW, first.spec.context)))
    record = Record.of(first, second, engine, text.ids)
    with _reference(first, engine, cut, threads, progress) as reference:

        def difference(parameters: frozenset[str], what: str) -> PredictionDifference:
            def measured() -> PredictionDifference:
                progress(what)
                mixed = Checkpoint(first.source, first.spec, Mixed(first, second, parameters))
                return _difference(mixed, engine, cut, reference, threads)

            return record.kept(parameters, measured)

        alone = [
            difference(frozenset(group.parameters), f"group {number} of {len(groups)} alone: {group.name}")
            for number, group in enumerate(groups, 1)
        ]
        order = sorted(range(len(groups)), key=lambda at: (price_of(alone[at], groups[at]), alone[at].kl_mean_nats))
        steps = _added([(groups[at], alone[at]) for at in order], difference, first.stored_bytes)
    return TensorCosts(first.name, second.name, engine, len(text.ids), text.source, first.stored_bytes, steps)


def _added(
    ordered: Sequence[tuple[Group, PredictionDifference]],
    difference: Callable[[frozenset[str], str], PredictionDifference],
    first_bytes: int,
) -> tuple[Step, ...]:
    """The groups added one after another."""
    steps: list[Step] = []
    taken: frozenset[str] = frozenset()
    size_bytes = first_bytes
    for number, (group, alone) in enumerate(ordered, 1):
        taken, size_bytes = taken | set(group.parameters), size_bytes - group.saved_bytes
        total = difference(taken, f"{number} of {len(ordered)} groups together: with {group.name}")
        steps.append(Step(group, alone, total, size_bytes))
    return tuple(steps)


@contextmanager
def _reference(
    first: Checkpoint, engine: str, cut: Sequence[Window], threads: int | None, progress: Progress
) -> Iterator[list[NDArray[np.float32]]]:
    """The logits of the first checkpoint, one array per window, in files that the system may leave on disk."""
    dense = Checkpoint(first.source, first.spec, first.weights)
    with TemporaryDirectory(prefix="edge-tensors-") as folder:
        progress(f"running {first.name}")
        with Model(dense, engine, threads, progress) as model:
            files = [Path(folder) / f"{number}.npy" for number in range(len(cut))]
            for file, window in zip(files, cut, strict=True):
                np.save(file, model.logits(list(window.ids)))
        yield [np.load(file, mmap_mode="r") for file in files]


def _difference(
    mixed: Checkpoint,
    engine: str,
    cut: Sequence[Window],
    reference: Sequence[NDArray[np.float32]],
    threads: int | None,
) -> PredictionDifference:
    with Model(mixed, engine, threads, lambda _: None) as model:
        scores = [
            score(held, model.logits(list(window.ids)), np.array(window.targets))
            for held, window in zip(reference, cut, strict=True)
        ]
    return prediction_difference(joined(scores))
