"""Changes of sites in one pass, which all edits become: `value * scale + shift`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from models.errors import MisuseError
from models.sites import LOGITS, Site, find_site, place_of, sites_of
from models.spec import DecoderSpec

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


@runtime_checkable
class Numbered(Protocol):
    """An edit by a number that several sites share: neurons of a mixture of experts."""

    def within(self, spec: DecoderSpec) -> Edit:
        """The same edit of the one site that has this number in a decoder."""


def _placed(edits: Sequence[Edit], spec: DecoderSpec) -> list[Edit]:
    """The edits, each with the site on which it acts in this decoder."""
    return [edit.within(spec) if isinstance(edit, Numbered) else edit for edit in edits]


def check_edits(edits: Sequence[Edit], spec: DecoderSpec, length: int) -> None:
    """Raises MisuseError for an edit of an unknown site, or of a token outside a run of `length` tokens."""
    for edit in _placed(edits, spec):
        if edit.site == LOGITS:
            raise MisuseError("logits cannot be edited; edit the output of the last layer instead")
        site = find_site(spec, edit.site)
        if not site.editable:
            raise MisuseError(f"'{edit.site}' cannot be edited: nothing in the decoder reads it")
        edit.check(site)
        beyond = [token for token in edit.tokens or () if not 0 <= token < length]
        if beyond:
            raise MisuseError(f"cannot edit token {beyond[0]}: this run has tokens 0 to {length - 1} at most")


def changes(edits: Sequence[Edit], spec: DecoderSpec, rows: Rows) -> Changes:
    """The changes of one pass, edits applied in order. Sites without a change are absent.

    A layer's input and the previous layer's output are one value: an edit of either shows in both sites.
    """
    by_place: dict[str, Change] = {}
    sites = sites_of(spec) if edits else {}
    for edit in _placed(edits, spec):
        if edit.tokens is not None and not set(edit.tokens) & set(rows):
            continue
        change, place = edit.change(sites[edit.site], rows), place_of(edit.site)
        by_place[place] = by_place[place].then(change) if place in by_place else change
    return by_place


def scaled(factors: Float32[np.ndarray, "..."], tokens: Tokens, rows: Rows) -> Change:
    """The change that multiplies by `factors` at `tokens`, and by 1 at other tokens."""
    scale = at_tokens(factors, tokens, rows, elsewhere=1.0)
    return Change(scale, np.zeros((1,) * scale.ndim, np.float32))


def added(numbers: Float32[np.ndarray, "..."], tokens: Tokens, rows: Rows) -> Change:
    """The change that adds `numbers` at `tokens`."""
    shift = at_tokens(numbers, tokens, rows, elsewhere=0.0)
    return Change(np.ones((1,) * shift.ndim, np.float32), shift)


def at_tokens(
    numbers: Float32[np.ndarray, "..."], tokens: Tokens, rows: Rows, elsewhere: float
) -> Float32[np.ndarray, "row ..."]:
    """`numbers` for the rows of `tokens`, and `elsewhere` for others; one row if it is for every token."""
    if tokens is None:
        return numbers[None]
    chosen = np.isin(np.arange(rows.start, rows.stop), tokens).reshape(-1, *(1 for _ in numbers.shape))
    return np.where(chosen, numbers, np.float32(elsewhere))


def check_factor(factor: float) -> None:
    """Raises MisuseError for a factor that is not finite in float32."""
    if not abs(factor) <= LARGEST:
        raise MisuseError(f"a factor must be finite in float32, got {factor:g}")


def check_index(what: str, index: int, count: int, layer: int) -> None:
    """Raises MisuseError for an index that the layer does not have."""
    if not 0 <= index < count:
        raise MisuseError(f"no {what} {index}; layer {layer} has {what}s 0 to {count - 1}")


def scaling(factor: float) -> str:
    """A factor in the name of an edit."""
    return f" × {factor:g}" if factor else " ablated"


def at(tokens: Tokens) -> str:
    """Positions in the name of an edit."""
    if tokens is None:
        return ""
    return f" at token {tokens[0]}" if len(tokens) == 1 else f" at {len(tokens)} tokens"
