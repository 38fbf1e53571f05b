"""The text that variants are compared on, in tokens: Edge's own, a file's, or plain ids."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.errors import MisuseError
from models.sample_text import SAMPLE_TEXT
from models.tokenizer import Tokenizer

LONGEST_WINDOW = 512
"""Tokens of one pass at most: bounds the logits that are held of it."""

FEWEST_TOKENS = 3
"""Two positions with a next token: the least that has a standard error."""

_CHARACTERS_A_TOKEN = 64  # more than any text needs, so that the beginning of a long file is enough


@dataclass(frozen=True)
class TokenizedText:
    """A text in tokens.

    Attributes:
        source: Where it is from, in a word or two: a file's name, `built in`, or `ids`.
    """

    source: str
    ids: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.ids) < FEWEST_TOKENS:
            raise MisuseError(
                f"the text has {len(self.ids)} tokens, a comparison needs {FEWEST_TOKENS} at least; give a longer one"
            )


@dataclass(frozen=True)
class Window:
    """Tokens of one pass, which begins with nothing known, and the token that really follows each of them."""

    ids: tuple[int, ...]
    targets: tuple[int, ...]


def windows(ids: Sequence[int], width: int) -> Iterator[Window]:
    """A text in passes of `width` tokens at most; the last target of one is the first token of the next."""
    for start in range(0, len(ids) - 1, width):
        targets = tuple(ids[start + 1 : start + 1 + width])
        yield Window(tuple(ids[start : start + len(targets)]), targets)


def tokenize_text(tokenizer: Tokenizer | None, file: Path | None, tokens: int) -> TokenizedText:
    """The first `tokens` tokens of a text file, or of Edge's own text where `file` is None.

    Raises:
        MisuseError: the model has no tokenizer, or the file cannot be read as text; the message says what to give.
    """
    if tokenizer is None:
        raise MisuseError("the model has no tokenizer.json, so it cannot be compared on a text; give --ids")
    source, text = ("built in", SAMPLE_TEXT) if file is None else (file.name, beginning(file, tokens))
    return TokenizedText(source, tuple(tokenizer.encode(text)[:tokens]))


def text_of_ids(ids: Sequence[int], vocab_size: int, tokens: int) -> TokenizedText:
    """The first `tokens` of some ids, which a vocabulary of this size must hold."""
    outside = [id for id in ids if not 0 <= id < vocab_size]
    if outside:
        raise MisuseError(f"id {outside[0]} is outside the vocabulary; ids run from 0 to {vocab_size - 1}")
    return TokenizedText("ids", tuple(ids[:tokens]))


def beginning(file: Path, tokens: int) -> str:
    """As much of a text file as `tokens` tokens can need.

    Raises:
        MisuseError: it cannot be read as text, or is empty; the message says what to give.
    """
    try:
        with file.open(encoding="utf8") as opened:
            text = opened.read(_CHARACTERS_A_TOKEN * tokens)
    except UnicodeDecodeError as error:
        raise MisuseError(f"{file} is no text in UTF-8 ({error.reason}); --text takes a plain text file") from error
    except OSError as error:
        raise MisuseError(f"{file} cannot be read: {error.strerror}; --text takes a plain text file") from error
    if not text.strip():
        raise MisuseError(f"{file} is empty; --text takes a file with some text in it")
    return text
