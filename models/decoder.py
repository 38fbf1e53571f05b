"""The decoder in torch: ONNX graphs are exported from it, and MLX reimplements it.

Read top to bottom: norm, attention, FFN, block, embedding, head, decoder. One block:

    Sequential                              Parallel
      x ──┬── attn.norm ─ attention ──┐       x ──┬── attn.norm ─ attention ──┐
          └──────────────(+)──────────┘           ├── ffn.norm ── FFN ────────┤
      m ──┬── ffn.norm ── FFN ────────┐           └───────────(+)─────────────┘
          └──────────────(+)──────────┘
"""

from functools import singledispatch

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from models import spec as kinds
from models.kernels import Kernels, Probe, blind, bound
from models.moe import Mixture
from models.sites import ATTENTION_OUTPUT, FFN_OUTPUT, HEADS, KEY, LOGITS, NEURONS, QUERY, SINK, VALUE, layer_site
from models.spec import DecoderSpec, LayerSpec
from models.sublayers.sublayer import Sublayer
from models.torch_parts import Dense, norm_of


class OwnHeadNorms(nn.Module):
    """A separate norm for every head."""

    def __init__(self, norm: kinds.Norm, heads: int, features: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(norm_of(norm, features) for _ in range(heads))

    def forward(self, x: Float[Tensor, "*batch token all_heads"]) -> Float[Tensor, "*batch token all_heads"]:
        heads = x.chunk(len(self.norms), dim=-1)
        return torch.cat([norm(head) for norm, head in zip(self.norms, heads, strict=True)], dim=-1)


def head_norm_of(norms: kinds.HeadNorms, heads: int, head_dim: int) -> nn.Module | None:
    """The module for norms of queries or of keys."""
    match norms:
        case kinds.NoHeadNorm():
            return None
        case kinds.JointNorm(norm):
            return norm_of(norm, heads * head_dim)
        case kinds.OwnHeadNorm(norm):
            return OwnHeadNorms(norm, heads, head_dim)
        case kinds.HeadNorm(norm) | kinds.RotatedHeadNorm(norm):
            return norm_of(norm, head_dim)


def scaled(
    query: Float[Tensor, "*batch token head head_dim"], scale: kinds.QueryScale, positions: Int[Tensor, "*#batch token"]
) -> Float[Tensor, "*batch token head head_dim"]:
    """Multiplies queries by the factor of their position, if there is one."""
    if isinstance(scale, kinds.SameScale):
        return query
    factor = 1 + scale.beta * torch.log(1 + (positions // scale.original).float())
    return query * factor[..., None, None].to(query.dtype)


class Attention(nn.Module):
    """Attention: each token gets a weighted sum of the values of the tokens it attends to."""

    def __init__(self, mixer: kinds.Attention, spec: DecoderSpec, layer_spec: LayerSpec, layer: int) -> None:
        super().__init__()
        self.kind, self.layer = mixer, layer
        queries, keys = mixer.query_width, mixer.key_width
        self.norm = norm_of(layer_spec.norm, spec.d_model) if layer_spec.norms_before else None
        self.query = nn.Linear(spec.d_model, queries, mixer.qkv_bias)
        self.key = nn.Linear(spec.d_model, keys, mixer.qkv_bias)
        self.value = nn.Linear(spec.d_model, keys, mixer.qkv_bias)
        self.out = nn.Linear(queries, spec.d_model, mixer.out_bias)
        self.query_norm = head_norm_of(mixer.head_norm, mixer.n_heads, mixer.head_dim)
        self.key_norm = head_norm_of(mixer.head_norm, mixer.n_kv_heads, mixer.head_dim)
        self.norms_all_heads = isinstance(mixer.head_norm, kinds.JointNorm | kinds.OwnHeadNorm)
        self.rotates_first = isinstance(mixer.head_norm, kinds.RotatedHeadNorm)
        self.sinks = nn.Parameter(torch.empty(mixer.n_heads)) if mixer.sinks else None
        self.after = norm_of(layer_spec.norm, spec.d_model) if layer_spec.norms_after else None

    def forward(
        self, x: Float[Tensor, "*batch token model"], kernels: Kernels, see: Probe
    ) -> Float[Tensor, "*batch token model"]:
        x = x if self.norm is None else self.norm(x)
        first = (None, None) if self.rotates_first else (self.query_norm, self.key_norm)
        query, key = (self._heads(each(x), norm) for each, norm in zip((self.query, self.key), first, strict=True))
        value = self._heads(self.value(x), None)
        if isinstance(self.kind.position, kinds.Rotary):
            query = kernels.rotate(query, self.kind.position)
            key = kernels.rotate(key, self.kind.position)
        if self.rotates_first and self.query_norm is not None and self.key_norm is not None:
            query, key = self.query_norm(query), self.key_norm(key)
        query = scaled(query, self.kind.query_scale, kernels.positions)
        query = see(layer_site(self.layer, QUERY), query)
        key = see(layer_site(self.layer, KEY), key)
        value = see(layer_site(self.layer, VALUE), value)
        if self.sinks is not None:
            see(layer_site(self.layer, SINK), self.sinks.expand(*query.shape[:-1]))
        mixed = kernels.attend(self.layer, self.kind, query, key, value, self.sinks)
        mixed = see(layer_site(self.layer, HEADS), mixed)
        output = self.out(mixed.flatten(-2))
        return see(layer_site(self.layer, ATTENTION_OUTPUT), output if self.after is None else self.after(output))

    def _heads(
        self, projected: Float[Tensor, "*batch token all_heads"], norm: nn.Module | None
    ) -> Float[Tensor, "*batch token head head_dim"]:
        normed: Tensor = norm(projected) if norm is not None and self.norms_all_heads else projected
        if isinstance(self.kind.clip, kinds.Clip):
            normed = normed.clamp(-self.kind.clip.limit, self.kind.clip.limit)
        heads: Tensor = normed.unflatten(-1, (-1, self.kind.head_dim))  # type: ignore[no-untyped-call]
        return norm(heads) if norm is not None and not self.norms_all_heads else heads


class FFN(Dense):
    """Feed-forward network: at each position, active neurons add their output vectors."""

    def __init__(self, ffn: kinds.Dense, spec: DecoderSpec, layer_spec: LayerSpec, layer: int) -> None:
        super().__init__(ffn, spec.d_model, norm_of(layer_spec.norm, spec.d_model) if layer_spec.norms_before else None)
        self.layer = layer
        self.after = norm_of(layer_spec.norm, spec.d_model) if layer_spec.norms_after else None

    def forward(
        self, x: Float[Tensor, "*batch token model"], kernels: Kernels, see: Probe
    ) -> Float[Tensor, "*batch token model"]:
        x = x if self.norm is None else self.norm(x)
        output = self.written(x, layer_site(self.layer, NEURONS), see)
        return see(layer_site(self.layer, FFN_OUTPUT), output if self.after is None else self.after(output))


@singledispatch
def module_of(sublayer: Sublayer, spec: DecoderSpec, layer_spec: LayerSpec, layer: int) -> nn.Module:
    """The module of a sublayer. Each kind registers its own."""
    raise NotImplementedError(f"no module for {type(sublayer).__name__}")


module_of.register(kinds.Attention, Attention)
module_of.register(kinds.Dense, FFN)
module_of.register(kinds.MoE, Mixture)


class Block(nn.Module):
    """One layer: attention and FFN, both added to the residual stream."""

    def __init__(self, spec: DecoderSpec, layer_spec: LayerSpec, layer: int) -> None:
        super().__init__()
        self.residual, self.layer = layer_spec.residual, layer
        self.attn = module_of(layer_spec.mixer, spec, layer_spec, layer)
        self.ffn = module_of(layer_spec.ffn, spec, layer_spec, layer)
        self.attn_sum = norm_of(layer_spec.norm, spec.d_model) if layer_spec.norms_sum else None
        self.ffn_sum = norm_of(layer_spec.norm, spec.d_model) if layer_spec.norms_sum else None

    def forward(
        self, x: Float[Tensor, "*batch token model"], kernels: Kernels, see: Probe
    ) -> Float[Tensor, "*batch token model"]:
        x = see(layer_site(self.layer, "input"), x)
        mid = x + self.attn(x, kernels, see)
        mid = mid if self.attn_sum is None else self.attn_sum(mid)
        match self.residual:
            case kinds.Sequential():
                output = mid + self.ffn(mid, kernels, see)
            case kinds.Parallel():
                output = mid + self.ffn(x, kernels, see)
        output = output if self.ffn_sum is None else self.ffn_sum(output)
        return see(layer_site(self.layer, "output"), output)


class Embedding(nn.Module):
    """A vector for each token, plus a vector for its position if positions are learned."""

    def __init__(self, spec: DecoderSpec) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(spec.vocab_size, spec.token_width))
        projected = isinstance(spec.embedded, kinds.Projected)
        self.project = nn.Linear(spec.token_width, spec.d_model, bias=False) if projected else None
        self.positions: nn.Parameter | None = None
        if isinstance(spec.positions, kinds.Learned):
            self.positions = nn.Parameter(torch.empty(spec.positions.length, spec.d_model))

    def forward(
        self, ids: Int[Tensor, "*batch token"], positions: Int[Tensor, "*#batch token"]
    ) -> Float[Tensor, "*batch token model"]:
        x = F.embedding(ids, self.weight)
        x = x if self.project is None else self.project(x)
        return x if self.positions is None else x + F.embedding(positions, self.positions)


class Head(nn.Module):
    """Computes next-token logits from the residual stream. A tied head uses the embedding's weights."""

    def __init__(self, spec: DecoderSpec) -> None:
        super().__init__()
        self.norm = norm_of(spec.norm, spec.d_model)
        projected = isinstance(spec.embedded, kinds.Projected)
        self.project = nn.Linear(spec.d_model, spec.token_width, bias=False) if projected else None
        self.weight = None if spec.tied else nn.Parameter(torch.empty(spec.vocab_size, spec.token_width))
        self.bias = nn.Parameter(torch.empty(spec.vocab_size)) if spec.head_bias else None
        self.cap = spec.logit_cap

    def read(self, x: Float[Tensor, "*batch token model"]) -> Float[Tensor, "*batch token width"]:
        """The normed residual stream in the width of token vectors."""
        x = self.norm(x)
        return x if self.project is None else self.project(x)

    def forward(
        self, x: Float[Tensor, "*batch token model"], embedding: Float[Tensor, "vocab width"] | None
    ) -> Float[Tensor, "*batch token vocab"]:
        weight = embedding if self.weight is None else self.weight
        assert weight is not None, "a tied head needs the embedding's weights"
        return bound(self.cap, F.linear(self.read(x), weight, self.bias))


class Decoder(nn.Module):
    """A whole decoder. Parameters are named as `models.parameters.parameter_shapes` lists them."""

    def __init__(self, spec: DecoderSpec) -> None:
        super().__init__()
        self.spec = spec
        self.embed = Embedding(spec)
        self.layers = nn.ModuleList(Block(spec, layer, index) for index, layer in enumerate(spec.layers))
        self.head = Head(spec)

    def stream(
        self,
        ids: Int[Tensor, "*batch token"],
        positions: Int[Tensor, "*#batch token"],
        kernels: Kernels,
        see: Probe = blind,
    ) -> Float[Tensor, "*batch token model"]:
        """The residual stream after the last layer."""
        x: Tensor = self.embed(ids, positions)
        for block in self.layers:
            x = block(x, kernels, see)
        return x

    def logits(self, x: Float[Tensor, "*batch token model"], see: Probe = blind) -> Float[Tensor, "*batch token vocab"]:
        """Logits of the next token for each row of the residual stream."""
        return see(LOGITS, self.head(x, self.embed.weight))

    def forward(
        self,
        ids: Int[Tensor, "*batch token"],
        positions: Int[Tensor, "*#batch token"],
        kernels: Kernels,
        see: Probe = blind,
    ) -> Float[Tensor, "*batch token vocab"]:
        return self.logits(self.stream(ids, positions, kernels, see), see)
