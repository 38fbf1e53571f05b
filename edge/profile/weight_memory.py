"""Bytes of each weight in an engine's memory, in the format that the engine uses."""

from collections.abc import Mapping
from functools import partial
from math import prod

from edge.engines.choice import EngineChoice, engine_of
from edge.profile.work import WeightBytes
from export.operands import ROUNDS, Operand, in_graphs
from models.checkpoint import Checkpoint
from models.parameters import parameter_shapes
from models.precision import GROUPS, Float, Grouped, Scheme
from models.quantized import groups_of, row_bytes
from models.quantized_file import matrices
from models.spec import DecoderSpec


def weight_bytes(engine: str, checkpoint: Checkpoint) -> WeightBytes:
    """Bytes in memory of each weight: torch dequantizes weights, the others keep them quantized."""
    choice = engine_of(engine)
    if not choice.has_sites:
        return _as_stored(checkpoint)
    size = choice.float_bytes
    schemes = {} if choice.name == "torch" else _schemes(choice, checkpoint)
    quantized_bytes = partial(_onnx_bytes, choice) if choice.name == "onnx" else _mlx_bytes

    def of(name: str, shape: tuple[int, ...]) -> float:
        scheme = schemes.get(name)
        return float(size * prod(shape)) if scheme is None else quantized_bytes(name, scheme, shape)

    return of


def _as_stored(checkpoint: Checkpoint) -> WeightBytes:
    """Bytes of each weight, or of a few of its rows, in the checkpoint's files."""
    shapes = parameter_shapes(checkpoint.spec)
    return lambda name, shape: checkpoint.stored_bytes_of(name) * prod(shape) / prod(shapes[name])


def _schemes(choice: EngineChoice, checkpoint: Checkpoint) -> Mapping[str, Scheme]:
    """The scheme of each quantized matrix, as it is stored."""
    if checkpoint.quantized:
        return checkpoint.quantized.schemes
    if isinstance(choice.precision, Grouped):
        return dict.fromkeys(matrices(checkpoint.spec), choice.precision.scheme)
    return {}


def _onnx_bytes(choice: EngineChoice, name: str, scheme: Scheme, shape: tuple[int, ...]) -> float:
    """All parts of the matrix."""
    accuracy = ROUNDS if isinstance(choice.precision, Float) else choice.precision.accuracy
    operand = Operand(name, shape, in_graphs(scheme), accuracy)
    return float(sum(kind.itemsize * prod(sizes) for kind, sizes in operand.parts.values()))


def _mlx_bytes(name: str, scheme: Scheme, shape: tuple[int, ...]) -> float:
    """Codes, and a scale and an offset of each group, in float32; smaller groups than MLX has are filled up."""
    rows, columns = prod(shape[:-1]), shape[-1]
    padding = max(1, GROUPS[0] // scheme.group)
    return float(rows * (padding * row_bytes(columns, scheme) + groups_of(columns, scheme) * 8))


def weights_memory_bytes(spec: DecoderSpec, held: WeightBytes) -> float:
    """Bytes of all weights; a tied quantized head shares its matrix with the embedding."""
    return sum(held(name, shape) for name, shape in parameter_shapes(spec).items())
