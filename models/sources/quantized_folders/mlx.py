"""Weights quantized by mlx-lm.

X.weight uint32 (row, words of columns)    X.scales, X.biases (row, group)    weight = scale · code + bias
In mode mxfp4, codes are 4-bit floats, X.scales are uint8 exponents, and there are no biases.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8

from models.errors import SpecError
from models.families.config import Config, shown
from models.precision import Scheme, Zero
from models.sources.quantized_folders.stored_module import FLOATS, Layout, Module, Rows, Shape, recoded, words_of

_WIDTHS = (2, 3, 4, 5, 6, 8)

_MODES = {(4, 32): "mxfp4", (4, 16): "nvfp4", (8, 32): "mxfp8"}
"""Modes with uint8 scales, by bits and group size: each mode has one of each."""

_MXFP4 = "mxfp4"

_FLOATS_AS_CODES = np.array([16 + sign * twice for sign in (1, -1) for twice in (0, 1, 2, 3, 4, 6, 8, 12)], np.uint8)
"""The code of each 4-bit float: 16 more than twice its value."""


@dataclass(frozen=True)
class Mlx:
    """mlx-lm's format.

    Attributes:
        table: `quantization` of the config: the usual quantization, and entries of single modules.
    """

    mark: ClassVar[str] = "scales"
    order: ClassVar[str] = ""
    kinds: ClassVar[Mapping[str, tuple[str, ...]]] = {"weight": ("U32",), "scales": (*FLOATS, "U8"), "biases": FLOATS}

    table: Config

    def layout(self, module: Module) -> Layout:
        is_affine = module.place("scales").kind != "U8"

        def shapes(bits: int, groups: int) -> dict[str, Shape]:
            grouped = (*module.shape[:-1], groups)
            parts = ("scales", "biases") if is_affine else ("scales",)
            return {"weight": (*module.shape[:-1], words_of(module.shape[-1], bits))} | dict.fromkeys(parts, grouped)

        bits, group = module.fit(_WIDTHS, "scales", shapes)
        mode = "affine" if is_affine else _MODES.get((bits, group), "unknown")
        self._check(module, mode, bits, group)
        if is_affine:
            return module.layout("mlx", bits, group, Zero.OFFSET)
        return Layout(_MXFP4, Scheme(5, group, Zero.MIDDLE), group)

    def _check(self, module: Module, mode: str, bits: int, group: int) -> None:
        """Refuses other modes, and a module that is not as its entry says. Others may differ from the usual."""
        entry = self.table.keys.get(module.name)
        usual = Config(self.table.path, {"bits": 4, "group_size": 64, **self.table.keys})
        usual.count("bits"), usual.count("group_size")
        if entry is False:
            raise module.refusal("has scales, though the config says that it is not quantized")
        if isinstance(entry, dict):
            own = Config(self.table.path, {"bits": 4, "group_size": 64, "mode": "affine", **entry})
            if own.keys["mode"] != mode:
                raise module.refusal(f"has the form of mode '{mode}', and the config says {shown(own.keys['mode'])}")
            module.check_stated(bits, group, {(own.count("bits"), own.count("group_size"))})
        if mode not in ("affine", _MXFP4):
            raise SpecError(
                f"{self.table.path}: '{module.name}' is quantized in mode '{mode}', which Edge does not read; it reads "
                f"modes 'affine' and '{_MXFP4}'"
            )

    def rows(self, module: Module, layout: Layout) -> Rows:
        codes, scales = module.read("weight"), module.read("scales")
        if layout.scheme.zero is Zero.OFFSET:
            return Rows(codes, scales, offsets=module.read("biases"))
        exponents = scales.astype(np.int32) - 128
        return Rows(_as_integers(codes.view(np.uint8)), np.ldexp(np.float32(1), exponents))


def _as_integers(codes: UInt8[np.ndarray, "*rows bytes"]) -> UInt8[np.ndarray, "*rows new_bytes"]:
    """4-bit floats as 5-bit codes of integers."""
    whole = recoded(codes.reshape(-1, codes.shape[-1]), 4, 5, lambda floats: _FLOATS_AS_CODES[floats])
    return whole.reshape(*codes.shape[:-1], -1)
