"""Sites: named values in a decoder that can be recorded and edited. Published names never change."""

from dataclasses import dataclass
from math import prod

from models.errors import MisuseError
from models.spec import DecoderSpec

PARTS: dict[str, tuple[str, ...]] = {
    "input": ("token", "model"),  # residual stream before the layer
    "attn.query": ("token", "head", "head_dim"),  # after rotation
    "attn.key": ("past", "kv_head", "head_dim"),  # after rotation
    "attn.value": ("past", "kv_head", "head_dim"),
    "attn.heads": ("token", "head", "head_dim"),  # output of each head, before the output projection
    "attn.output": ("token", "model"),  # attention output added to the residual stream
    "ffn.neurons": ("token", "neuron"),  # input of the down projection
    "ffn.output": ("token", "model"),  # FFN output added to the residual stream
    "output": ("token", "model"),  # residual stream after the layer
}
"""The sites of one layer and their axes, in order of computation."""

LOGITS = "logits"
"""Name of the logits, (token, vocab)."""


@dataclass(frozen=True)
class Site:
    """One site: `layers.3.attn.query` is part `attn.query` of layer 3; `logits` has no layer.

    Attributes:
        axes: Name of each dimension.
        row_shape: Sizes of all axes after the first; one row is one token.
    """

    name: str
    layer: int | None
    axes: tuple[str, ...]
    row_shape: tuple[int, ...]

    @property
    def row_size(self) -> int:
        """Numbers per token."""
        return prod(self.row_shape)


def layer_site(layer: int, part: str) -> str:
    """`layer_site(3, "attn.query")` is `"layers.3.attn.query"`."""
    return f"layers.{layer}.{part}"


def layer_of(site: str) -> int | None:
    """`layer_of("layers.3.attn.query")` is 3; the logits have no layer."""
    return None if site == LOGITS else int(site.split(".")[1])


def place_of(site: str) -> str:
    """The place of a site: `layers.2.output` for `layers.3.input`, which are two names of one value."""
    layer = layer_of(site)
    return layer_site(layer - 1, "output") if layer and site == layer_site(layer, "input") else site


def sites_of(spec: DecoderSpec) -> dict[str, Site]:
    """Every site of a decoder by name, in order of computation."""
    sites: dict[str, Site] = {}
    for index, layer in enumerate(spec.layers):
        size = {
            "model": spec.d_model,
            "head": spec.n_heads,
            "kv_head": spec.n_kv_heads,
            "head_dim": spec.head_dim,
            "neuron": layer.ffn.d_ff,
        }
        for part, axes in PARTS.items():
            name = layer_site(index, part)
            sites[name] = Site(name, index, axes, tuple(size[axis] for axis in axes[1:]))
    sites[LOGITS] = Site(LOGITS, None, ("token", "vocab"), (spec.vocab_size,))
    return sites


def find_site(spec: DecoderSpec, name: str) -> Site:
    """The site called `name`. Raises MisuseError with the known names for an unknown one."""
    known = sites_of(spec)
    if name not in known:
        raise MisuseError(
            f"no site '{name}' in this decoder of {spec.n_layers} layers; sites are '{LOGITS}' and "
            f"'layers.<0..{spec.n_layers - 1}>.<part>' with part one of {', '.join(PARTS)}"
        )
    return known[name]
