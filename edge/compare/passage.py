"""The text that variants are compared on, in tokens: Edge's own, a file's, or plain ids."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.errors import MisuseError
from models.tokenizer import Tokenizer

LONGEST_WINDOW = 512
"""Tokens of one pass at most: bounds the logits that are held of it."""

FEWEST_TOKENS = 3
"""Two positions with a next token: the least that has a standard error."""

_CHARACTERS_A_TOKEN = 64  # more than any text needs, so that the beginning of a long file is enough

OWN_TEXT = """\
The clock in the harbour office was slow again. Every morning Ines wound it, set it by the church bell, and wrote the \
difference in a small green book: four minutes on Monday, five on Tuesday, nine on the day of the storm. "It is not \
the clock," said the old pilot, who had come in to dry his coat. "It is the hill. The bell is late, and always was."

She laughed, but the next day she carried the clock up to the tower. There were two hundred and twelve steps, and she \
counted them aloud. At the top the wind came in from three sides. Below her lay the whole town: the red roofs, the \
ropewalk, the river with its one stone bridge, and beyond it the sea, as flat and grey as a slate. She waited until \
the great hammer rose. When it fell she looked at the hands, and they stood at noon exactly.

So the old man had been right. A sound needs time to come down a hill, though nobody would call it four minutes. \
What, then, had she been measuring? She asked the baker, who said that he rose when the bread told him to. She asked \
the schoolmaster, who drew a circle on the board, and a line through it, and said that the answer was somewhere on \
the line. She asked the ferryman, and he only pointed at the water. "It goes out," he said, "and it comes back. In \
between, I have my dinner."

In the end she did what she should have done at first. She opened the clock. Behind the brass plate, between the \
second wheel and the third, sat a spider no larger than a grain of rice; and from the spider a single thread ran to \
the pendulum, so fine that it could be seen only when the sun was on it. Each swing drew the thread tight, and each \
time the clock lost the smallest part of a second. Ines looked at it for a long while. Then she closed the plate, \
took the green book, and wrote: nine minutes, and a spider.
"""
"""Written for this purpose, so that no model has learnt it by heart."""


@dataclass(frozen=True)
class Passage:
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


def passage_of_text(tokenizer: Tokenizer | None, file: Path | None, tokens: int) -> Passage:
    """The first `tokens` tokens of a text file, or of Edge's own text where `file` is None.

    Raises:
        MisuseError: the model has no tokenizer, or the file cannot be read as text; the message says what to give.
    """
    if tokenizer is None:
        raise MisuseError("the model has no tokenizer.json, so it cannot be compared on a text; give --ids")
    source, text = ("built in", OWN_TEXT) if file is None else (file.name, beginning(file, tokens))
    return Passage(source, tuple(tokenizer.encode(text)[:tokens]))


def passage_of_ids(ids: Sequence[int], vocab_size: int, tokens: int) -> Passage:
    """The first `tokens` of some ids, which a vocabulary of this size must hold."""
    outside = [id for id in ids if not 0 <= id < vocab_size]
    if outside:
        raise MisuseError(f"id {outside[0]} is outside the vocabulary; ids run from 0 to {vocab_size - 1}")
    return Passage("ids", tuple(ids[:tokens]))


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
