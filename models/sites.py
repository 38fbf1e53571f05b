"""Sites: named values in a decoder that can be recorded and edited. Published names never change."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from types import MappingProxyType
from typing import Final, Literal

from models.errors import MisuseError
from models.spec import DecoderSpec, LayerSpec
from models.sublayers.sublayer import SiteAxes

SublayerName = Literal["attn", "ffn"]
"""The two sublayers in names of sites, parameters and timings."""

ATTENTION: Final = "attn"
FFN: Final = "ffn"
SUBLAYERS: tuple[SublayerName, ...] = (ATTENTION, FFN)

SUBLAYER_NAMES = {ATTENTION: "attention", FFN: "FFN"}
"""Their names for people."""

INPUT, OUTPUT = "input", "output"
"""The residual stream before and after a layer. With a sublayer's name, `output` is what the sublayer adds to it."""

QUERY, KEY, VALUE, SINK, HEADS = (f"{ATTENTION}.{part}" for part in ("query", "key", "value", "sink", "heads"))
NEURONS, SHARED_NEURONS, SHARED_GATE = (f"{FFN}.{part}" for part in ("neurons", "shared.neurons", "shared.gate"))
SCORES, ROUTER, CHOSEN = (f"{FFN}.{part}" for part in ("scores", "router", "chosen"))
ATTENTION_OUTPUT, FFN_OUTPUT = (f"{sublayer}.{OUTPUT}" for sublayer in SUBLAYERS)

LOGITS = "logits"
"""Name of the logits, (token, vocab)."""


@dataclass(frozen=True)
class Site:
    """One site: `layers.3.attn.query` is part `attn.query` of layer 3; `logits` has no layer.

    Attributes:
        axes: Name of each dimension.
        row_shape: Sizes of all axes after the first; one row is one token.
        changed_axes, changed_shape: Both for an edit, which may address what was not computed: neurons of every expert.
        editable: Whether an edit of it would change anything.
    """

    name: str
    layer: int | None
    axes: tuple[str, ...]
    row_shape: tuple[int, ...]
    changed_axes: tuple[str, ...]
    changed_shape: tuple[int, ...]
    editable: bool = True

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


def _axes_of(spec: DecoderSpec, layer: LayerSpec) -> Iterator[tuple[str, SiteAxes]]:
    """The sites of one layer in order of computation, without the layer in their names."""
    stream = SiteAxes("token", {"model": spec.d_model})
    yield INPUT, stream
    for name, sublayer in layer.sublayers.items():
        for part, axes in sublayer.sites().items():
            yield f"{name}.{part}", axes
        yield f"{name}.{OUTPUT}", stream
    yield OUTPUT, stream


@lru_cache(maxsize=8)
def sites_of(spec: DecoderSpec) -> Mapping[str, Site]:
    """Every site of a decoder by name, in order of computation."""
    sites: dict[str, Site] = {}
    for index, layer in enumerate(spec.layers):
        for part, axes in _axes_of(spec, layer):
            name, changed = layer_site(index, part), axes.changed or axes.sizes
            sites[name] = Site(
                name=name,
                layer=index,
                axes=(axes.first, *axes.sizes),
                row_shape=tuple(axes.sizes.values()),
                changed_axes=(axes.first, *changed),
                changed_shape=tuple(changed.values()),
                editable=axes.editable,
            )
    vocab, axes_of_vocab = (spec.vocab_size,), ("token", "vocab")
    return MappingProxyType(sites | {LOGITS: Site(LOGITS, None, axes_of_vocab, vocab, axes_of_vocab, vocab)})


@lru_cache(maxsize=8)
def parts_of(spec: DecoderSpec) -> tuple[str, ...]:
    """The sites of its layers in order of computation, without the layers in their names: `attn.query`."""
    return tuple(dict.fromkeys(part for layer in spec.layers for part, _ in _axes_of(spec, layer)))


def pattern_parts(spec: DecoderSpec) -> tuple[str, ...]:
    """The sites from which attention patterns follow, without the layers in their names."""
    return tuple(part for part in (QUERY, KEY, SINK) if part in parts_of(spec))


def neuron_parts(spec: DecoderSpec) -> tuple[str, ...]:
    """The sites from which the neurons of every layer follow, without the layers in their names."""
    return tuple(
        dict.fromkeys(
            f"{FFN}.{part}" for layer in spec.layers for part in layer.ffn.neuron_sites if part in layer.ffn.sites()
        )
    )


def find_site(spec: DecoderSpec, name: str) -> Site:
    """The site called `name`. Raises MisuseError with the known names for an unknown one."""
    known = sites_of(spec)
    if name not in known:
        raise MisuseError(
            f"no site '{name}' in this decoder of {spec.n_layers} layers; sites are '{LOGITS}' and "
            f"'layers.<0..{spec.n_layers - 1}>.<part>' with part one of {', '.join(parts_of(spec))}"
        )
    return known[name]
