"""Edits of a run: scale heads and neurons, ablate sublayers, replace sites, add noise to embeddings.

Each edit becomes one `Change` of one site: `value * scale + shift`, row by row. Engines only see changes.
`str(edit)` is its name; `edge.ablated` parses names, so that a saved trace knows what its edits ablated.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32

from models.errors import MisuseError
from models.sites import (
    HEADS,
    LOGITS,
    NEURONS,
    SUBLAYER_NAMES,
    SUBLAYERS,
    Site,
    find_site,
    layer_site,
    place_of,
    sites_of,
)
from models.spec import DecoderSpec

_SUBLAYER = re.compile(rf"layers\.(\d+)\.({'|'.join(SUBLAYERS)})")

Tokens = tuple[int, ...] | None
"""Positions in the run, from 0; None means every token, generated ones included."""

LARGEST = float(np.finfo(np.float32).max)
"""The largest finite float32 number."""

Rows = range
"""Positions of the tokens of one pass."""


@dataclass(frozen=True)
class Change:
    """A change of a site in one pass: `value * scale + shift`. Both broadcast to the rows of the site.

    Attributes:
        scale: 1 keeps the value.
        shift: 0 keeps the value.
    """

    scale: Float32[np.ndarray, "..."]
    shift: Float32[np.ndarray, "..."]

    def then(self, later: "Change") -> "Change":
        """This change followed by another, as one."""
        with np.errstate(over="ignore", invalid="ignore"):  # the run reports numbers that are not finite
            return Change(self.scale * later.scale, self.shift * later.scale + later.shift)


Changes = Mapping[str, Change]
"""Changes of one pass, by site."""

NO_CHANGES: Changes = {}


@runtime_checkable
class Edit(Protocol):
    """One edit of a run."""

    @property
    def tokens(self) -> Tokens:
        """Positions at which it acts."""

    @property
    def site(self) -> str:
        """The site on which it acts."""

    def check(self, site: Site) -> None:
        """Raises MisuseError if the edit does not fit this site."""

    def change(self, site: Site, rows: Rows) -> Change:
        """The change of the site in a pass over these positions."""


@dataclass(frozen=True)
class ScaleHead:
    """Multiplies the output of one head (its weighted sum of values) by `factor`; 0 ablates it, the bias stays."""

    layer: int
    head: int
    factor: float
    tokens: Tokens = None

    @property
    def site(self) -> str:
        return layer_site(self.layer, HEADS)

    def check(self, site: Site) -> None:
        _check_index("head", self.head, site.row_shape[0], self.layer)
        _check_factor(self.factor)

    def change(self, site: Site, rows: Rows) -> Change:
        factors = np.ones((site.changed_shape[0], 1), np.float32)
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
        return layer_site(self.layer, NEURONS)

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
    """Ablates a sublayer: it adds 0 to the residual stream. `Ablate("layers.4.ffn")`."""

    sublayer: str
    tokens: Tokens = None

    def __post_init__(self) -> None:
        if not _SUBLAYER.fullmatch(self.sublayer):
            raise MisuseError(
                f"no sublayer '{self.sublayer}' to ablate; use a name such as 'layers.4.attn' or 'layers.4.ffn'"
            )

    @property
    def site(self) -> str:
        return f"{self.sublayer}.output"

    def check(self, site: Site) -> None:
        """Accepts every existing sublayer."""

    def change(self, site: Site, rows: Rows) -> Change:
        return _scaled(np.zeros(1, np.float32), self.tokens, rows)

    def __str__(self) -> str:
        _, layer, part = self.sublayer.split(".")
        return f"{SUBLAYER_NAMES[part]} of layer {layer} ablated{_at(self.tokens)}"


@dataclass(frozen=True, eq=False)
class Replace:
    """Replaces the values of a site at some tokens.

    Attributes:
        value: One row for each of `tokens`, in their order.
    """

    site: str
    tokens: tuple[int, ...]
    value: Float[np.ndarray, "token ..."]

    def check(self, site: Site) -> None:
        expected = (len(self.tokens), *site.row_shape)
        if self.value.shape != expected:
            raise MisuseError(f"{self.site} at {len(self.tokens)} tokens has shape {expected}, got {self.value.shape}")
        if not (np.abs(self.value) <= LARGEST).all():
            raise MisuseError(f"the values that replace {self.site} are not all finite in float32")

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
        seed: Equal seeds give equal noise at each token, for any division of the run into passes.
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
            noise = np.random.default_rng([self.seed, token]).standard_normal(site.row_shape)
            shift[token - rows.start] = self.deviation * noise
        return Change(np.ones((1,) * (1 + len(site.row_shape)), np.float32), shift)

    def __str__(self) -> str:
        return f"noise of {self.deviation:g} on the embeddings{_at(self.tokens)}"


_WRITTEN = {name.lower(): part for part, name in SUBLAYER_NAMES.items()}
"""Sublayers as users write them: `attention:2`, `ffn:2`."""

_ABLATION = re.compile(rf"(?:(head|neuron):(\d{{1,9}})\.|({'|'.join(_WRITTEN)}):)(\d{{1,9}})")


def ablation_of(text: str) -> Edit:
    """The edit for an ablation as users write it: `head:3.5`, `neuron:4.1023`, `attention:2`, `ffn:2`.

    Raises:
        MisuseError: the text has none of these forms.
    """
    match = _ABLATION.fullmatch(text)
    if match is None:
        raise MisuseError(
            f"cannot ablate '{text}'; use head:LAYER.HEAD, neuron:LAYER.NEURON, attention:LAYER or ffn:LAYER"
        )
    kind, layer, sublayer, index = match.groups()
    if sublayer:
        return Ablate(layer_site(int(index), _WRITTEN[sublayer]))
    return (ScaleHead if kind == "head" else ScaleNeuron)(int(layer), int(index), 0.0)


def check_edits(edits: Sequence[Edit], spec: DecoderSpec, length: int) -> None:
    """Raises MisuseError for an edit of an unknown site, or of a token outside a run of `length` tokens."""
    for edit in edits:
        if edit.site == LOGITS:
            raise MisuseError("logits cannot be edited; edit the output of the last layer instead")
        edit.check(find_site(spec, edit.site))
        beyond = [token for token in edit.tokens or () if not 0 <= token < length]
        if beyond:
            raise MisuseError(f"cannot edit token {beyond[0]}: this run has tokens 0 to {length - 1} at most")


def changes(edits: Sequence[Edit], spec: DecoderSpec, rows: Rows) -> Changes:
    """The changes of one pass, edits applied in order. Sites without a change are absent.

    A layer's input and the previous layer's output are one value: an edit of either shows in both sites.
    """
    by_place: dict[str, Change] = {}
    sites = sites_of(spec) if edits else {}
    for edit in edits:
        if edit.tokens is not None and not set(edit.tokens) & set(rows):
            continue
        change, place = edit.change(sites[edit.site], rows), place_of(edit.site)
        by_place[place] = by_place[place].then(change) if place in by_place else change
    return by_place


def _scaled(factors: Float32[np.ndarray, "..."], tokens: Tokens, rows: Rows) -> Change:
    """The change that multiplies by `factors` at `tokens`, and by 1 at other tokens."""
    scale = factors[None]
    if tokens is not None:
        chosen = np.isin(np.arange(rows.start, rows.stop), tokens).reshape(-1, *(1 for _ in factors.shape))
        scale = np.where(chosen, scale, np.float32(1))
    return Change(scale, np.zeros((1,) * scale.ndim, np.float32))


def _check_factor(factor: float) -> None:
    if not abs(factor) <= LARGEST:
        raise MisuseError(f"a factor must be finite in float32, got {factor:g}")


def _check_index(what: str, index: int, count: int, layer: int) -> None:
    if not 0 <= index < count:
        raise MisuseError(f"no {what} {index}; layer {layer} has {what}s 0 to {count - 1}")


def _scaling(factor: float) -> str:
    return f" × {factor:g}" if factor else " ablated"


def _at(tokens: Tokens) -> str:
    if tokens is None:
        return ""
    return f" at token {tokens[0]}" if len(tokens) == 1 else f" at {len(tokens)} tokens"
