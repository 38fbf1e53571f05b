"""Decoders small enough for tests that run them hundreds of times: their specs, and random weights by name.

`TINY_SPECS` holds every variant of every part at least once: norms, positions, reaches, FFNs, activations,
residual orders, shared and full heads, tied and untied heads, biases, and sizes that divide nothing.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from models.checkpoint import Checkpoint
from models.parameters import parameter_shapes
from models.sources.folder import Folder
from models.spec import (
    Activation,
    After,
    Around,
    Attention,
    Clamped,
    Clip,
    DecoderSpec,
    Full,
    Gated,
    Groups,
    HeadNorm,
    JointNorm,
    LayerNorm,
    LayerSpec,
    Learned,
    LinearScaling,
    LogScale,
    MoE,
    NoNorm,
    NoPosition,
    OfSum,
    OwnHeadNorm,
    Parallel,
    Plain,
    Projected,
    RMSNorm,
    Rotary,
    RotatedHeadNorm,
    Sequential,
    Shared,
    Sigmoid,
    Sliding,
    SoftCap,
    TopFirst,
    YarnScaling,
)


def _attention(**fields: Any) -> Attention:
    """Attention whose heads a decoder sets: see `_with_heads`."""
    return Attention(n_heads=1, n_kv_heads=1, head_dim=32, **fields)


_LLAMA = LayerSpec(
    mixer=_attention(window=Full(), position=Rotary(base=10_000.0, features=8), qkv_bias=False, out_bias=False),
    ffn=Gated(Activation.SILU, d_ff=88, bias=False),
    norm=RMSNorm(eps=1e-5),
    residual=Sequential(),
)

_ODD = LayerSpec(
    mixer=_attention(window=Full(), position=Rotary(base=500_000.0, features=10), qkv_bias=True, out_bias=False),
    ffn=Gated(Activation.GELU, d_ff=43, bias=True),
    norm=RMSNorm(eps=1e-6),
    residual=Sequential(),
)

_GPT2 = LayerSpec(
    mixer=_attention(window=Full(), position=NoPosition(), qkv_bias=True, out_bias=True),
    ffn=Plain(Activation.GELU_TANH, d_ff=96, bias=True),
    norm=LayerNorm(eps=1e-5),
    residual=Sequential(),
)

_NEOX = LayerSpec(
    mixer=_attention(window=Full(), position=Rotary(base=10_000.0, features=4), qkv_bias=True, out_bias=True),
    ffn=Plain(Activation.GELU, d_ff=60, bias=True),
    norm=LayerNorm(eps=1e-5),
    residual=Parallel(),
)

_FABLE = LayerSpec(
    mixer=_attention(window=Full(), position=Rotary(base=10_000.0, features=16), qkv_bias=True, out_bias=True),
    ffn=Plain(Activation.RELU, d_ff=128, bias=True),
    norm=LayerNorm(eps=1e-5),
    residual=Sequential(),
)

_NEAR = LayerSpec(
    mixer=_attention(window=Sliding(3), position=Rotary(base=10_000.0, features=8), qkv_bias=False, out_bias=True),
    ffn=Gated(Activation.RELU, d_ff=40, bias=False),
    norm=RMSNorm(eps=1e-5),
    residual=Sequential(),
)

_FAR = LayerSpec(
    mixer=_attention(window=Full(), position=NoPosition(), qkv_bias=True, out_bias=False),
    ffn=Plain(Activation.SILU, d_ff=56, bias=False),
    norm=LayerNorm(eps=1e-6),
    residual=Parallel(),
)

_QWEN = LayerSpec(
    mixer=_attention(
        window=Sliding(4),
        position=Rotary(
            base=50.0,
            features=12,
            scaling=YarnScaling(factor=4.0, original=16, fast=4.0, slow=0.5, amplitude=1.14, whole=True),
        ),
        qkv_bias=True,
        out_bias=False,
        head_norm=HeadNorm(RMSNorm(eps=1e-6)),
    ),
    ffn=Gated(Activation.GELU_TANH, d_ff=44, bias=False),
    norm=RMSNorm(eps=1e-6),
    residual=Parallel(),
)

_GEMMA = LayerSpec(
    mixer=_attention(
        window=Sliding(3),
        position=Rotary(base=1_000.0, features=8, scaling=LinearScaling(factor=2.0)),
        qkv_bias=False,
        out_bias=False,
        score_cap=SoftCap(1.5),
    ),
    ffn=Gated(Activation.GELU_TANH, d_ff=40, bias=False),
    norm=RMSNorm(eps=1e-6),
    residual=Sequential(),
    placement=Around(),
)

_OLMO = LayerSpec(
    mixer=_attention(
        window=Full(),
        position=Rotary(base=10_000.0, features=10),
        qkv_bias=False,
        out_bias=True,
        head_norm=JointNorm(RMSNorm(eps=1e-5)),
        score_cap=SoftCap(2.0),
    ),
    ffn=Gated(Activation.SILU, d_ff=37, bias=False),
    norm=RMSNorm(eps=1e-5),
    residual=Sequential(),
    placement=After(),
)

_HUNYUAN = LayerSpec(
    mixer=_attention(
        window=Full(),
        position=Rotary(base=1_000.0, features=16),
        qkv_bias=False,
        out_bias=True,
        head_norm=RotatedHeadNorm(RMSNorm(eps=1e-5)),
        query_scale=LogScale(beta=0.4, original=6),
    ),
    ffn=Gated(Activation.SILU, d_ff=45, bias=False),
    norm=LayerNorm(eps=1e-5, bias=False),
    residual=Parallel(),
)

_MINISTRAL = LayerSpec(
    mixer=_attention(
        head_norm=OwnHeadNorm(LayerNorm(eps=1e-5, bias=False)),
        window=Sliding(9),
        position=Rotary(base=10_000.0, features=16),
        qkv_bias=False,
        out_bias=False,
        query_scale=LogScale(beta=0.2, original=5),
    ),
    ffn=Plain(Activation.RELU2, d_ff=40, bias=True),
    norm=RMSNorm(eps=1e-5),
    residual=Sequential(),
)

_OPT = LayerSpec(
    mixer=_attention(window=Full(), position=NoPosition(), qkv_bias=True, out_bias=True),
    ffn=Plain(Activation.RELU, d_ff=72, bias=True),
    norm=LayerNorm(eps=1e-5),
    residual=Sequential(),
    placement=OfSum(),
)


_MIXTURE = replace(
    _LLAMA,
    ffn=MoE(
        n_experts=6,
        top_k=2,
        expert=Gated(Activation.RELU, d_ff=24, bias=False),
        router=Sigmoid(corrected=True, renormalized=True, eps=1e-6, scale=1.5),
        groups=Groups(count=3, kept=2, best=2),
        shared=Shared(Gated(Activation.RELU, d_ff=16, bias=False), gated=True),
    ),
)

_SUNK = LayerSpec(
    mixer=_attention(
        window=Sliding(4),
        position=Rotary(base=1_000.0, features=8),
        qkv_bias=True,
        out_bias=True,
        clip=Clip(1.5),
        sinks=True,
    ),
    ffn=MoE(
        n_experts=5,
        top_k=3,
        expert=Clamped(Activation.SILU, d_ff=13, bias=True, limit=1.0),
        router=TopFirst(),
        router_bias=True,
    ),
    norm=RMSNorm(eps=1e-5),
    residual=Sequential(),
)


def with_heads(spec: DecoderSpec, n_heads: int, n_kv_heads: int) -> DecoderSpec:
    """The decoder with as many heads in every layer."""
    return replace(spec, layers=_with_heads(spec.layers, n_heads, n_kv_heads, spec.layers[0].attention.head_dim))


def _with_heads(layers: tuple[LayerSpec, ...], n_heads: int, n_kv_heads: int, head_dim: int) -> tuple[LayerSpec, ...]:
    heads = {"n_heads": n_heads, "n_kv_heads": n_kv_heads, "head_dim": head_dim}
    return tuple(replace(layer, mixer=replace(layer.attention, **heads)) for layer in layers)


TINY_SPECS: dict[str, DecoderSpec] = {
    "llama-shared-heads-tied": DecoderSpec(
        vocab_size=96,
        d_model=32,
        context=64,
        positions=NoPosition(),
        layers=_with_heads((_LLAMA,) * 3, 4, 2, 8),
        norm=RMSNorm(eps=1e-5),
        tied=True,
    ),
    "llama-one-kv-head-odd-sizes": DecoderSpec(
        vocab_size=97,
        d_model=30,
        context=50,
        positions=NoPosition(),
        layers=_with_heads((_ODD,) * 2, 3, 1, 10),
        norm=RMSNorm(eps=1e-6),
        tied=False,
    ),
    "gpt2-learned-positions-tied": DecoderSpec(
        vocab_size=101,
        d_model=24,
        context=48,
        positions=Learned(length=48),
        layers=_with_heads((_GPT2,) * 2, 3, 3, 8),
        norm=LayerNorm(eps=1e-5),
        tied=True,
    ),
    "neox-partial-rotary-parallel": DecoderSpec(
        vocab_size=90,
        d_model=36,
        context=64,
        positions=NoPosition(),
        layers=_with_heads((_NEOX,) * 2, 3, 3, 12),
        norm=LayerNorm(eps=1e-5),
        tied=False,
    ),
    "neox-full-rotary-relu": DecoderSpec(
        vocab_size=128,
        d_model=32,
        context=64,
        positions=NoPosition(),
        layers=_with_heads((_FABLE,) * 3, 2, 2, 16),
        norm=LayerNorm(eps=1e-5),
        tied=True,
    ),
    "layers-that-differ": DecoderSpec(
        vocab_size=80,
        d_model=24,
        context=40,
        positions=NoPosition(),
        layers=_with_heads((_NEAR, _FAR, _NEAR), 4, 2, 8),
        norm=RMSNorm(eps=1e-5),
        tied=False,
    ),
    "normed-heads-scaled-rotary-head-bias": DecoderSpec(
        vocab_size=88,
        d_model=32,
        context=64,
        positions=NoPosition(),
        layers=_with_heads((_QWEN,) * 2, 4, 2, 16),
        norm=LayerNorm(eps=1e-5),
        tied=False,
        head_bias=True,
    ),
    "norms-around-caps": DecoderSpec(
        vocab_size=70,
        d_model=32,
        context=48,
        positions=NoPosition(),
        layers=_with_heads((_GEMMA, replace(_GEMMA, mixer=replace(_GEMMA.attention, window=Full()))), 4, 2, 8),
        norm=RMSNorm(eps=1e-6),
        tied=True,
        logit_cap=SoftCap(4.0),
    ),
    "norms-after-joint-caps-odd-sizes": DecoderSpec(
        vocab_size=75,
        d_model=30,
        context=48,
        positions=NoPosition(),
        layers=_with_heads((_OLMO,) * 2, 3, 1, 10),
        norm=RMSNorm(eps=1e-5),
        tied=False,
    ),
    "rotation-before-norms-scaled-queries": DecoderSpec(
        vocab_size=84,
        d_model=32,
        context=48,
        positions=NoPosition(),
        layers=_with_heads((_HUNYUAN, _MINISTRAL), 4, 2, 16),
        norm=LayerNorm(eps=1e-5, bias=False),
        tied=True,
    ),
    "normed-sums-projected-embedding-tied": DecoderSpec(
        vocab_size=92,
        d_model=32,
        context=48,
        positions=Learned(length=48),
        layers=_with_heads((_OPT,) * 2, 4, 4, 8),
        norm=NoNorm(),
        tied=True,
        embedded=Projected(width=20),
    ),
    "experts-in-groups-shared-and-a-dense-layer": DecoderSpec(
        vocab_size=96,
        d_model=32,
        context=48,
        positions=NoPosition(),
        layers=_with_heads((_MIXTURE, _LLAMA, _MIXTURE), 4, 2, 8),
        norm=RMSNorm(eps=1e-5),
        tied=True,
    ),
    "clamped-experts-sinks-odd-sizes": DecoderSpec(
        vocab_size=85,
        d_model=30,
        context=48,
        positions=NoPosition(),
        layers=_with_heads((_SUNK, replace(_SUNK, mixer=replace(_SUNK.attention, window=Full()))), 3, 1, 8),
        norm=RMSNorm(eps=1e-5),
        tied=False,
    ),
}
"""Specs by a name that says what is special about each; hand them to `pytest.mark.parametrize`."""


def _draw(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    noise = np.random.default_rng([seed, crc32(name.encode())]).standard_normal(shape, dtype=np.float32)
    part = name.removeprefix("layers.").split(".", 1)[-1]
    if name.endswith(("norm.weight", "after.weight", "sum.weight")) or ".norms." in name:
        return 1 + np.float32(0.1) * noise
    if name.endswith(".bias"):
        return np.float32(0.1) * noise
    if name == "embed.weight":
        return np.float32(0.5) * noise
    if name == "embed.positions":
        return np.float32(0.2) * noise
    sharp = np.float32(2.0 if part in ("attn.query.weight", "attn.key.weight") or name == "head.weight" else 1.0)
    return sharp * noise / np.float32(shape[-1]) ** np.float32(0.5)


def tiny_weights(spec: DecoderSpec, seed: int) -> dict[str, np.ndarray]:
    """Random float32 weights: activations stay near 1, attention is uneven, logits differ by several units.

    Each depends only on its name, its shape and the seed.
    """
    return {name: _draw(name, shape, seed) for name, shape in parameter_shapes(spec).items()}


class FakeCheckpoint(Checkpoint):
    """A checkpoint from memory: nothing lies in its folder, whose last part is its name."""

    def __init__(
        self,
        spec: DecoderSpec,
        weights: Mapping[str, np.ndarray],
        folder: Path = Path("tiny"),
        name: str | None = None,
    ) -> None:
        super().__init__(Folder(folder if name is None else folder / name), spec, weights)


def tiny_checkpoint(name: str, seed: int = 0) -> FakeCheckpoint:
    """One of `TINY_SPECS` with random weights."""
    return FakeCheckpoint(TINY_SPECS[name], tiny_weights(TINY_SPECS[name], seed), name=name)
