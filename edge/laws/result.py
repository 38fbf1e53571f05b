"""What checking a law found, and how it is told from differences between what the law says is equal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from edge.compare.sites import token_errors
from edge.picture.pieces import quote_piece


@dataclass(frozen=True)
class LawResult:
    """One law, checked.

    Attributes:
        number: Of the law, 1 to 8.
        says: The law, in a few words.
        worst: The largest relative difference, `max |a - b| / max |b|`; NaN where something is no number, or where the
            law does not apply.
        tolerance: What rounding alone explains.
        holds: None where it does not apply.
        where: The first place that differs, the worst one where none does, or why the law does not apply.
        tokens: Tokens it was checked on.
    """

    number: int
    statement: str
    worst: float
    tolerance: float
    passed: bool | None
    where: str
    tokens: int


@dataclass(frozen=True)
class SiteDifference:
    """How far two things are apart that a law says are equal: a relative difference, and where it is."""

    error: float
    where: str


def site_difference(
    got: Float32[np.ndarray, "token ..."],
    want: Float32[np.ndarray, "token ..."],
    tolerance: float,
    site: str,
    pieces: Sequence[str],
) -> SiteDifference:
    """The relative difference at a site, at its first token beyond the tolerance, or its worst token."""
    errors = token_errors(got, want)
    beyond = ~(errors <= tolerance)
    token = int(beyond.argmax()) if beyond.any() else int(errors.argmax())
    return SiteDifference(float(errors.max()), f"{site}, token {token} {quote_piece(pieces[token])}")


def law_result(
    number: int, statement: str, tolerance: float, found: Sequence[SiteDifference], tokens: int, note: str = ""
) -> LawResult:
    """The verdict on everything that a law compared, in order; `note` follows the place."""
    beyond = [one for one in found if not one.error <= tolerance]
    worst = max(found, key=lambda one: (math.isnan(one.error), one.error))
    where = (beyond or [worst])[0].where
    return LawResult(
        number, statement, worst.error, tolerance, not beyond, f"{where}; {note}" if note else where, tokens
    )


def skipped_law(number: int, statement: str, tolerance: float, why: str, tokens: int) -> LawResult:
    """A law that says nothing of this model or these tokens."""
    return LawResult(number, statement, math.nan, tolerance, None, why, tokens)
