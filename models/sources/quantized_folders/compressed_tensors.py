"""Weights in the format `pack-quantized` of compressed-tensors, which llm-compressor writes for vLLM.

X.weight_packed int32 (row, words of columns)    X.weight_scale (row, group)    X.weight_shape (2)
X.weight_zero_point (words of rows, group)       X.weight_g_idx (column): the group of each column
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from models.errors import SpecError
from models.families.config import Config, shown
from models.precision import Zero
from models.sources.quantized_folders.stored_module import FLOATS, Layout, Module, Rows, Shape, codes_of, words_of

_WIDTHS = (2, 3, 4, 5, 6, 8)

_READ = "pack-quantized"


@dataclass(frozen=True)
class CompressedTensors:
    """compressed-tensors. Which group of the config a module belongs to is not evaluated: the shapes state it.

    Attributes:
        table: `quantization_config` of the config.
    """

    mark: ClassVar[str] = "weight_packed"
    order: ClassVar[str] = "weight_g_idx"
    kinds: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "weight_packed": ("I32",),
        "weight_scale": FLOATS,
        "weight_shape": ("I64", "I32"),
        "weight_zero_point": ("I32",),
        "weight_g_idx": ("I32", "I64"),
    }

    table: Config

    @cached_property
    def _stated(self) -> dict[bool, set[tuple[int, int]]]:
        """Bits and group sizes that the config states, for symmetric weights and for others."""
        self.table.refuse("kv_cache_scheme", "quantized keys and values")
        if self.table.table("transform_config").table("config_groups").keys:
            raise SpecError(f"{self.table.path}: 'transform_config' rotates activations, which Edge does not support")
        stated: dict[bool, set[tuple[int, int]]] = {True: set(), False: set()}
        groups = self.table.table("config_groups")
        for name in groups.keys:
            entry = groups.table(name)
            weights = Config(entry.path, {"symmetric": True, "type": "int", **entry.table("weights").keys})
            self._check(entry, weights)
            group = -1 if weights.keys.get("strategy") == "channel" else weights.count("group_size", least=-1)
            stated[weights.flag("symmetric")].add((weights.count("num_bits"), group))
        return stated

    def _check(self, entry: Config, weights: Config) -> None:
        entry.refuse("input_activations", "quantized activations")
        entry.refuse("output_activations", "quantized activations")
        form = next((table.keys["format"] for table in (entry, self.table) if table.keys.get("format")), None)
        if form != _READ:
            raise SpecError(f"{entry.path}: Edge reads '{_READ}' of compressed-tensors, not 'format' {shown(form)}")
        kind, strategy = weights.keys["type"], weights.keys.get("strategy")
        if kind != "int" or strategy not in (None, "group", "channel"):
            raise SpecError(
                f"{entry.path}: Edge reads integers by group or channel of compressed-tensors, not 'type' "
                f"{shown(kind)} with 'strategy' {shown(strategy)}"
            )

    def layout(self, module: Module) -> Layout:
        (rows, columns), is_symmetric = module.shape[-2:], "weight_zero_point" not in module.places
        stated = self._stated[is_symmetric]
        if not stated:
            raise module.refusal(f"has {'no ' if is_symmetric else ''}zero points, but the config says otherwise")

        def shapes(bits: int, groups: int) -> dict[str, Shape]:
            needed: dict[str, Shape] = {
                "weight_packed": (*module.shape[:-1], words_of(columns, bits)),
                "weight_scale": (*module.shape[:-1], groups),
            }
            return (
                needed
                if is_symmetric
                else needed | {"weight_zero_point": (*module.shape[:-2], words_of(rows, bits), groups)}
            )

        bits, group = module.fit(_WIDTHS, "weight_scale", shapes)
        module.check_stated(bits, group, stated)
        zero, ordered = Zero.MIDDLE if is_symmetric else Zero.WHOLE, module.order(self.order, group) is not None
        return module.layout("compressed-tensors", bits, group, zero, ordered=ordered)

    def rows(self, module: Module, layout: Layout) -> Rows:
        codes, scales = module.read("weight_packed"), module.read("weight_scale")
        if layout.scheme.zero is Zero.MIDDLE:
            return Rows(codes, scales)
        down = module.read("weight_zero_point").swapaxes(-1, -2)
        return Rows(codes, scales, codes_of(down, layout.scheme.bits, module.shape[-2]).swapaxes(-1, -2))
