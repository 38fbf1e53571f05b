"""Changes made during a run: heads and neurons scaled, sublayers ablated, sites replaced, embeddings blurred.

Every edit comes down to one `Change` of one site: `value * scale + shift`, row by row. Engines know nothing else.
`str` of an edit is its name; `edge.ablated` reads names back, so a trace knows what its edits ablated.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32

from models.errors import MisuseError
from models.sites import LOGITS, Site, find_site, layer_site, place_of, sites_of
from models.spec import DecoderSpec

_SUBLAYER = re.compile(r"layers\.(\d+)\.(attn|ffn)")

Tokens = tuple[int, ...] | None
"""Positions of the run, from 0; None is every token, those generated too."""

LARGEST = float(np.finfo(np.float32).max)
"""Beyond it no engine holds a number."""

Rows = range
"""Positions of the tokens of one pass."""


@dataclass(frozen=True)
class Change:
    """What becomes of a site in one pass: `value * scale + shift`; both broadcast to its rows.

    Attributes:
        scale: 1 leaves the value.
        shift: 0 leaves it.
    """

    scale: Float32[np.ndarray, "..."]
    shift: Float32[np.ndarray, "..."]

    def then(self, later: "Change") -> "Change":
        """This change, followed by another."""
        with np.errstate(over="ignore", invalid="ignore"):  # the run says where numbers stop being finite
            return Change(self.scale * later.scale, self.shift * later.scale + later.shift)


Changes = Mapping[str, Change]
"""Changes of one pass, by site."""

NO_CHANGES: Changes = {}


@runtime_checkable
class Edit(Protocol):
    """One change, made wherever its tokens come by."""

    @property
    def tokens(self) -> Tokens:
        """Where in the run it acts."""

    @property
    def site(self) -> str:
        """Where in the decoder it acts."""

    def check(self, site: Site) -> None:
        """Refuses what this site does not have."""

    def change(self, site: Site, rows: Rows) -> Change:
        """What it does to a pass over these tokens."""


@dataclass(frozen=True)
class ScaleHead:
    """Multiplies what one head read by `factor`; 0 ablates the head, the output bias stays."""

    layer: int
    head: int
    factor: float
    tokens: Tokens = None

    @property
    def site(self) -> str:
        return layer_site(self.layer, "attn.heads")

    def check(self, site: Site) -> None:
        _check_index("head", self.head, site.row_shape[0], self.layer)
        _check_factor(self.factor)

    def change(self, site: Site, rows: Rows) -> Change:
        factors = np.ones((site.row_shape[0], 1), np.float32)
        factors[self.head] = self.factor
        return _scaled(factors, self.tokens, rows)

    def __str__(self) -> str:
        return f"head {self.layer}.{self.head}{_scaling(self.factor)}{_at(self.tokens)}"


@dataclass(frozen=True)
class ScaleNeuron:
    """Multiplies one neuron's activation by `factor`; 0 ablates the neuron."""

    layer: int
    neuron: int
    factor: float
    tokens: Tokens = None

    @property
    def site(self) -> str:
        return layer_site(self.layer, "ffn.neurons")

    def check(self, site: Site) -> None:
        _check_index("neuron", self.neuron, site.row_shape[0], self.layer)
        _check_factor(self.factor)

    def change(self, site: Site, rows: Rows) -> Change:
        factors = np.ones(site.row_shape, np.float32)
        factors[self.neuron] = self.factor
        return _scaled(factors, self.tokens, rows)

    def __str__(self) -> str:
        return f"neuron {self.layer}.{self.neuron}{_scaling(self.factor)}{_at(self.tokens)}"


@dataclass(frozen=True)
class Ablate:
    """Ablates a sublayer, which then adds 0 to the residual stream: `Ablate("layers.4.ffn")`."""

    sublayer: str
    tokens: Tokens = None

    def __post_init__(self) -> None:
        if not _SUBLAYER.fullmatch(self.sublayer):
            raise MisuseError(f"no sublayer '{self.sublayer}' to ablate; name one such as 'layers.4.ffn'")

    @property
    def site(self) -> str:
        return f"{self.sublayer}.output"

    def check(self, site: Site) -> None:
        """Every sublayer that exists can be ablated."""

    def change(self, site: Site, rows: Rows) -> Change:
        return _scaled(np.zeros(1, np.float32), self.tokens, rows)

    def __str__(self) -> str:
        _, layer, part = self.sublayer.split(".")
        return f"{'FFN' if part == 'ffn' else 'attention'} of layer {layer} ablated{_at(self.tokens)}"


