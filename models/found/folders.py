"""Reads folders of other programs by the names that are in them."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from models.errors import CheckpointError

DEPTH = 4
"""Levels of folders below one that are searched."""


class UnreadableFolderError(CheckpointError):
    """A folder that the user may not read, or that fails to be read."""

    def __init__(self, folder: Path, problem: str) -> None:
        super().__init__(f"{folder} {problem}")
        self.folder, self.problem = folder, problem


def names_in(folder: Path) -> list[str]:
    """Names of files and folders in a folder, sorted; none if it is absent.

    Raises:
        UnreadableFolderError: it cannot be read.
    """
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UnreadableFolderError(folder, f"cannot be read ({error.strerror or error})") from error


def entry_named(folder: Path, name: str) -> Path | None:
    """The file or folder with a name, in any case; None if there is none. A name with a path in it names none."""
    names = names_in(folder)
    alike = [one for one in names if one.casefold() == name.casefold()]
    return folder / (name if name in alike else alike[0]) if alike else None


def descend(folder: Path, names: Iterable[str]) -> Path | None:
    """The file or folder that a series of names leads to; None if one of them is not there."""
    here: Path | None = folder
    for name in names:
        here = entry_named(here, name) if here is not None else None
    return here


def gguf_paths(folder: Path) -> list[str]:
    """GGUF files in a folder and those below it, as paths from there, with slashes."""
    found: list[str] = []
    for here, folders, names in os.walk(folder):
        depth = len(Path(here).relative_to(folder).parts)
        folders[:] = [name for name in folders if not name.startswith(".")] if depth < DEPTH else []
        files = (Path(here, name) for name in names if name.lower().endswith(".gguf"))
        found += [file.relative_to(folder).as_posix() for file in files if os.path.isfile(file)]
    return sorted(found)


def home() -> Path:
    """The user's home folder."""
    return Path(os.path.expanduser("~"))


def distinct(folders: Sequence[Path]) -> tuple[Path, ...]:
    """Folders without repetition, in order."""
    return tuple(dict.fromkeys(Path(os.path.expanduser(folder)) for folder in folders))
