"""Which files people read, and the pieces of each."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.words import python_source
from tests.words.piece import ROOT, Piece, shown, words_of

FOLDERS = ("models", "export", "edge", "tui", "docs", "tests")
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml")
TEXTS = {".md", ".txt", ".js", ".css", ".html", ".tcss", ".toml"}
NOT_READ = (
    "tests/words/",
    "tests/campaign/pieces.txt",
    "constraints.txt",
    "models/sample_text.py",
    "edge/lab/prompts.py",
)
"""The list of phrases and its tests, texts that models read, and names of packages."""

HELP = ("tui/help/", "docs/commands.md")
"""Files that are help: their sentences are short."""


def readable(paths: Iterable[Path] = ()) -> Iterator[Path]:
    """Every file below some paths; without any, of the whole project."""
    for path in paths or [ROOT / name for name in (*FOLDERS, *PAGES)]:
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (file for file in found if _is_read(file))


def _is_read(file: Path) -> bool:
    is_hidden = any(part.startswith(".") or part == "__pycache__" for part in Path(shown(file)).parts)
    return (
        (file.suffix in {".py", *TEXTS} or file.name == "Makefile")
        and not is_hidden
        and not shown(file).startswith(NOT_READ)
    )


def pieces_of(file: Path) -> Iterator[Piece]:
    """What people read in a file, its name included."""
    yield Piece(shown(file), 1, words_of(file.stem), kind="module", lines=(file.stem,))
    if file.suffix == ".py":
        yield from python_source.pieces_of(file)
        return
    yield Piece(shown(file), 1, file.read_text(encoding="utf8"), is_brief=shown(file).startswith(HELP))
