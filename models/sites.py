"""The named places in a decoder whose values can be watched and edited. Names never change once published."""

from dataclasses import dataclass
from math import prod

from models.errors import MisuseError
from models.spec import DecoderSpec

PARTS: dict[str, tuple[str, ...]] = {
    "input": ("token", "model"),  # the residual stream that enters the layer
    "attn.query": ("token", "head", "head_dim"),  # after position
    "attn.key": ("past", "kv_head", "head_dim"),  # after position
    "attn.value": ("past", "kv_head", "head_dim"),
    "attn.heads": ("token", "head", "head_dim"),  # what each head read, before the output projection joins them
    "attn.output": ("token", "model"),  # what attention adds to the residual stream
    "ffn.neurons": ("token", "neuron"),  # what enters the down projection
    "ffn.output": ("token", "model"),  # what the FFN adds to the residual stream
    "output": ("token", "model"),  # the residual stream that leaves the layer
}
"""The sites of one layer and their axes, in the order in which they are computed."""

LOGITS = "logits"
"""(token, vocab), before the softmax."""


@dataclass(frozen=True)
class Site:
    """One place: `layers.3.attn.query` is part `attn.query` of layer 3; `logits` has no layer.

    Attributes:
        axes: What each dimension counts.
        row_shape: Sizes of all axes after the first; one row is one token.
    """

    name: str
    layer: int | None
    axes: tuple[str, ...]
    row_shape: tuple[int, ...]

    @property
    def row_size(self) -> int:
        """Numbers that one token adds."""
        return prod(self.row_shape)


def layer_site(layer: int, part: str) -> str:
    """`layer_site(3, "attn.query")` is `"layers.3.attn.query"`."""
    return f"layers.{layer}.{part}"


def layer_of(site: str) -> int | None:
    """`layer_of("layers.3.attn.query")` is 3; the logits have no layer."""
    return None if site == LOGITS else int(site.split(".")[1])


def place_of(site: str) -> str:
    """Where a site's value is computed: `layers.3.input` is what `layers.2.output` is, one place with two names."""
    layer = layer_of(site)
    return layer_site(layer - 1, "output") if layer and site == layer_site(layer, "input") else site


def sites_of(spec: DecoderSpec) -> dict[str, Site]:
    """Every site of a decoder by name, in the order in which they are computed."""
    found: dict[str, Site] = {}
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
            found[name] = Site(name, index, axes, tuple(size[axis] for axis in axes[1:]))
    found[LOGITS] = Site(LOGITS, None, ("token", "vocab"), (spec.vocab_size,))
    return found


def find_site(spec: DecoderSpec, name: str) -> Site:
    """The site called `name`; an unknown name is a `MisuseError` that lists the known parts."""
    known = sites_of(spec)
    if name not in known:
        raise MisuseError(
            f"no site '{name}' in this decoder of {spec.n_layers} layers; sites are '{LOGITS}' and "
            f"'layers.<0..{spec.n_layers - 1}>.<part>' with part one of {', '.join(PARTS)}"
        )
    return known[name]
