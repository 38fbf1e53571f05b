"""The quantized parameters of a checkpoint folder, in any format of quantized linear layers that Edge reads."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod

import numpy as np
from numpy.typing import NDArray

from models.errors import CheckpointError, SpecError
from models.families.config import Config
from models.families.family import Family
from models.families.views import AsIs, Stored, Third, Transposed, View
from models.matching import sizes_of, ways_of
from models.parameters import parameters_of, part_of
from models.precision import Scheme
from models.quantized import QuantizedMatrices, QuantizedMatrix
from models.safetensors_file import TensorPlace
from models.sources.quantized_folders.awq import Awq
from models.sources.quantized_folders.compressed_tensors import CompressedTensors
from models.sources.quantized_folders.gptq import Gptq
from models.sources.quantized_folders.mlx import Mlx
from models.sources.quantized_folders.stored_module import Format, Layout, Module, recoded
from models.spec import DecoderSpec
from models.tensor_names import StoredTensors


@dataclass(frozen=True)
class ModuleMatrix:
    """One parameter that is stored in quantized modules: all rows of one, some of its rows, or those of several."""

    form: Format
    layout: Layout
    shape: tuple[int, ...]
    modules: tuple[Module, ...]
    way: Stored
    multiplier: float

    @property
    def kind(self) -> str:
        return self.layout.kind

    @property
    def scheme(self) -> Scheme:
        return self.layout.scheme

    @property
    def stored_bytes(self) -> int:
        """Its share of the bytes of its modules, which may have other parameters too."""
        places = (module.places[part] for module in self.modules for part in self.form.kinds if part in module.places)
        whole = sum(prod(place.shape) * place.dtype.itemsize for place in places)
        return whole * prod(self.shape) // sum(prod(module.shape) for module in self.modules)

    def read(self) -> QuantizedMatrix:
        read = [self.form.rows(module, self.layout) for module in self.modules]
        codes, bits = self._rows([rows.codes for rows in read]).view(np.uint8), self.scheme.bits
        order = self.modules[0].order(self.form.order, self.layout.group) if self.scheme.ordered else None
        if order is not None:
            codes = recoded(codes, bits, bits, lambda rows: rows[:, order])
        zeros = [rows.zeros for rows in read if rows.zeros is not None]
        offsets = [rows.offsets for rows in read if rows.offsets is not None]
        return QuantizedMatrix(
            self.scheme,
            self.shape[-1],
            codes,
            self._numbers([rows.scales for rows in read]),
            self._grouped(zeros) if zeros else None,
            n_experts=self.shape[0] if len(self.shape) > 2 else None,
            offsets=self._numbers(offsets) if offsets else None,
            order=order,
        )

    def _numbers(self, parts: Sequence[NDArray[np.generic]]) -> NDArray[np.float32]:
        return np.float32(self.multiplier) * self._grouped(parts).astype(np.float32)

    def _grouped(self, parts: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
        """One number for each group, repeated if a stored group is read as several."""
        return np.repeat(self._rows(parts), self.layout.group // self.scheme.group, axis=-1)

    def _rows(self, parts: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
        """The rows of the parameter, from those of its modules."""
        whole = self.way.read(parts)
        return np.ascontiguousarray(whole.reshape(-1, whole.shape[-1]))


def quantized_parameters(
    config: Config, family: Family, spec: DecoderSpec, tensors: StoredTensors
) -> QuantizedMatrices:
    """The matrices of a checkpoint that are stored in quantized modules; empty if the config names no format.

    Raises:
        CheckpointError: a tensor is missing, or tensors contradict each other or the config.
        SpecError: a quantization that Edge does not read.
    """
    form = _format_of(config, tensors)
    if form is None:
        return QuantizedMatrices()
    named, multipliers, parts = family.weights_of(spec), family.multipliers(config), _by_module(tensors)
    found: dict[str, ModuleMatrix] = {}
    for name, parameter in parameters_of(spec).items():
        way = _quantized_way(form, ways_of(name, named, spec), tensors)
        if way is None:
            continue
        sizes = partial(sizes_of, config, family, parameter)
        modules = tuple(
            Module(config.path, module, shape, parts.get(module, {}), sizes)
            for module, shape in zip(_modules(form, way, tensors), way.shapes(parameter.shape), strict=True)
        )
        multiplier = multipliers.get(part_of(name), 1.0)
        found[name] = ModuleMatrix(form, _layout_of(form, modules), parameter.shape, modules, way, multiplier)
    return QuantizedMatrices(found)


def _format_of(config: Config, tensors: StoredTensors) -> Format | None:
    table = config.table("quantization")
    if table.keys:
        return Mlx(table)
    table = config.table("quantization_config")
    match table.keys.get("quant_method"):
        case "gptq":
            return Gptq(table)
        case "awq":
            return Awq(table, tensors.places)
        case "compressed-tensors":
            return CompressedTensors(table)
    return None


def _by_module(tensors: StoredTensors) -> Mapping[str, Mapping[str, TensorPlace]]:
    """All tensors by module, and by the last part of their names."""
    parts: defaultdict[str, dict[str, TensorPlace]] = defaultdict(dict)
    for name, place in tensors.places.items():
        module, _, part = name.rpartition(".")
        parts[module][part] = place
    return parts


def _quantized_way(form: Format, ways: Iterable[Stored], tensors: StoredTensors) -> Stored | None:
    """The first way of storing a parameter whose tensors are there, if they are quantized."""
    for way in ways:
        marks = (f"{module}.{form.mark}" for module in _modules(form, way, tensors))
        if any(mark in tensors.places for mark in marks):
            return replace(way, view=_by_rows(way.view))
        if tensors.name_of(way.tensor) is not None:
            return None
    return None


def _modules(form: Format, way: Stored, tensors: StoredTensors) -> list[str]:
    """The stored names of the modules of a parameter."""
    return [_stored_name(form, tensor, tensors) for tensor in way.tensors if tensor.endswith(".weight")]


def _stored_name(form: Format, tensor: str, tensors: StoredTensors) -> str:
    module = tensor.removesuffix(".weight")
    for part in (form.mark, "weight"):
        if (name := tensors.name_of(f"{module}.{part}")) is not None:
            return name.removesuffix(f".{part}")
    return module


def _by_rows(view: View) -> View:
    """The view of a quantized module, whose matrix is always (output, input)."""
    match view:
        case Transposed():
            return AsIs()
        case Third(part, transposed=True):
            return Third(part)
    return view


def _layout_of(form: Format, modules: Sequence[Module]) -> Layout:
    """The layout of all modules of one parameter."""
    for module in modules:
        module.check_kinds(form.kinds)
    layouts = {form.layout(module) for module in modules}
    named = " and ".join(repr(module.name) for module in modules[:2])
    if len(layouts) > 1:
        raise SpecError(f"{modules[0].config}: {named} are quantized in two ways; Edge reads one")
    layout = layouts.pop()
    if layout.scheme.ordered and len(modules) > 1:
        raise CheckpointError(
            f"{modules[0].config}: {named} each have an order of columns ('desc_act'), which Edge does not read for "
            "experts"
        )
    return layout
