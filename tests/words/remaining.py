"""Texts that are not yet rewritten: how many offences each place may still have. The numbers only go down."""

import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.words.offences import Offence

LIST = Path(__file__).with_name("remaining.toml")
"""Count of offences by place; `python -m tests.words --keep` writes it."""


def place_of(offence: Offence) -> str:
    """The file, the command or the screen of an offence, without its line."""
    source, _, line = offence.place.rpartition(":")
    return source if line.isdigit() else offence.place


def counts(found: Iterable[Offence]) -> Counter[str]:
    """Offences by place."""
    return Counter(place_of(one) for one in found)


def allowed() -> dict[str, int]:
    """What remains, by place; empty once everything is rewritten."""
    return {str(place): int(count) for place, count in tomllib.loads(LIST.read_text(encoding="utf8")).items()}


def new(found: list[Offence]) -> list[Offence]:
    """Offences of places that have more of them than may remain."""
    over = {place for place, count in counts(found).items() if count > allowed().get(place, 0)}
    return [one for one in found if place_of(one) in over]


def keep(found: Iterable[Offence]) -> None:
    """Writes what remains."""
    lines = [f'"{place}" = {count}' for place, count in sorted(counts(found).items())]
    LIST.write_text("\n".join(["# Offences that remain, by place. Rewrite the text and lower the number.", *lines, ""]))
