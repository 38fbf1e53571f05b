"""A tiny decoder whose matrices are quantized in many schemes, as in GGUF files and GPTQ checkpoints."""

from dataclasses import replace

from models.checkpoint import Checkpoint
from models.parameters import parameter_shapes
from models.precision import Scheme, Zero
from models.quantized_file import matrices
from models.spec import DecoderSpec, LayerSpec, MoE
from tests.quantized_matrices import quantized_checkpoint, random_matrix
from tests.tiny import TINY_SPECS, tiny_weights

Q4_0, Q4_K, Q5_K = Scheme(4, 32, Zero.MIDDLE), Scheme(4, 32, Zero.OFFSET), Scheme(5, 32, Zero.OFFSET)
Q2_K, Q3_K, Q6_K = Scheme(2, 16, Zero.OFFSET), Scheme(3, 16, Zero.MIDDLE), Scheme(6, 16, Zero.MIDDLE)
Q8_0, MLX8 = Scheme(8, 32, Zero.MIDDLE), Scheme(8, 64, Zero.OFFSET)
GPTQ, ACT_ORDER = Scheme(4, 64, Zero.WHOLE), Scheme(4, 32, Zero.WHOLE, ordered=True)
ORDERED8 = Scheme(8, 32, Zero.WHOLE, ordered=True)

_QKV = ("attn.query", "attn.key", "attn.value")
_CHOSEN = {
    0: dict.fromkeys(_QKV, Q4_K) | {"attn.out": Q5_K, "ffn.experts.gate_up": Q4_K, "ffn.experts.down": Q6_K},
    1: dict.fromkeys(_QKV, Q6_K) | {"attn.out": ACT_ORDER, "ffn.gate": Q2_K, "ffn.up": Scheme(4, 16, Zero.OFFSET)},
    2: {"attn.query": Q4_K, "attn.key": Q4_0, "attn.value": Q6_K, "attn.out": ORDERED8}
    | {"ffn.experts.gate_up": GPTQ, "ffn.experts.down": GPTQ},
}
"""Layer 0 computes experts in a loop, layer 2 in one operator. Gate and up of layer 1 have 4 bits in graphs."""

_OTHERS = (Q4_0, Q3_K, MLX8, GPTQ, Q8_0, Q5_K)


def mixed_checkpoint(tied: bool = True) -> Checkpoint:
    """Three layers: a mixture of experts, a dense FFN, and another mixture."""
    spec = _spec(tied)
    kept, shapes = tiny_weights(spec, 0), parameter_shapes(spec)
    schemes = {name: _scheme(name, place) for place, name in enumerate(matrices(spec))}
    schemes["embed.weight"] = Q6_K if tied else Scheme(5, 64, Zero.OFFSET, ordered=True)
    held = {}
    for seed, (name, scheme) in enumerate(schemes.items()):
        *stack, rows, columns = shapes[name]
        size = 0.6 if name == "embed.weight" else 0.6 / columns**0.5
        held[name] = random_matrix(scheme, rows, columns, seed, stack[0] if stack else None, size)
        del kept[name]
    return quantized_checkpoint(spec, kept, held)


def _scheme(name: str, place: int) -> Scheme:
    part = name.removesuffix(".weight")
    if part == "head":
        return MLX8
    *_, layer, part = part.split(".", 2) if part.startswith("layers.") else ("", "-1", part)
    return _CHOSEN.get(int(layer), {}).get(part, _OTHERS[place % len(_OTHERS)])


def _spec(tied: bool) -> DecoderSpec:
    """Widths that groups of 64 divide."""
    spec = TINY_SPECS["experts-in-groups-shared-and-a-dense-layer"]
    return replace(spec, d_model=64, tied=tied, layers=tuple(_wide(layer) for layer in spec.layers))


def _wide(layer: LayerSpec) -> LayerSpec:
    attention = replace(layer.attention, n_heads=4, n_kv_heads=2, head_dim=16)
    ffn = layer.ffn
    if isinstance(ffn, MoE):
        ffn = replace(ffn, expert=replace(ffn.expert, d_ff=64))
        ffn = replace(ffn, shared=replace(ffn.shared, ffn=replace(ffn.shared.ffn, d_ff=64)))
    else:
        ffn = replace(ffn, d_ff=128)
    return replace(layer, mixer=attention, ffn=ffn)
