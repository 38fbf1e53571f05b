"""The list of phrases that are not used, read from `phrases.toml`."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache, lru_cache
from pathlib import Path

from tests.words.piece import Piece

FILE = Path(__file__).with_name("phrases.toml")
KINDS = {
    "text": {"text"},
    "names": {"name", "module"},
    "both": {"text", "name", "module"},
    "modules": {"module"},
}
"""What an entry of the list applies to."""

AROUND = 60
"""Characters on each side of a match that `unless` sees."""


@dataclass(frozen=True)
class Phrase:
    """A phrase and what to say instead.

    Attributes:
        pattern: What finds it, in any case; a space in `find` is any white space.
        say: What to say instead.
        kinds: What it applies to: `text`, `name`, `module`.
        unless: Contexts in which it is right.
        skip: Files, as patterns of paths, in which it is right.
        only: Files, as patterns of paths, to which it applies; all where empty.
    """

    pattern: re.Pattern[str]
    say: str
    kinds: frozenset[str]
    unless: tuple[re.Pattern[str], ...] = ()
    skip: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    def found_in(self, piece: Piece) -> Iterator[re.Match[str]]:
        """Every place of a piece where the phrase is."""
        if piece.kind not in self.kinds:
            return
        matches = _matches(self.pattern, piece.text)
        if matches and self._applies_to(piece.source):
            yield from (match for match in matches if not self._is_right(piece.text, match))

    def _applies_to(self, source: str) -> bool:
        is_skipped = any(fnmatch(source, glob) for glob in self.skip)
        return not is_skipped and (not self.only or any(fnmatch(source, glob) for glob in self.only))

    def _is_right(self, text: str, match: re.Match[str]) -> bool:
        start, end = max(match.start() - AROUND, 0), match.end() + AROUND
        return any(
            context.start() < match.end() and match.start() < context.end()
            for unless in self.unless
            for context in unless.finditer(text, start, end)
        )


@cache
def phrases(file: Path = FILE) -> tuple[Phrase, ...]:
    """The whole list. An entry that is not complete raises `ValueError`."""
    return tuple(_phrase(entry) for entry in tomllib.loads(file.read_text(encoding="utf8"))["phrase"])


def _phrase(entry: dict[str, str | list[str]]) -> Phrase:
    if unknown := entry.keys() - {"find", "say", "in", "unless", "skip", "only"}:
        raise ValueError(f"{entry}: unknown keys {sorted(unknown)}")
    find, say, kind = str(entry["find"]), str(entry["say"]), str(entry.get("in", "text"))
    if kind not in KINDS:
        raise ValueError(f"{find!r}: 'in' is {kind!r}; choose one of {sorted(KINDS)}")
    return Phrase(
        _compiled(find),
        say,
        frozenset(KINDS[kind]),
        tuple(_compiled(one) for one in entry.get("unless", ())),
        tuple(entry.get("skip", ())),
        tuple(entry.get("only", ())),
    )


@lru_cache(2**20)
def _matches(pattern: re.Pattern[str], text: str) -> tuple[re.Match[str], ...]:
    """Names and short strings occur in many files: each is searched once."""
    return tuple(pattern.finditer(text))


def _compiled(find: str) -> re.Pattern[str]:
    return re.compile(find.replace(" ", r"\s+"), re.IGNORECASE)
