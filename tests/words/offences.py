"""What breaks the rules of words in some pieces: phrases of the list, and long sentences of help and messages."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.words.phrases import Phrase, phrases
from tests.words.piece import Piece
from tests.words.sentences import LONGEST, too_long


@dataclass(frozen=True, order=True)
class Offence:
    """One breach.

    Attributes:
        place: File and line, or the command or screen.
        found: The words themselves.
        say: What to say instead.
    """

    place: str
    found: str
    say: str

    def __str__(self) -> str:
        return f"{self.place}: '{self.found}' -> {self.say}"


def offences(pieces: Iterable[Piece], listed: tuple[Phrase, ...] | None = None) -> list[Offence]:
    """All of them, each once, in order of place."""
    listed = phrases() if listed is None else listed
    return sorted({one for piece in pieces for one in _of(piece, listed)}, key=_order)


def _of(piece: Piece, listed: tuple[Phrase, ...]) -> Iterator[Offence]:
    for phrase in listed:
        for match in phrase.found_in(piece):
            yield Offence(piece.place(match.start(), match[0]), " ".join(match[0].split()), phrase.say)
    if piece.is_brief and piece.kind == "text":
        for start, sentence, words in too_long(piece.text):
            opening = " ".join(sentence.split()[:6])
            say = f"split it: {words} words, at most {LONGEST}"
            yield Offence(piece.place(start, sentence.split()[0]), f"{opening} …", say)


def _order(offence: Offence) -> tuple[str, int, str]:
    source, _, line = offence.place.rpartition(":")
    return (source, int(line), offence.found) if line.isdigit() else (offence.place, 0, offence.found)
