"""Rotary positions and attention of the torch decoder, as kernels that are passed to it."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from models.rotary import amplitude, inverse_periods
from models.spec import AttentionWindow, Cap, DecoderSpec, Full, LayerSpec, Rotary, SoftCap


@runtime_checkable
class Kernels(Protocol):
    """Rotates heads by position and computes attention. Exported graphs use other kernels (`export.kernels`)."""

    def rotate(
        self, heads: Float[Tensor, "*batch token head head_dim"], rotary: Rotary
    ) -> Float[Tensor, "*batch token head head_dim"]: ...

    def attend(
        self,
        layer: int,
        layer_spec: LayerSpec,
        query: Float[Tensor, "*batch token head head_dim"],
        key: Float[Tensor, "*batch token kv_head head_dim"],
        value: Float[Tensor, "*batch token kv_head head_dim"],
    ) -> Float[Tensor, "*batch token head head_dim"]: ...


@runtime_checkable
class Probe(Protocol):
    """Called with the value of every site; returns the value with which the decoder continues."""

    def __call__(self, site: str, value: Tensor) -> Tensor: ...


def blind(site: str, value: Tensor) -> Tensor:
    """The probe that does nothing, for timed runs."""
    return value


def rotate(
    heads: Float[Tensor, "*batch token head head_dim"],
    positions: Int[Tensor, "*#batch token"],
    rotary: Rotary,
) -> Float[Tensor, "*batch token head head_dim"]:
    """Rotates feature i of each head with feature i + features/2, the layout of Hugging Face."""
    periods = torch.from_numpy(inverse_periods(rotary)).to(positions.device)
    angle = (positions[..., None].float() * periods)[..., None, :]
    cos, sin = (amplitude(rotary) * part.to(heads.dtype) for part in (angle.cos(), angle.sin()))
    half, rotated = rotary.features // 2, rotary.features
    first, second, rest = heads[..., :half], heads[..., half:rotated], heads[..., rotated:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin, rest], dim=-1)


def visible(
    positions: Int[Tensor, " token"], past: Int[Tensor, " past"], window: AttentionWindow
) -> Bool[Tensor, "token past"]:
    """Which keys each token can attend to: itself and earlier ones within the layer's attention window."""
    causal = past[None, :] <= positions[:, None]
    if isinstance(window, Full):
        return causal
    return causal & (past[None, :] > positions[:, None] - window.tokens)


def bound(cap: Cap, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Applies a soft cap to scores or logits, if there is one."""
    return cap.limit * torch.tanh(x / cap.limit) if isinstance(cap, SoftCap) else x


def capped(
    query: Float[Tensor, "*batch head token head_dim"],
    key: Float[Tensor, "*batch kv_head past head_dim"],
    value: Float[Tensor, "*batch kv_head past head_dim"],
    seen: Bool[Tensor, "token past"],
    cap: Cap,
) -> Float[Tensor, "*batch head token head_dim"]:
    """Attention with a soft cap on scaled scores, which torch's own attention lacks."""
    sharing = query.shape[-3] // key.shape[-3]
    key, value = key.repeat_interleave(sharing, -3), value.repeat_interleave(sharing, -3)
    score = bound(cap, query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5)
    return torch.softmax(score.masked_fill(~seen, float("-inf")), dim=-1) @ value


class FullPass:
    """Attention over the tokens of one pass, without a cache: for training and teacher forcing."""

    def __init__(self, length: int, device: torch.device | None = None) -> None:
        self.positions = torch.arange(length, device=device)

    def rotate(self, heads: Tensor, rotary: Rotary) -> Tensor:
        return rotate(heads, self.positions, rotary)

    def attend(self, layer: int, layer_spec: LayerSpec, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        full = isinstance(layer_spec.window, Full)
        if isinstance(layer_spec.score_cap, SoftCap):
            seen = visible(self.positions, self.positions, layer_spec.window)
            query, key, value = (side.transpose(-3, -2) for side in (query, key, value))
            return capped(query, key, value, seen, layer_spec.score_cap).transpose(-3, -2)
        mixed = F.scaled_dot_product_attention(
            query.transpose(-3, -2),
            key.transpose(-3, -2),
            value.transpose(-3, -2),
            attn_mask=None if full else visible(self.positions, self.positions, layer_spec.window),
            is_causal=full,
            enable_gqa=query.shape[-2] != key.shape[-2],
        )
        return mixed.transpose(-3, -2)


class Cached:
    """Attention over all tokens fed so far, with keys and values in a cache of fixed capacity.

    Attributes:
        fed: Number of tokens in the cache.
    """

    def __init__(self, spec: DecoderSpec, capacity: int, dtype: torch.dtype = torch.float32) -> None:
        shape = (spec.n_layers, spec.n_kv_heads, capacity, spec.head_dim)
        self.keys, self.values = torch.zeros(shape, dtype=dtype), torch.zeros(shape, dtype=dtype)
        self.fed = 0
        self.positions = torch.arange(0)

    @property
    def capacity(self) -> int:
        """Maximum number of tokens in the cache."""
        return self.keys.shape[2]

    def grow(self, capacity: int) -> None:
        """Grows the cache to `capacity` tokens and keeps its content."""
        more = (*self.keys.shape[:2], capacity - self.capacity, self.keys.shape[3])
        self.keys = torch.cat([self.keys, self.keys.new_zeros(more)], dim=2)
        self.values = torch.cat([self.values, self.values.new_zeros(more)], dim=2)

    def begin(self, tokens: int) -> None:
        """Starts a pass over the next `tokens` tokens."""
        self.positions = torch.arange(self.fed, self.fed + tokens)

    def finish(self) -> None:
        """Ends the pass: its tokens count as fed."""
        self.fed += len(self.positions)

    def rotate(self, heads: Tensor, rotary: Rotary) -> Tensor:
        return rotate(heads, self.positions, rotary)

    def attend(self, layer: int, layer_spec: LayerSpec, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        end = self.fed + len(self.positions)
        self.keys[layer, :, self.fed : end] = key.transpose(0, 1)
        self.values[layer, :, self.fed : end] = value.transpose(0, 1)
        seen = visible(self.positions, torch.arange(end), layer_spec.window)
        keys, values = self.keys[layer, :, :end], self.values[layer, :, :end]
        if isinstance(layer_spec.score_cap, SoftCap):
            return capped(query.transpose(0, 1), keys, values, seen, layer_spec.score_cap).transpose(0, 1)
        mixed = F.scaled_dot_product_attention(
            query.transpose(0, 1)[None],
            keys[None],
            values[None],
            attn_mask=seen,
            enable_gqa=query.shape[-2] != key.shape[-2],
        )
        return mixed[0].transpose(0, 1)
