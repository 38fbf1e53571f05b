"""Reads matrices quantized by mlx-lm without requantizing them.

X.weight uint32 (row, 32 bits of codes)    X.scales, X.biases (row, group)    weight = scale · code + bias
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.errors import SpecError
from models.families.config import Config
from models.families.family import Family
from models.families.views import AsIs, Third, Transposed, View
from models.matching import stored_way
from models.parameters import parameters_of, part_of
from models.precision import GROUPS, Scheme, Zero
from models.quantized import QuantizedMatrices, QuantizedMatrix
from models.safetensors_file import TensorPlace
from models.spec import DecoderSpec
from models.tensor_names import StoredTensors
from models.weights import StoredParameter

_PARTS = ("weight", "scales", "biases")


@dataclass(frozen=True)
class MlxMatrix:
    """One quantized parameter: where its codes, scales and offsets lie, and its shape.

    The rows of each of the three are stored as those of the matrix are.
    """

    scheme: Scheme
    shape: tuple[int, ...]
    codes: StoredParameter
    scales: StoredParameter
    offsets: StoredParameter
    multiplier: float

    @property
    def stored_bytes(self) -> int:
        codes, grouped = _shapes(self.shape, self.scheme)
        return self.codes.stored_bytes(codes) + self.scales.stored_bytes(grouped) + self.offsets.stored_bytes(grouped)

    def read(self) -> QuantizedMatrix:
        """Reads the matrix. MLX stores `-zero · scale` as a rounded offset, so the zero point may be non-integer."""
        read = (part.read() for part in (self.codes, self.scales, self.offsets))
        codes, scales, offsets = (part.reshape(-1, part.shape[-1]) for part in read)
        scale, offset = scales.astype(np.float32), offsets.astype(np.float32)
        quantized = np.ascontiguousarray(codes).view(np.uint8)
        if (equal := scale == 0).any():  # groups whose weights are all equal to the offset
            quantized = quantized.copy()
            quantized.reshape(*equal.shape, -1)[equal], scale[equal] = 0, 1
        scaled, zeros = np.float32(self.multiplier) * scale, -offset / scale
        n_experts = self.shape[0] if len(self.shape) > 2 else None
        return QuantizedMatrix(self.scheme, self.shape[-1], quantized, scaled, zeros, n_experts)


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
        stored = stored_way(name, named, spec, tensors)
        way = replace(stored, view=_by_rows(stored.view))
        modules = [(tensors.name_of(tensor) or tensor).removesuffix(".weight") for tensor in way.tensors]
        if name.endswith(".weight") and any(f"{module}.scales" in places for module in modules):
            scheme = _scheme(table, modules)
            parts = [[_part(config, places, f"{module}.{part}") for module in modules] for part in _PARTS]
            for module, shape, *own in zip(modules, way.shapes(parameter.shape), *parts, strict=True):
                _check(config, module, own, shape, scheme)
            codes, scales, offsets = (
                StoredParameter(first, way.view, others=tuple(others), join=way.join) for first, *others in parts
            )
            multiplier = multipliers.get(part_of(name), 1.0)
            matrices[name] = MlxMatrix(scheme, parameter.shape, codes, scales, offsets, multiplier)
    return QuantizedMatrices(matrices)


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


def _scheme(table: Config, modules: Sequence[str]) -> Scheme:
    """The quantization of the modules of one parameter."""
    schemes = {_scheme_of(table, module) for module in modules}
    if len(schemes) > 1:
        raise SpecError(f"{table.path}: {' and '.join(map(repr, modules))} are quantized in two ways; Edge reads one")
    return schemes.pop()


def _scheme_of(table: Config, module: str) -> Scheme:
    """The quantization of one module: its own entry, which stands alone, or that of the others."""
    own = table.keys.get(module)
    entry: Mapping[str, Any] = own if isinstance(own, dict) else table.keys
    bits, group, mode = entry.get("bits", 4), entry.get("group_size", 64), entry.get("mode", "affine")
    if mode != "affine" or bits not in (4, 8) or group not in GROUPS:
        groups = ", ".join(str(size) for size in GROUPS)
        raise SpecError(
            f"{table.path}: '{module}' is quantized in mode '{mode}' with {bits} bits in groups of {group}; "
            f"Edge reads mode 'affine' with 4 or 8 bits in groups of {groups}"
        )
    return Scheme(bits, group, Zero.ANY)


def _shapes(shape: tuple[int, ...], scheme: Scheme) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shapes of the codes of a matrix or stack, and of its scales."""
    *rows, columns = shape
    return (*rows, columns * scheme.bits // 32), (*rows, columns // scheme.group)


def _check(config: Config, module: str, parts: list[TensorPlace], shape: tuple[int, ...], scheme: Scheme) -> None:
    codes, grouped = _shapes(shape, scheme)
    needed = [codes, grouped, grouped]
    if [part.shape for part in parts] != needed or parts[0].dtype != np.uint32:
        shapes = ", ".join(str(part.shape) for part in parts)
        raise SpecError(f"{config.path}: '{module}' has tensors of shape {shapes}; {scheme.bits} bits need {needed}")
