"""A verdict follows from effects: their intervals, thresholds and samples, and from nothing else."""

from dataclasses import replace
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.lab.effect import MIN_SAMPLE, Effect, Side, Verdict, reason_of, verdict_of
from tests.edge.report.example_lab import made_effect

ABOVE, BELOW, ACROSS = made_effect(0.5, 0.1), made_effect(0.02, 0.05), made_effect(0.1, 0.05)
"""An effect with a threshold of 0.1."""


def test_an_interval_on_one_side_decides_and_one_across_does_not() -> None:
    assert [one.verdict for one in (ABOVE, BELOW, ACROSS)] == [
        Verdict.SUPPORTED,
        Verdict.NOT_SUPPORTED,
        Verdict.INCONCLUSIVE,
    ]
    turned = [replace(one, side=Side.BELOW) for one in (ABOVE, BELOW, ACROSS)]
    assert [one.verdict for one in turned] == [Verdict.NOT_SUPPORTED, Verdict.SUPPORTED, Verdict.INCONCLUSIVE]


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(-1, 1), st.sampled_from(Side))
def test_a_verdict_never_contradicts_its_interval(value: float, half: float, threshold: float, side: Side) -> None:
    effect = replace(made_effect(value, half, threshold), side=side)
    claimed = effect.low > threshold if side is Side.ABOVE else effect.high < threshold
    opposite = effect.high < threshold if side is Side.ABOVE else effect.low > threshold
    assert (effect.verdict is Verdict.SUPPORTED) == claimed
    assert (effect.verdict is Verdict.NOT_SUPPORTED) == opposite


def test_missing_and_small_samples_are_inconclusive() -> None:
    assert replace(ABOVE, value=nan, low=nan, high=nan).verdict is Verdict.INCONCLUSIVE
    few = replace(ABOVE, sample=MIN_SAMPLE - 1)
    assert few.verdict is Verdict.INCONCLUSIVE and "too small" in few.sentence
    assert replace(ABOVE, sample=None).verdict is Verdict.SUPPORTED, "a count has no sample"


@pytest.mark.parametrize(
    ("effects", "verdict"),
    [
        ((), Verdict.NOT_APPLICABLE),
        ((ABOVE, ABOVE), Verdict.SUPPORTED),
        ((ABOVE, ACROSS), Verdict.INCONCLUSIVE),
        ((ACROSS, BELOW, ABOVE), Verdict.NOT_SUPPORTED),
    ],
)
def test_a_claim_is_supported_if_all_of_its_effects_support_it(effects: tuple[Effect, ...], verdict: Verdict) -> None:
    assert verdict_of(effects) is verdict


def test_the_reason_is_the_effects_that_decide() -> None:
    assert reason_of((ABOVE, BELOW)) == "the lead: 2.00% [−3.00%, 7.00%] is not above 10.0%."
    assert reason_of((ABOVE, ACROSS)) == "the lead: 10.0% [5.00%, 15.0%], an interval that includes 10.0%."
    assert reason_of(()) == ""
