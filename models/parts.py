"""The parts of a decoder that are timed separately, and the modules of each.

embed
layers.3.attn.norm  .qkv  .core  .out       core: positions, scores, softmax, the weighted sum
layers.3.ffn.norm   .up   .act   .down      up: the gate's product too
head
other                                       work outside all parts
"""

import re
import sys
from collections.abc import Iterable, Mapping

from models.sites import ATTENTION, FFN, SUBLAYERS
from models.spec import FFN as FeedForward
from models.spec import DecoderSpec, Mixer
from models.sublayers.sublayer import kinds_of

OTHER = "other"

_PATH = re.compile(r"^(?:decoder\.)?(?:(embed|head)(?:\.|$)|(layers\.\d+\.\w+)(?:\.(\w+)|$))")
_PART = re.compile(r"^(layers\.\d+\.\w+)\.\w+$")


def known_parts() -> tuple[str, ...]:
    """The parts of every kind of sublayer, within a layer: `attn.qkv`."""
    kinds = ((ATTENTION, Mixer), (FFN, FeedForward))
    found = (f"{name}.{part}" for name, base in kinds for kind in kinds_of(base) for part in kind.parts)
    return tuple(dict.fromkeys(found))


def in_order(parts: Iterable[str]) -> list[str]:
    """Parts and sublayers in order of computation: `embed`, layer by layer, `head`, others."""
    known = {name: place for place, name in enumerate(known_parts())}
    outside = {"embed": -1, "head": sys.maxsize - 1}

    def place(part: str) -> tuple[int, int, int]:
        if not part.startswith("layers."):
            return outside.get(part, sys.maxsize), 0, 0
        _, layer, sublayer, *_ = part.split(".")
        return int(layer), SUBLAYERS.index(sublayer), known.get(within_layer(part), len(known))

    return sorted(parts, key=place)


class TimedParts:
    """The timed parts of one decoder."""

    def __init__(self, spec: DecoderSpec) -> None:
        self._sublayers = dict(spec.sublayers())

    def of_module(self, path: str) -> str | None:
        """The part that a module belongs to, by its path in the decoder; None for the decoder and its layers.

        `layers.3.attn.query` is in `layers.3.attn.qkv`. Work of a sublayer outside its modules is in its `rest`.
        """
        match = _PATH.match(path)
        if match is None:
            return None
        outside, scope, module = match.groups()
        if outside:
            return str(outside)
        sublayer = self._sublayers.get(scope)
        if sublayer is None:
            return None
        part = next((part for part, modules in sublayer.parts.items() if module in modules), sublayer.rest)
        return f"{scope}.{part}"

    @property
    def rests(self) -> Mapping[str, str]:
        """The part of each sublayer to which its work outside modules belongs, by the sublayer."""
        return {scope: f"{scope}.{sublayer.rest}" for scope, sublayer in self._sublayers.items()}

    @property
    def ordered(self) -> tuple[str, ...]:
        """Every part of every layer, in order of computation."""
        return tuple(f"{scope}.{part}" for scope, sublayer in self._sublayers.items() for part in sublayer.parts)


def sublayer_of(part: str) -> str:
    """The sublayer of a part: `layers.3.attn` for `layers.3.attn.qkv`. Other names are unchanged."""
    match = _PART.match(part)
    return match[1] if match else part


def within_layer(part: str) -> str:
    """The name within a layer: `attn.qkv` for `layers.3.attn.qkv`. Other names are unchanged."""
    return part.split(".", 2)[-1] if part.startswith("layers.") else part


def layers_of(parts: Iterable[str]) -> list[int]:
    """The layers of some parts, in ascending order."""
    return sorted({int(part.split(".")[1]) for part in parts if part.startswith("layers.")})
