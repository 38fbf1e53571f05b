"""Writes folders atomically: into a temporary folder next to the target, which is then renamed."""

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
"""Names of temporary folders. `remove_leftovers` removes nothing else."""


@contextmanager
def atomic_folder(target: Path, fix: str) -> Iterator[Path]:
    """Yields a temporary folder to write into. It replaces `target` if the block succeeds, and is removed otherwise.

    If `target` is a symlink, the folder it resolves to is replaced and the link stays.

    Raises:
        EdgeError: the folder cannot be written; the message ends with `fix`.
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
        raise EdgeError(f"{target} cannot be written: {error.strerror or error}; {fix}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(parent: Path) -> None:
    """Removes temporary folders that killed processes left in `parent`; keeps those of running processes.

    A target that was moved away and not replaced is moved back.
    """
    for leftover in parent.glob(f".*{_SUFFIX}"):
        named = _NAME.fullmatch(leftover.name)
        if named is None or _is_running(int(named["writer"]), leftover):
            continue
        target = parent / named["target"]
        if named["old"] and not target.exists():
            os.replace(leftover, target)
        else:
            shutil.rmtree(leftover, ignore_errors=True)


def _is_running(writer: int, folder: Path) -> bool:
    """Whether the process that wrote `folder` still runs. Returns False for this process, which has no leftovers."""
    if writer == os.getpid():
        return False
    try:
        # A process younger than the folder has a reused process id.
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
