"""A verdict follows from effects: their intervals, thresholds and samples, and from nothing else."""

from dataclasses import replace
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.lab.effect import FEWEST, Effect, Side, Verdict, reason_of, verdict_of
from tests.edge.report.example_lab import made_effect

ABOVE, BELOW, ACROSS = made_effect(0.5, 0.1), made_effect(0.02, 0.05), made_effect(0.1, 0.05)
"""An effect with a threshold of 0.1."""


def test_an_interval_on_one_side_decides_and_one_across_does_not() -> None:
    assert [one.verdict for one in (ABOVE, BELOW, ACROSS)] == [Verdict.HOLDS, Verdict.FAILS, Verdict.OPEN]
    turned = [replace(one, side=Side.BELOW) for one in (ABOVE, BELOW, ACROSS)]
    assert [one.verdict for one in turned] == [Verdict.FAILS, Verdict.HOLDS, Verdict.OPEN]


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(-1, 1), st.sampled_from(Side))
def test_a_verdict_never_contradicts_its_interval(value: float, half: float, threshold: float, side: Side) -> None:
    effect = replace(made_effect(value, half, threshold), side=side)
    claimed = effect.low > threshold if side is Side.ABOVE else effect.high < threshold
    opposite = effect.high < threshold if side is Side.ABOVE else effect.low > threshold
    assert (effect.verdict is Verdict.HOLDS) == claimed
    assert (effect.verdict is Verdict.FAILS) == opposite


def test_what_was_not_measured_or_hardly_is_not_shown() -> None:
    assert replace(ABOVE, value=nan, low=nan, high=nan).verdict is Verdict.OPEN
    few = replace(ABOVE, sample=FEWEST - 1)
    assert few.verdict is Verdict.OPEN and "which is too few" in few.told
    assert replace(ABOVE, sample=None).verdict is Verdict.HOLDS, "a count has no sample"


@pytest.mark.parametrize(
    ("effects", "verdict"),
    [
        ((), Verdict.UNKNOWN),
        ((ABOVE, ABOVE), Verdict.HOLDS),
        ((ABOVE, ACROSS), Verdict.OPEN),
        ((ACROSS, BELOW, ABOVE), Verdict.FAILS),
    ],
)
def test_a_claim_holds_where_all_of_its_effects_do(effects: tuple[Effect, ...], verdict: Verdict) -> None:
    assert verdict_of(effects) is verdict


def test_the_reason_is_the_effects_that_decide() -> None:
    assert reason_of((ABOVE, BELOW)) == "the lead: 2.00% [−3.00%, 7.00%] is not above 10.0%."
    assert reason_of((ABOVE, ACROSS)) == "the lead: 10.0% [5.00%, 15.0%] includes 10.0%."
    assert reason_of(()) == ""
