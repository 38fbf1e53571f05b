"""Everything that people read uses plain words, and help and messages use short sentences."""

import pytest

from tests.words import commands, screens
from tests.words.files import FOLDERS, PAGES, pieces_of, readable
from tests.words.offences import Offence, offences
from tests.words.piece import ROOT

SHOWN = 40
"""Offences that a failure lists."""


def report(found: list[Offence]) -> str:
    lines = [str(one) for one in found[:SHOWN]]
    more = f"\n... python -m tests.words lists all {len(found)}" if len(found) > SHOWN else ""
    return "words to replace:\n" + "\n".join(lines) + more


@pytest.mark.parametrize("name", [*FOLDERS, *PAGES])
def test_texts_and_names_are_plain(name: str) -> None:
    files = list(readable([ROOT / name]))
    assert files, f"{name} has no files to read"
    found = offences(piece for file in files for piece in pieces_of(file))
    assert not found, report(found)


def test_the_help_of_commands_is_plain() -> None:
    found = offences(commands.pieces())
    assert not found, report(found)


async def test_screens_and_dialogs_are_plain() -> None:
    pieces = await screens.pieces()
    sources = " ".join({piece.source for piece in pieces})
    for part in (
        "80x24",
        "200x60",
        "with an edit",
        "palette",
        *(f"dialog {name}" for name in screens.DIALOGS.values()),
    ):
        assert part in sources, f"nothing of '{part}' was read"
    found = offences(pieces)
    assert not found, report(found)
