"""Weights quantized by GPTQ, which stores the codes of a row one below another.

X.qweight int32 (words of columns, row)    X.qzeros (group, words of rows)    X.scales (group, row)
X.g_idx (column): the group of each column
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from jaxtyping import Shaped, UInt8

from models.errors import SpecError
from models.families.config import Config, shown
from models.precision import Zero
from models.sources.quantized_folders.stored_module import FLOATS, Layout, Module, Rows, Shape, codes_of, words_of

_WIDTHS = (2, 3, 4, 8)

_VERSIONS = {"gptq": 1, "gptq_v2": 2}
"""Versions by `checkpoint_format`. The first one stores each zero point less 1."""


@dataclass(frozen=True)
class Gptq:
    """GPTQ, as AutoGPTQ and GPTQModel write it.

    The rules of `dynamic` for single modules are not evaluated: the shapes state bits and groups, and a dense module
    has a dense tensor. They only say which bits and groups there may be.

    Attributes:
        table: `quantization_config` of the config.
    """

    mark: ClassVar[str] = "qweight"
    order: ClassVar[str] = "g_idx"
    kinds: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "qweight": ("I32",),
        "qzeros": ("I32",),
        "scales": FLOATS,
        "g_idx": ("I32", "I64"),
    }

    table: Config

    @cached_property
    def _stated(self) -> set[tuple[int, int]]:
        """Bits and group sizes that the config states, of `dynamic` too."""
        self.table.refuse("rotation", "rotated activations")
        _version_of(self.table)
        own = self.table.table("dynamic")
        entries = [Config(self.table.path, {})] + [own.table(rule) for rule in own.keys]
        stated = (Config(self.table.path, {"group_size": 128, **self.table.keys, **entry.keys}) for entry in entries)
        return {(one.count("bits"), one.count("group_size", least=-1)) for one in stated}

    def layout(self, module: Module) -> Layout:
        (*stack, rows, columns), stated = module.shape, self._stated

        def shapes(bits: int, groups: int) -> dict[str, Shape]:
            return {
                "qweight": (*stack, words_of(columns, bits), rows),
                "qzeros": (*stack, groups, words_of(rows, bits)),
                "scales": (*stack, groups, rows),
            }

        bits, group = module.fit(_WIDTHS, "scales", shapes)
        module.check_stated(bits, group, stated)
        ordered = module.order(self.order, group) is not None
        return module.layout("GPTQ", bits, group, Zero.WHOLE, ordered=ordered)

    def rows(self, module: Module, layout: Layout) -> Rows:
        codes, scales = (module.read(part).swapaxes(-1, -2) for part in ("qweight", "scales"))
        zeros = self._zeros(module.read("qzeros"), layout.scheme.bits, module.shape[-2])
        return Rows(codes, scales, zeros.swapaxes(-1, -2))

    def _zeros(
        self, words: Shaped[np.ndarray, "*group words"], bits: int, rows: int
    ) -> UInt8[np.ndarray, "*group row"]:
        """Zero points. In version 1, whole words were reduced, so that a zero point of 0 borrowed from the next one."""
        if _version_of(self.table) == 2:
            return codes_of(words, bits, rows)
        if 32 % bits == 0:
            return codes_of(words + np.uint32(sum(1 << at for at in range(0, 32, bits))), bits, rows)
        return (codes_of(words, bits, rows) + 1) & np.uint8((1 << bits) - 1)


def _version_of(table: Config) -> int:
    name = next((table.keys[key] for key in ("checkpoint_format", "format") if table.keys.get(key)), "gptq")
    if not isinstance(name, str) or name not in _VERSIONS:
        known = " and ".join(map(repr, _VERSIONS))
        raise SpecError(f"{table.path}: Edge reads {known} of GPTQ, not 'checkpoint_format' {shown(name)}")
    return _VERSIONS[name]
