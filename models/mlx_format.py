"""Reads matrices quantized by mlx-lm without requantizing them.

X.weight uint32 (row, 32 bits of codes)    X.scales, X.biases (row, group)    weight = scale · code + bias
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.errors import SpecError
from models.families.config import Config
from models.families.family import Family
from models.families.views import AsIs, Stored, Third, Transposed, View
from models.matching import present
from models.parameters import parameters_of, part_of
from models.precision import GROUPS, Scheme, Zero
from models.quantized import QuantizedMatrices, QuantizedMatrix
from models.safetensors_file import TensorPlace
from models.spec import DecoderSpec
from models.sublayers.sublayer import Parameter
from models.tensor_names import StoredTensors

_PARTS = ("weight", "scales", "biases")


@dataclass(frozen=True)
class MlxMatrix:
    """One quantized parameter: its tensors, and the view of their rows."""

    scheme: Scheme
    columns: int
    codes: TensorPlace
    scales: TensorPlace
    offsets: TensorPlace
    view: View
    multiplier: float

    def read(self) -> QuantizedMatrix:
        """Reads the matrix. MLX stores `-zero · scale` as a rounded offset, so the zero point may be non-integer."""
        codes, scales, offsets = (self.view.read(part.read()) for part in (self.codes, self.scales, self.offsets))
        scale, offset = scales.astype(np.float32), offsets.astype(np.float32)
        scale[scale == 0] = 1  # a group of equal weights, whose codes are all 0
        quantized = np.ascontiguousarray(codes).view(np.uint8)
        return QuantizedMatrix(
            self.scheme, self.columns, quantized, np.float32(self.multiplier) * scale, -offset / scale
        )


def quantized_parameters(
    config: Config, family: Family, spec: DecoderSpec, tensors: StoredTensors
) -> QuantizedMatrices:
    """The matrices of a checkpoint that MLX quantized; empty if the config has no MLX quantization.

    Raises:
        SpecError: a quantization that Edge does not read.
    """
    table = config.table("quantization")
    if not table.keys:
        return QuantizedMatrices()
    named, multipliers, places = family.weights_of(spec), family.multipliers(config), tensors.places
    matrices: dict[str, MlxMatrix] = {}
    for name, parameter in parameters_of(spec).items():
        way, shape = present(named[name], tensors), parameter.shape
        _refuse_experts(config, parameter, way, tensors)
        stored, view = tensors.name_of(way.tensor), _by_rows(way.view)
        module = (stored or "").removesuffix(".weight")
        if name.endswith(".weight") and f"{module}.scales" in places:
            codes, scales, offsets = (_part(config, places, f"{module}.{part}") for part in _PARTS)
            scheme, multiplier = _scheme(table, module), multipliers.get(part_of(name), 1.0)
            _check(config, module, [codes, scales, offsets], view.stored_shape(shape), scheme)
            matrices[name] = MlxMatrix(scheme, shape[1], codes, scales, offsets, view, multiplier)
    return QuantizedMatrices(matrices)


def _refuse_experts(config: Config, parameter: Parameter, stored: Stored, tensors: StoredTensors) -> None:
    """Raises SpecError for quantized experts, routers and gates of shared experts."""
    if not parameter.name.endswith(".weight") or (parameter.product and len(parameter.shape) == 2):
        return
    for tensor in stored.tensors:
        module = (tensors.name_of(tensor) or "").removesuffix(".weight")
        if tensor.endswith(".weight") and f"{module}.scales" in tensors.places:
            raise SpecError(
                f"{config.path}: '{module}' belongs to a mixture of experts that mlx-lm quantized; Edge reads mixtures "
                "of mlx-lm only unquantized; use the model without quantization"
            )


def _by_rows(view: View) -> View:
    """The view of MLX's tensor, which is always (output, input)."""
    match view:
        case Transposed():
            return AsIs()
        case Third(part, transposed=True):
            return Third(part)
    return view


def _part(config: Config, places: Mapping[str, TensorPlace], tensor: str) -> TensorPlace:
    if tensor not in places:
        raise SpecError(f"{config.path} declares MLX quantization, but '{tensor}' is missing")
    return places[tensor]


def _scheme(table: Config, module: str) -> Scheme:
    """The quantization of one module: its own entry, or the default."""
    own = table.keys.get(module)
    entry: dict[str, Any] = {**table.keys, **(own if isinstance(own, dict) else {})}
    bits, group, mode = entry.get("bits"), entry.get("group_size"), entry.get("mode", "affine")
    if mode != "affine" or bits not in (4, 8) or group not in GROUPS:
        groups = ", ".join(str(size) for size in GROUPS)
        raise SpecError(
            f"{table.path}: '{module}' is quantized in mode '{mode}' with {bits} bits in groups of {group}; "
            f"Edge reads mode 'affine' with 4 or 8 bits in groups of {groups}"
        )
    return Scheme(bits, group, Zero.ANY)


def _check(config: Config, module: str, parts: list[TensorPlace], shape: tuple[int, ...], scheme: Scheme) -> None:
    rows, columns = shape
    grouped = (rows, columns // scheme.group)
    needed = [(rows, columns * scheme.bits // 32), grouped, grouped]
    if [part.shape for part in parts] != needed or parts[0].dtype != np.uint32:
        shapes = ", ".join(str(part.shape) for part in parts)
        raise SpecError(f"{config.path}: '{module}' has tensors of shape {shapes}; {scheme.bits} bits need {needed}")
