"""How a torch decoder computes positions and attention; handed to it, so that it holds no choice itself."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from models.rotary import amplitude, inverse_periods
from models.spec import AttentionWindow, Cap, DecoderSpec, Full, LayerSpec, Rotary, SoftCap


@runtime_checkable
class Kernels(Protocol):
    """Turns heads by position and mixes values by attention. The exported graphs have kernels of their own."""

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
    """Sees the value of every site pass; returns what the decoder goes on with."""

    def __call__(self, site: str, value: Tensor) -> Tensor: ...


def blind(site: str, value: Tensor) -> Tensor:
    """The probe that watches nothing. Timed runs use this one."""
    return value


def rotate(
    heads: Float[Tensor, "*batch token head head_dim"],
    positions: Int[Tensor, "*#batch token"],
    rotary: Rotary,
) -> Float[Tensor, "*batch token head head_dim"]:
    """Turns feature i of each head together with feature i + features/2, as Hugging Face lays them out."""
    periods = torch.from_numpy(inverse_periods(rotary)).to(positions.device)
    angle = (positions[..., None].float() * periods)[..., None, :]
    cos, sin = (amplitude(rotary) * part.to(heads.dtype) for part in (angle.cos(), angle.sin()))
    half, turned = rotary.features // 2, rotary.features
    first, second, still = heads[..., :half], heads[..., half:turned], heads[..., turned:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin, still], dim=-1)


def visible(
    positions: Int[Tensor, " token"], past: Int[Tensor, " past"], window: AttentionWindow
) -> Bool[Tensor, "token past"]:
    """Which keys each token may read: itself and earlier ones, as far back as the layer reaches."""
    seen = past[None, :] <= positions[:, None]
    if isinstance(window, Full):
        return seen
    return seen & (past[None, :] > positions[:, None] - window.tokens)


def bound(cap: Cap, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Keeps scores or logits within a limit, where there is one."""
    return cap.limit * torch.tanh(x / cap.limit) if isinstance(cap, SoftCap) else x


def capped(
    query: Float[Tensor, "*batch head token head_dim"],
    key: Float[Tensor, "*batch kv_head past head_dim"],
    value: Float[Tensor, "*batch kv_head past head_dim"],
    seen: Bool[Tensor, "token past"],
    cap: Cap,
) -> Float[Tensor, "*batch head token head_dim"]:
    """Attention whose scaled scores are bounded; torch's own has no bound."""
    sharing = query.shape[-3] // key.shape[-3]
    key, value = key.repeat_interleave(sharing, -3), value.repeat_interleave(sharing, -3)
    score = bound(cap, query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5)
    return torch.softmax(score.masked_fill(~seen, float("-inf")), dim=-1) @ value


class FullPass:
    """Attention over the tokens of one pass, nothing remembered: for training and teacher forcing."""

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
    """Attention over all tokens fed so far, whose keys and values stay in a cache of fixed capacity.

    Attributes:
        fed: Tokens whose keys and values the cache holds.
    """

    def __init__(self, spec: DecoderSpec, capacity: int, dtype: torch.dtype = torch.float32) -> None:
        shape = (spec.n_layers, spec.n_kv_heads, capacity, spec.head_dim)
        self.keys, self.values = torch.zeros(shape, dtype=dtype), torch.zeros(shape, dtype=dtype)
        self.fed = 0
        self.positions = torch.arange(0)

    @property
    def capacity(self) -> int:
        """Tokens the cache has room for."""
        return self.keys.shape[2]

    def grow(self, capacity: int) -> None:
        """Makes room for `capacity` tokens; what is held stays."""
        more = (*self.keys.shape[:2], capacity - self.capacity, self.keys.shape[3])
        self.keys = torch.cat([self.keys, self.keys.new_zeros(more)], dim=2)
        self.values = torch.cat([self.values, self.values.new_zeros(more)], dim=2)

    def begin(self, tokens: int) -> None:
        """Announces a pass over the next `tokens` tokens."""
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
