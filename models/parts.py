"""The parts of a decoder that are timed separately, and the modules of each.

embed
layers.3.attn.norm  .qkv  .core  .out       core: positions, scores, softmax, the weighted sum
layers.3.ffn.norm   .up   .act   .down      up: the gate's product too
head
other                                       work outside all parts
"""

import re
from collections.abc import Iterable

OTHER = "other"

SUBLAYERS: dict[str, tuple[str, ...]] = {"attn": ("norm", "qkv", "core", "out"), "ffn": ("norm", "up", "act", "down")}
"""The parts of attention and of the FFN, in order of computation."""

RESTS = {"attn": "core", "ffn": "act"}
"""The part of a sublayer's work outside its modules."""

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

    `layers.3.attn.query` is in `layers.3.attn.qkv`. Work of a sublayer outside its modules is in its part of `RESTS`.
    """
    match = _PATH.match(path)
    if match is None:
        return None
    outside, layer, sublayer, module = match.groups()
    if outside:
        return str(outside)
    return f"{layer}.{sublayer}.{_OF_MODULE[sublayer].get(module, RESTS[sublayer])}"


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


def layer_parts(layer: int) -> list[str]:
    """Every part of one layer, in order of computation."""
    return [f"layers.{layer}.{sublayer}.{part}" for sublayer, parts in SUBLAYERS.items() for part in parts]
