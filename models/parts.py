"""The parts of a decoder's work whose time is told apart, and the modules that each is made of.

embed
layers.3.attn.norm  .qkv  .core  .out       core: positions, scores, softmax, the weighted sum
layers.3.ffn.norm   .up   .act   .down      up: the gate's product too
head
other                                       what belongs to none of them
"""

import re
from collections.abc import Iterable

OTHER = "other"

SUBLAYERS: dict[str, tuple[str, ...]] = {"attn": ("norm", "qkv", "core", "out"), "ffn": ("norm", "up", "act", "down")}
"""The parts of attention and of the FFN, in the order in which they are computed."""

RESTS = {"attn": "core", "ffn": "act"}
"""The part that is no module of its own: what a sublayer does besides its modules."""

_OF_MODULE = {
    "attn": {"norm": "norm", "query_norm": "norm", "key_norm": "norm", "after": "norm"}
    | dict.fromkeys(("query", "key", "value"), "qkv")
    | {"out": "out"},
    "ffn": {"norm": "norm", "after": "norm", "gate": "up", "up": "up", "down": "down"},
}

_PATH = re.compile(r"^(?:decoder\.)?(?:(embed|head)(?:\.|$)|(layers\.\d+)\.(attn|ffn)(?:\.(\w+)|$))")
_PART = re.compile(r"^(layers\.\d+\.(?:attn|ffn))\.\w+$")


def part_of_module(path: str) -> str | None:
    """The part that a module belongs to, by its path in a decoder; None for the decoder and its layers.

    `layers.3.attn.query` is in `layers.3.attn.qkv`; a sublayer itself, and what is no module of it, in its rest.
    """
    found = _PATH.match(path)
    if found is None:
        return None
    outside, layer, sublayer, module = found.groups()
    if outside:
        return str(outside)
    return f"{layer}.{sublayer}.{_OF_MODULE[sublayer].get(module, RESTS[sublayer])}"


def sublayer_of(part: str) -> str:
    """`layers.3.attn.qkv` is in `layers.3.attn`; what is in no sublayer stays as it is."""
    found = _PART.match(part)
    return found[1] if found else part


def within_layer(part: str) -> str:
    """`layers.3.attn.qkv` is `attn.qkv` in every layer; what is in no layer stays as it is."""
    return part.split(".", 2)[-1] if part.startswith("layers.") else part


def layers_of(parts: Iterable[str]) -> list[int]:
    """The layers that parts belong to, from the first."""
    return sorted({int(part.split(".")[1]) for part in parts if part.startswith("layers.")})


def layer_parts(layer: int) -> list[str]:
    """Every part of one layer, in the order in which they are computed."""
    return [f"layers.{layer}.{sublayer}.{part}" for sublayer, parts in SUBLAYERS.items() for part in parts]
