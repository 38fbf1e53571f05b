"""Folders that appear whole or not at all: written beside their place, then renamed into it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from models.errors import EdgeError

_SUFFIX = ".partial"


@contextmanager
def staged(target: Path, way_out: str) -> Iterator[Path]:
    """A folder to write into; it takes `target`'s place when the block ends well and is removed otherwise.

    Raises:
        EdgeError: the disk refuses; the message ends with `way_out`.
    """
    folder = target.parent / f".{target.name}.{os.getpid()}{_SUFFIX}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent)
        folder.mkdir()
        yield folder
        _swap(folder, target)
    except OSError as error:
        raise EdgeError(f"{target} cannot be written: {error.strerror or error}; {way_out}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Removes what killed writers left in `parent`; folders that a living process writes stay."""
    for leftover in parent.glob(f".*{_SUFFIX}"):
        if not _is_being_written(leftover):
            shutil.rmtree(leftover, ignore_errors=True)


def _is_being_written(folder: Path) -> bool:
    writer = folder.name.removesuffix(_SUFFIX).rpartition(".")[2]
    if not writer.isdecimal() or int(writer) == os.getpid():
        return False
    try:
        started = psutil.Process(int(writer)).create_time()
        # A process younger than the folder got the number of the one that wrote it.
        return started <= folder.stat().st_mtime
    except (psutil.Error, OSError):
        return False


def _swap(folder: Path, target: Path) -> None:
    if not target.exists():
        os.replace(folder, target)
        return
    old = folder.with_name(f".{target.name}-old.{os.getpid()}{_SUFFIX}")
    os.replace(target, old)
    try:
        os.replace(folder, target)
    except OSError:
        with suppress(OSError):
            os.replace(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)
