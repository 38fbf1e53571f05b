"""Titles of the timed parts of a pass, for people; JSON keeps the names of `models.parts`."""

from models.sites import SUBLAYER_NAMES

_TITLES = {**SUBLAYER_NAMES, "head": "lm_head", "gap": "unattributed"}


def part_title(part: str) -> str:
    """`lm_head` for `head`, which would be taken for a head of attention; most parts have their name as title."""
    return _TITLES.get(part, part)
