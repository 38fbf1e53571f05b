"""The text that variants are compared on, as token ids: the built-in text, a file, or given ids."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.errors import MisuseError
from models.sample_text import SAMPLE_TEXT
from models.tokenizer import Tokenizer

LONGEST_WINDOW = 512
"""Maximum tokens of one pass, which bounds the memory of its logits."""

FEWEST_TOKENS = 3
"""Minimum for a standard error: two positions with a next token."""

_CHARACTERS_A_TOKEN = 64  # more than any text needs, so that only the beginning of a long file is read


@dataclass(frozen=True)
class TokenizedText:
    """A text as token ids.

    Attributes:
        source: A file name, `built in`, or `ids`.
    """

    source: str
    ids: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.ids) < FEWEST_TOKENS:
            raise MisuseError(
                f"the text has {len(self.ids)} tokens, and the minimum is {FEWEST_TOKENS}; give a longer text"
            )


@dataclass(frozen=True)
class Window:
    """Tokens of one pass that starts with an empty cache, and the next token of each."""

    ids: tuple[int, ...]
    targets: tuple[int, ...]


def windows(ids: Sequence[int], width: int) -> Iterator[Window]:
    """Splits a text into passes of at most `width` tokens. The last target of one is the first token of the next."""
    for start in range(0, len(ids) - 1, width):
        targets = tuple(ids[start + 1 : start + 1 + width])
        yield Window(tuple(ids[start : start + len(targets)]), targets)


def tokenize_text(tokenizer: Tokenizer | None, file: Path | None, tokens: int) -> TokenizedText:
    """The first `tokens` tokens of a text file, or of the built-in text if `file` is None.

    Raises:
        MisuseError: the model has no tokenizer, or the file is not readable text.
    """
    if tokenizer is None:
        raise MisuseError(
            "the model has no tokenizer.json, so it cannot be compared on a text; give token ids with --ids"
        )
    source, text = ("built in", SAMPLE_TEXT) if file is None else (file.name, beginning(file, tokens))
    return TokenizedText(source, tuple(tokenizer.encode(text)[:tokens]))


def text_of_ids(ids: Sequence[int], vocab_size: int, tokens: int) -> TokenizedText:
    """The first `tokens` ids; each must be in a vocabulary of this size."""
    outside = [id for id in ids if not 0 <= id < vocab_size]
    if outside:
        raise MisuseError(f"id {outside[0]} is outside the vocabulary; give ids from 0 to {vocab_size - 1}")
    return TokenizedText("ids", tuple(ids[:tokens]))


def beginning(file: Path, tokens: int) -> str:
    """The beginning of a text file, long enough for `tokens` tokens.

    Raises:
        MisuseError: the file is not readable text, or is empty.
    """
    try:
        with file.open(encoding="utf8") as opened:
            text = opened.read(_CHARACTERS_A_TOKEN * tokens)
    except UnicodeDecodeError as error:
        raise MisuseError(f"{file} is not valid UTF-8 ({error.reason}); give a text file to --text") from error
    except OSError as error:
        raise MisuseError(f"{file} cannot be read: {error.strerror}; give a text file to --text") from error
    if not text.strip():
        raise MisuseError(f"{file} is empty; give a text file to --text")
    return text