@dataclass(frozen=True, eq=False)
class Replace:
    """Puts values in place of a site's own at some tokens.

    Attributes:
        value: One row for each of `tokens`, in their order.
    """

    site: str
    tokens: tuple[int, ...]
    value: Float[np.ndarray, "token ..."]

    def check(self, site: Site) -> None:
        wanted = (len(self.tokens), *site.row_shape)
        if self.value.shape != wanted:
            raise MisuseError(f"{self.site} at {len(self.tokens)} tokens has shape {wanted}, got {self.value.shape}")
        if not (np.abs(self.value) <= LARGEST).all():
            raise MisuseError(f"the values to put at {self.site} are not all finite numbers in float32")

    def change(self, site: Site, rows: Rows) -> Change:
        scale = np.ones((len(rows), *(1 for _ in site.row_shape)), np.float32)
        shift = np.zeros((len(rows), *site.row_shape), np.float32)
        for token, value in zip(self.tokens, self.value, strict=True):
            if token in rows:
                scale[token - rows.start], shift[token - rows.start] = 0, value
        return Change(scale, shift)

    def __str__(self) -> str:
        return f"{self.site} replaced{_at(self.tokens)}"


@dataclass(frozen=True)
class Noise:
    """Adds Gaussian noise to the embeddings of some tokens, as causal tracing corrupts a subject (Meng et al. 2022).

    Attributes:
        deviation: Standard deviation of the noise, in the units of the embeddings.
        seed: Equal seeds give a token equal noise, however the run is split into passes.
    """

    tokens: tuple[int, ...]
    deviation: float
    seed: int = 0

    @property
    def site(self) -> str:
        return layer_site(0, "input")

    def check(self, site: Site) -> None:
        if not 0 <= self.deviation < LARGEST:
            raise MisuseError(f"noise needs a standard deviation of 0 or more, got {self.deviation:g}")
        if self.seed < 0:
            raise MisuseError(f"noise needs a seed of 0 or more, got {self.seed}")

    def change(self, site: Site, rows: Rows) -> Change:
        shift = np.zeros((len(rows), *site.row_shape), np.float32)
        for token in set(self.tokens) & set(rows):
            drawn = np.random.default_rng([self.seed, token]).standard_normal(site.row_shape)
            shift[token - rows.start] = self.deviation * drawn
        return Change(np.ones((1,) * (1 + len(site.row_shape)), np.float32), shift)

    def __str__(self) -> str:
        return f"noise of {self.deviation:g} on the embeddings{_at(self.tokens)}"


_ABLATION = re.compile(r"(?:(head|neuron):(\d{1,9})\.|(attention|ffn):)(\d{1,9})")


def ablation_of(text: str) -> Edit:
    """The edit that ablates what users name: `head:3.5`, `neuron:4.1023`, `attention:2`, `ffn:2`.

    Raises:
        MisuseError: it is none of these forms.
    """
    found = _ABLATION.fullmatch(text)
    if found is None:
        raise MisuseError(
            f"cannot ablate '{text}'; name head:3.5, neuron:4.1023, attention:2 or ffn:2, the layer first"
        )
    kind, layer, sublayer, index = found.groups()
    if sublayer:
        return Ablate(layer_site(int(index), "attn" if sublayer == "attention" else "ffn"))
    return (ScaleHead if kind == "head" else ScaleNeuron)(int(layer), int(index), 0.0)


def check_edits(edits: Sequence[Edit], spec: DecoderSpec, length: int) -> None:
    """Refuses edits of places that a decoder does not have, or of tokens that a run of `length` cannot reach."""
    for edit in edits:
        if edit.site == LOGITS:
            raise MisuseError("logits are read, not edited; edit the output of the last layer")
        edit.check(find_site(spec, edit.site))
        beyond = [token for token in edit.tokens or () if not 0 <= token < length]
        if beyond:
            raise MisuseError(f"cannot edit token {beyond[0]}: this run has tokens 0 to {length - 1} at most")


def changes(edits: Sequence[Edit], spec: DecoderSpec, rows: Rows) -> Changes:
    """What the edits do to one pass; later ones act on what earlier ones left. Sites they do not reach are absent.

    An edit of what enters a layer is one of what leaves the layer before, and both sites show it.
    """
    made: dict[str, Change] = {}
    sites = sites_of(spec) if edits else {}
    for edit in edits:
        if edit.tokens is not None and not set(edit.tokens) & set(rows):
            continue
        change, place = edit.change(sites[edit.site], rows), place_of(edit.site)
        made[place] = made[place].then(change) if place in made else change
    return made


def _scaled(factors: Float32[np.ndarray, "..."], tokens: Tokens, rows: Rows) -> Change:
    """One row of factors at the tokens that are meant, 1 at others."""
    scale = factors[None]
    if tokens is not None:
        meant = np.isin(np.arange(rows.start, rows.stop), tokens).reshape(-1, *(1 for _ in factors.shape))
        scale = np.where(meant, scale, np.float32(1))
    return Change(scale, np.zeros((1,) * scale.ndim, np.float32))


def _check_factor(factor: float) -> None:
    if not abs(factor) <= LARGEST:
        raise MisuseError(f"a factor is a finite number in float32, got {factor:g}")


def _check_index(what: str, index: int, count: int, layer: int) -> None:
    if not 0 <= index < count:
        raise MisuseError(f"no {what} {index}; layer {layer} has {what}s 0 to {count - 1}")


def _scaling(factor: float) -> str:
    return f" × {factor:g}" if factor else " ablated"


def _at(tokens: Tokens) -> str:
    if tokens is None:
        return ""
    return f" at token {tokens[0]}" if len(tokens) == 1 else f" at {len(tokens)} tokens"
