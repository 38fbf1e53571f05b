"""The result of checking a law, computed from the differences between values that should be equal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from edge.compare.sites import token_errors
from edge.picture.pieces import quote_piece


@dataclass(frozen=True)
class LawResult:
    """The result of one law.

    Attributes:
        number: Number of the law, 1 to 8.
        statement: The law, in a few words.
        worst: The largest relative error, `max |a - b| / max |b|`; NaN if a value is NaN, or if the law was skipped.
        tolerance: The largest relative error that rounding explains.
        passed: None if the law was skipped.
        where: The first place over tolerance, or that of the largest error, or the reason for skipping the law.
        tokens: Number of tokens in the check.
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
    """The relative error of two values that should be equal, and its place."""

    error: float
    where: str


def site_difference(
    got: Float32[np.ndarray, "token ..."],
    want: Float32[np.ndarray, "token ..."],
    tolerance: float,
    site: str,
    pieces: Sequence[str],
) -> SiteDifference:
    """The largest relative error at a site, with the first token over tolerance or that of the largest error."""
    errors = token_errors(got, want)
    beyond = ~(errors <= tolerance)
    token = int(beyond.argmax()) if beyond.any() else int(errors.argmax())
    return SiteDifference(float(errors.max()), f"{site}, token {token} {quote_piece(pieces[token])}")


def law_result(
    number: int, statement: str, tolerance: float, found: Sequence[SiteDifference], tokens: int, note: str = ""
) -> LawResult:
    """The result for all compared values, in order; `note` is added to the place."""
    beyond = [one for one in found if not one.error <= tolerance]
    worst = max(found, key=lambda one: (math.isnan(one.error), one.error))
    where = (beyond or [worst])[0].where
    return LawResult(
        number, statement, worst.error, tolerance, not beyond, f"{where}; {note}" if note else where, tokens
    )


def skipped_law(number: int, statement: str, tolerance: float, why: str, tokens: int) -> LawResult:
    """The result of a law that does not apply to this model or these tokens."""
    return LawResult(number, statement, math.nan, tolerance, None, why, tokens)
