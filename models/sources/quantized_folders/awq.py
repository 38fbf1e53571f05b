"""Weights quantized by AWQ in its version `gemm`, which stores codes of several rows in a word.

X.qweight int32 (column, words of rows)    X.qzeros (group, words of rows)    X.scales (group, row)
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from jaxtyping import Shaped, UInt8

from models.code_bytes import codes_to_bytes
from models.errors import CheckpointError, SpecError
from models.families.config import Config, shown
from models.precision import Zero
from models.sources.quantized_folders.stored_module import FLOATS, Layout, Module, Rows, Shape, codes_of, words_of

_BITS = 4

_PLACES = (0, 4, 1, 5, 2, 6, 3, 7)
"""The place in a word of each of 8 codes."""


@dataclass(frozen=True)
class Awq:
    """AWQ, as AutoAWQ and GPTQModel write it.

    Attributes:
        table: `quantization_config` of the config.
        tensors: Names of all tensors.
    """

    mark: ClassVar[str] = "qweight"
    order: ClassVar[str] = ""
    kinds: ClassVar[Mapping[str, tuple[str, ...]]] = {"qweight": ("I32",), "qzeros": ("I32",), "scales": FLOATS}

    table: Config
    tensors: Collection[str]

    @cached_property
    def _stated(self) -> set[tuple[int, int]]:
        """Bits and group size that the config states."""
        keys = self.table.keys
        version = next((keys[key] for key in ("version", "format", "checkpoint_format") if keys.get(key)), "gemm")
        if not isinstance(version, str) or version.lower() != "gemm":
            raise SpecError(f"{self.table.path}: Edge reads version 'gemm' of AWQ, not {shown(version)}")
        for tensor in self.tensors:
            if tensor.endswith(".act.scales"):
                raise CheckpointError(
                    f"{self.table.path.parent} has '{tensor}': AWQ scaled activations too, which Edge does not support"
                )
        stated = Config(self.table.path, {"bits": _BITS, "group_size": 128, **keys})
        return {(stated.count("bits"), stated.count("group_size", least=-1))}

    def layout(self, module: Module) -> Layout:
        *stack, rows, columns = module.shape
        words, stated = words_of(rows, _BITS), self._stated

        def shapes(bits: int, groups: int) -> dict[str, Shape]:
            return {
                "qweight": (*stack, columns, words),
                "qzeros": (*stack, groups, words),
                "scales": (*stack, groups, rows),
            }

        bits, group = module.fit((_BITS,), "scales", shapes)
        module.check_stated(bits, group, stated)
        return module.layout("AWQ", bits, group, Zero.WHOLE)

    def rows(self, module: Module, layout: Layout) -> Rows:
        codes, zeros = (_in_order(module.read(part), module.shape[-2]) for part in ("qweight", "qzeros"))
        by_rows = codes_to_bytes(np.ascontiguousarray(codes.swapaxes(-1, -2)), _BITS)
        return Rows(by_rows, module.read("scales").swapaxes(-1, -2), zeros.swapaxes(-1, -2))


def _in_order(words: Shaped[np.ndarray, "*rows words"], codes: int) -> UInt8[np.ndarray, "*rows codes"]:
    each = codes_of(words, _BITS, words.shape[-1] * len(_PLACES)).reshape(*words.shape, len(_PLACES))
    return each[..., _PLACES].reshape(*words.shape[:-1], -1)[..., :codes]
