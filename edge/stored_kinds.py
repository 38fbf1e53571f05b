"""How the parameters of a checkpoint are stored, by type, read from headers only."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

from export.quantizing import stored_precision
from models.checkpoint import Checkpoint
from models.parameters import parameter_shapes
from models.quantized import QuantizedMatrices
from models.sources.gguf.source import Gguf
from models.weights import DenseWeights, StoredWeights

_MAIN_SHARE = 0.1
"""Types with a smaller share of the parameters are left out of a short list."""

_PRECISIONS = {"F64": "fp64", "F32": "fp32", "F16": "fp16", "BF16": "bf16"}


@dataclass(frozen=True)
class StoredKind:
    """All parameters that are stored in one type.

    Attributes:
        count: Number of matrices and vectors.
        share: Share of the numbers in them among all parameters.
    """

    kind: str
    count: int
    share: float


def stored_kinds(checkpoint: Checkpoint) -> list[StoredKind]:
    """The types of all parameters, the largest share first."""
    shapes = parameter_shapes(checkpoint.spec)
    counts: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    for name, kind in _kinds(checkpoint):
        counts[kind] += 1
        numbers[kind] += prod(shapes[name])
    return [StoredKind(kind, counts[kind], number / numbers.total()) for kind, number in numbers.most_common()]


def precision_name(checkpoint: Checkpoint) -> str:
    """The precision of the weights: `bf16`, `int4`; of GGUF files the main types, such as `Q4_K, Q6_K`."""
    if types := gguf_types(checkpoint):
        return types
    stored = stored_precision(checkpoint)
    return ", ".join(_PRECISIONS.get(kind, kind) for kind in _main(checkpoint)) if stored is None else str(stored)


def gguf_types(checkpoint: Checkpoint) -> str:
    """The main types of a GGUF file; empty for other checkpoints."""
    return ", ".join(_main(checkpoint)) if isinstance(checkpoint.source, Gguf) else ""


def _main(checkpoint: Checkpoint) -> list[str]:
    return main_kinds({one.kind: one.share for one in stored_kinds(checkpoint)})


def main_kinds(sizes: Mapping[str, int | float]) -> list[str]:
    """The types that take more than a small share, the largest first."""
    least = _MAIN_SHARE * sum(sizes.values())
    return sorted((kind for kind, size in sizes.items() if size >= least), key=lambda kind: -sizes[kind])


def _kinds(checkpoint: Checkpoint) -> Iterator[tuple[str, str]]:
    """The type of each parameter, by name."""
    weights = checkpoint.weights
    quantized = weights.quantized if isinstance(weights, DenseWeights) else QuantizedMatrices()
    floats = weights.others if isinstance(weights, DenseWeights) else weights
    yield from quantized.kinds.items()
    if isinstance(floats, StoredWeights):
        yield from ((name, one.places[0].kind) for name, one in floats.stored.items())
    else:
        yield from ((name, str(array.dtype)) for name, array in floats.items())
