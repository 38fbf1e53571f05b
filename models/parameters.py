"""Name and shape of every parameter of a decoder, for torch, MLX and ONNX."""

import re
from collections.abc import Iterator
from math import prod

from models.spec import (
    DecoderSpec,
    Gated,
    JointNorm,
    LayerNorm,
    LayerSpec,
    Learned,
    NoHeadNorm,
    NoNorm,
    Norm,
    Projected,
)

Shapes = dict[str, tuple[int, ...]]


def _norm(name: str, norm: Norm | NoNorm, features: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    if isinstance(norm, NoNorm):
        return
    yield f"{name}.weight", (features,)
    if isinstance(norm, LayerNorm):
        yield f"{name}.bias", (features,)


def _linear(name: str, rows: int, columns: int, bias: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (rows, columns)
    if bias:
        yield f"{name}.bias", (rows,)


def _layer(spec: DecoderSpec, layer: LayerSpec, name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    queries, keys = spec.n_heads * spec.head_dim, spec.n_kv_heads * spec.head_dim
    if layer.norms_before:
        yield from _norm(f"{name}.attn.norm", layer.norm, spec.d_model)
    yield from _linear(f"{name}.attn.query", queries, spec.d_model, layer.qkv_bias)
    yield from _linear(f"{name}.attn.key", keys, spec.d_model, layer.qkv_bias)
    yield from _linear(f"{name}.attn.value", keys, spec.d_model, layer.qkv_bias)
    yield from _linear(f"{name}.attn.out", spec.d_model, queries, layer.out_bias)
    if not isinstance(layer.head_norm, NoHeadNorm):
        joint = isinstance(layer.head_norm, JointNorm)
        yield from _norm(f"{name}.attn.query_norm", layer.head_norm.norm, queries if joint else spec.head_dim)
        yield from _norm(f"{name}.attn.key_norm", layer.head_norm.norm, keys if joint else spec.head_dim)
    if layer.norms_after:
        yield from _norm(f"{name}.attn.after", layer.norm, spec.d_model)
    if layer.norms_sum:
        yield from _norm(f"{name}.attn_sum", layer.norm, spec.d_model)
    if layer.norms_before:
        yield from _norm(f"{name}.ffn.norm", layer.norm, spec.d_model)
    if isinstance(layer.ffn, Gated):
        yield from _linear(f"{name}.ffn.gate", layer.ffn.d_ff, spec.d_model, layer.ffn.bias)
    yield from _linear(f"{name}.ffn.up", layer.ffn.d_ff, spec.d_model, layer.ffn.bias)
    yield from _linear(f"{name}.ffn.down", spec.d_model, layer.ffn.d_ff, layer.ffn.bias)
    if layer.norms_after:
        yield from _norm(f"{name}.ffn.after", layer.norm, spec.d_model)
    if layer.norms_sum:
        yield from _norm(f"{name}.ffn_sum", layer.norm, spec.d_model)


def _all(spec: DecoderSpec) -> Iterator[tuple[str, tuple[int, ...]]]:
    projected = isinstance(spec.embedded, Projected)
    yield "embed.weight", (spec.vocab_size, spec.token_width)
    if projected:
        yield "embed.project.weight", (spec.d_model, spec.token_width)
    if isinstance(spec.positions, Learned):
        yield "embed.positions", (spec.positions.length, spec.d_model)
    for index, layer in enumerate(spec.layers):
        yield from _layer(spec, layer, f"layers.{index}")
    yield from _norm("head.norm", spec.norm, spec.d_model)
    if projected:
        yield "head.project.weight", (spec.token_width, spec.d_model)
    if not spec.tied:
        yield "head.weight", (spec.vocab_size, spec.token_width)
    if spec.head_bias:
        yield "head.bias", (spec.vocab_size,)


def parameter_shapes(spec: DecoderSpec) -> Shapes:
    """All parameters in order of computation. A linear weight is (output, input); a tied head has none."""
    return dict(_all(spec))


def part_of(parameter: str) -> str:
    """A parameter's part of a layer, or of the decoder: `layers.3.attn.query.weight` belongs to `attn.query`."""
    return re.sub(r"^layers\.\d+\.|\.(weight|bias)$", "", parameter)


def parameter_count(spec: DecoderSpec) -> int:
    """Number of parameters; tied ones count once."""
    return sum(prod(shape) for shape in parameter_shapes(spec).values())
