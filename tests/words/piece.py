"""One piece of text or one name that people read, and where it is."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


def shown(file: Path) -> str:
    """A path as messages name it: below the root of the project where it is, else whole."""
    file = file.resolve()
    return str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else str(file)


@dataclass(frozen=True)
class Piece:
    """One text or name.

    Attributes:
        source: A file below the root, a command (`edge run --help`) or a screen (`screen Layers at 80x24`).
        line: The line of `source` on which it starts; 0 where `source` has no lines.
        text: The text, or the words of a name with spaces between them.
        kind: `text`, `name` (an identifier) or `module` (the name of a file).
        is_brief: Whether it is help or a message, whose sentences are short.
        lines: The lines of `source` that it covers, where they differ from the lines of `text`.
    """

    source: str
    line: int
    text: str
    kind: str = "text"
    is_brief: bool = False
    lines: tuple[str, ...] = ()

    def place(self, start: int, found: str) -> str:
        """Where a phrase is that starts at an offset of the text: `edge/trace.py:12`."""
        if self.line == 0:
            return self.source
        if not self.lines:
            return f"{self.source}:{self.line + self.text.count(chr(10), 0, start)}"
        first = found.split()[0]
        inside = next((number for number, line in enumerate(self.lines) if found in line), None)
        if inside is None:
            inside = next((number for number, line in enumerate(self.lines) if first in line), 0)
        return f"{self.source}:{self.line + inside}"


def words_of(identifier: str) -> str:
    """The words of a name: `FFNTimes` and `ffn_times` are both `ffn times`."""
    split = re.sub(r"([a-z\d])([A-Z])|([A-Z]+)([A-Z][a-z])", r"\1\3 \2\4", identifier)
    return re.sub(r"[\W_]+", " ", split).strip().lower()
