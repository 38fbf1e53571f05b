"""Folders that appear whole or not at all: written beside their place, then renamed into it."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from models.errors import EdgeError

_SUFFIX, _OLD = ".edge-partial", "-old"
_NAME = re.compile(rf"\.(?P<target>.+?)(?P<old>{_OLD})?\.(?P<writer>\d+)\{_SUFFIX}")
"""How leftovers are told from folders of somebody else's: nothing else is ever swept."""


@contextmanager
def atomic_folder(target: Path, way_out: str) -> Iterator[Path]:
    """A folder to write into; it takes `target`'s place when the block ends well and is removed otherwise.

    Where `target` is a symlink, what it leads to is replaced and the link stays.

    Raises:
        EdgeError: the disk refuses; the message ends with `way_out`.
    """
    target = Path(os.path.realpath(target))
    folder = target.parent / f".{target.name}.{os.getpid()}{_SUFFIX}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target.parent)
        folder.mkdir()
        yield folder
        _swap(folder, target)
    except OSError as error:
        raise EdgeError(f"{target} cannot be written: {error.strerror or error}; {way_out}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(parent: Path) -> None:
    """Removes what killed writers left in `parent`; folders that a living process writes stay.

    A target that was moved aside and never replaced goes back to its place.
    """
    for leftover in parent.glob(f".*{_SUFFIX}"):
        named = _NAME.fullmatch(leftover.name)
        if named is None or _is_living(int(named["writer"]), leftover):
            continue
        target = parent / named["target"]
        if named["old"] and not target.exists():
            os.replace(leftover, target)
        else:
            shutil.rmtree(leftover, ignore_errors=True)


def _is_living(writer: int, folder: Path) -> bool:
    """Whether the process that wrote `folder` still runs; this one has nothing left over when it sweeps."""
    if writer == os.getpid():
        return False
    try:
        # A process younger than the folder got the number of the one that wrote it.
        return bool(psutil.Process(writer).create_time() <= folder.stat().st_mtime)
    except (psutil.Error, OSError):
        return False


def _swap(folder: Path, target: Path) -> None:
    if not target.exists():
        os.replace(folder, target)
        return
    old = folder.with_name(f".{target.name}{_OLD}.{os.getpid()}{_SUFFIX}")
    os.replace(target, old)
    try:
        os.replace(folder, target)
    except OSError:
        with suppress(OSError):
            os.replace(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)
