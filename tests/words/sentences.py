"""Splits help and messages into sentences and counts their words; tables, code, formulas and lists are left out."""

import re
from collections.abc import Iterator

LONGEST = 30
"""Words that a sentence of help or of a message may have."""

_ABBREVIATIONS = re.compile(r"\b(e\.g|i\.e|et al|cf|vs|fig|eq|sec|no|approx|resp|etc)\.(?=\s)", re.IGNORECASE)
_INITIALS = re.compile(r"\b([A-Z])\.(?=\s+[A-Z])")
_END = re.compile(r"[.!?][\"'”’)\]]*(?=\s|$)")
_CITATION = re.compile(r"\([^()]*\b(?:19|20)\d\d[^()]*\)")
_CODE = re.compile(r"`[^`\n]*`|https?://\S+")
_WORD = re.compile(r"^[\"'“‘(\[]*(?:[aAI]|[A-Za-zÀ-ɏ][A-Za-zÀ-ɏ'’\-/]+)[\"'”’)\].,;:!?…]*$")
_NOT_PROSE = re.compile(r"^(\s{2,}\S|\s*[-*•#|>]\s|\s*\d+[.)]\s|\s*\|)|\S {2,}\S")
_DOT = "\x00"


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """Sentences of prose, each with the offset at which it starts."""
    masked = _CITATION.sub(lambda found: _blank(found[0]), text)
    masked = _CODE.sub(lambda found: "`" + _DOT * (len(found[0]) - 1), masked)
    masked = _ABBREVIATIONS.sub(lambda found: found[0].replace(".", _DOT), masked)
    masked = _INITIALS.sub(lambda found: found[0].replace(".", _DOT), masked)
    for start, block in _blocks(masked):
        at = 0
        for end in [*(found.end() for found in _END.finditer(block)), len(block)]:
            if block[at:end].strip():
                lead = len(block[at:end]) - len(block[at:end].lstrip())
                yield start + at + lead, text[start + at + lead : start + end].strip()
            at = end


def count(sentence: str) -> int:
    """Words of a sentence: numbers, symbols, formulas, code and citations are none."""
    bare = _CODE.sub(" ", _CITATION.sub(" ", sentence))
    return sum(bool(_WORD.match(part)) for part in bare.split())


def too_long(text: str, longest: int = LONGEST) -> Iterator[tuple[int, str, int]]:
    """Sentences with more words than they may have: where each starts, itself, its words."""
    for start, sentence in sentences(text):
        if (words := count(sentence)) > longest:
            yield start, sentence, words


def _blocks(text: str) -> Iterator[tuple[int, str]]:
    """Runs of consecutive lines of prose. What stands in columns, is indented, or is an item of a list, is none."""
    start, at = None, 0
    for line in [*text.splitlines(keepends=True), ""]:
        is_prose = bool(line.strip()) and not _NOT_PROSE.search(line.rstrip())
        if not is_prose and start is not None:
            yield start, text[start:at]
            start = None
        if is_prose and start is None:
            start = at
        at += len(line)


def _blank(found: str) -> str:
    return "".join("\n" if letter == "\n" else " " for letter in found)
