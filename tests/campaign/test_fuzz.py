"""Made-up files of every kind are read, or refused in one message; the campaign itself finds what is neither."""

from pathlib import Path
from random import Random

from tests.campaign.fuzz import NAMES, campaign, one
from tests.campaign.kinds import Kind

EACH = 40
"""Inputs of each kind here; `python -m tests.campaign.fuzz 20000 SEED` makes more."""


def test_every_file_is_read_or_refused_in_one_message() -> None:
    outcomes = list(campaign(EACH * len(NAMES), "every run the same", NAMES))
    faults = [f"{one.number} ({one.kind}): {one.fault}" for one in outcomes if one.fault]
    assert len(outcomes) == EACH * len(NAMES)
    assert not faults, "neither read nor refused: " + "; ".join(faults)
    assert {one.came for one in outcomes} == {"read", "refused"}, "the inputs are all good, or all bad"


def test_a_traceback_is_a_fault(tmp_path: Path) -> None:
    def fail(folder: Path, draw: Random) -> None:
        raise KeyError("nobody expected this")

    found = one(3, "seed", "made", Kind(lambda folder, draw: None, fail), tmp_path)
    assert found.came == "fault" and "KeyError" in found.fault


def test_an_input_is_made_again_by_its_number(tmp_path: Path) -> None:
    drawn: list[float] = []
    kind = Kind(lambda folder, draw: drawn.append(draw.random()), lambda folder, draw: None)
    for number in (7, 8, 7):
        one(number, "seed", "made", kind, tmp_path)
    assert drawn[0] == drawn[2] != drawn[1]
