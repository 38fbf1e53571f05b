"""Bytes of each weight in an engine's memory, in the format that the engine uses."""

from collections.abc import Mapping
from math import prod

from edge.engines.choice import EngineChoice, engine_of
from edge.profile.work import WeightBytes
from export.layout import layout_of
from models.checkpoint import Checkpoint
from models.parameters import parameter_shapes
from models.precision import Grouped, Scheme, Zero
from models.quantized import groups_of, row_bytes
from models.quantized_file import matrices
from models.spec import DecoderSpec


def weight_bytes(engine: str, checkpoint: Checkpoint) -> WeightBytes:
    """Bytes in memory of each weight: torch dequantizes weights, the other engines keep them quantized."""
    choice = engine_of(engine)
    size = choice.float_bytes
    schemes = {} if choice.name == "torch" else _schemes(choice, checkpoint)

    def of(name: str, shape: tuple[int, ...]) -> float:
        scheme = schemes.get(name)
        return float(size * prod(shape)) if scheme is None else _quantized_bytes(choice.name, scheme, shape)

    return of


def _schemes(choice: EngineChoice, checkpoint: Checkpoint) -> Mapping[str, Scheme]:
    if checkpoint.quantized:
        return layout_of(checkpoint).schemes if choice.name == "onnx" else checkpoint.quantized.schemes
    if isinstance(choice.precision, Grouped):
        return dict.fromkeys(matrices(checkpoint.spec), choice.precision.scheme)
    return {}


def _quantized_bytes(engine: str, scheme: Scheme, shape: tuple[int, ...]) -> float:
    """Codes, a float32 scale per group, and its zero: a code in ONNX, an offset in MLX."""
    rows, columns = prod(shape[:-1]), shape[-1]
    zero = 4.0 if engine == "mlx" else 0.0 if scheme.zero is Zero.MIDDLE else scheme.bits / 8
    return rows * (row_bytes(columns, scheme) + groups_of(columns, scheme) * (4 + zero))


def weights_memory_bytes(spec: DecoderSpec, held: WeightBytes) -> float:
    """Bytes of all weights; a tied quantized head shares its matrix with the embedding."""
    return sum(held(name, shape) for name, shape in parameter_shapes(spec).items())
