"""Files that users name, written whole or not at all: symlinks are followed, devices and pipes are written into."""

import errno
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISREG

from models.errors import EdgeError, MisuseError


def write_text(path: Path, text: str) -> Path:
    """Writes `text` as UTF-8, as `write_file` does."""
    return write_file(path, lambda part: part.write_text(text, encoding="utf8"))


def write_file(path: Path, write: Callable[[Path], object]) -> Path:
    """Lets `write` write a file beside the one that `path` leads to, then renames it; returns `path`.

    A write that fails leaves the file as it was. A device or a pipe gets the finished bytes and is never replaced.

    Raises:
        EdgeError: nothing can be written there; the message says why.
    """
    try:
        found = _status(path)
        if found is not None and (not S_ISREG(found.st_mode) or _open_as(found) is not None):
            _send(path, found, write)
        else:
            _replace(Path(os.path.realpath(path)), found, write)
    except OSError as error:
        raise EdgeError(f"{path} could not be written: {error.strerror or error}") from error
    except EdgeError:
        raise
    except Exception as error:  # safetensors wraps what the system says in an error of its own
        raise EdgeError(f"{path} could not be written: {error}") from error
    return path


def check_output(path: Path, *inputs: Path | None) -> None:
    """Refuses a place that cannot be written, or that holds what is read, before minutes are spent.

    Raises:
        MisuseError: the message says why, and what to name instead.
    """
    if path.is_dir():
        raise MisuseError(f"{path} is a folder; name the file to write")
    for read in inputs:
        if read is not None and path.exists() and read.exists() and path.samefile(read):
            raise MisuseError(f"{path} would be written over what is read from it; name another file")
    folder = Path(os.path.realpath(path)).parent
    if not path.exists() and not folder.is_dir():
        raise MisuseError(f"there is no folder {folder} to write {path.name} to; make it, or name a file elsewhere")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise MisuseError(f"{path} cannot be written: permission denied; name a file elsewhere")


def file_bytes(path: Path) -> int | None:
    """Size of a plain file; None of a device or a pipe, which keeps nothing."""
    return path.stat().st_size if path.is_file() else None


def _status(path: Path) -> os.stat_result | None:
    """What `path` leads to; None where nothing is there yet."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    if S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder; name a file in it")
    return found


def _open_as(found: os.stat_result) -> int | None:
    """The descriptor of this process's output that is this file: a shell may have opened it, as for /dev/stdout."""
    for descriptor in (1, 2):
        try:
            if os.path.samestat(found, os.fstat(descriptor)):
                return descriptor
        except OSError:  # closed
            continue
    return None


def _send(stream: Path, found: os.stat_result, write: Callable[[Path], object]) -> None:
    with tempfile.TemporaryDirectory(prefix="edge-") as folder:
        part = Path(folder) / "part"
        write(part)
        descriptor = _open_as(found)
        sys.stdout.flush()
        target = os.open(stream, os.O_WRONLY) if descriptor is None else os.dup(descriptor)
        with part.open("rb") as finished, open(target, "wb") as opened:
            shutil.copyfileobj(finished, opened)


def _replace(file: Path, found: os.stat_result | None, write: Callable[[Path], object]) -> None:
    if found is not None and not os.access(file, os.W_OK):
        raise PermissionError(errno.EACCES, "the file is read-only")
    part = file.with_name(f".{secrets.token_hex(8)}.part")
    try:
        part.touch(exist_ok=False)
        mode = S_IMODE((found or part.stat()).st_mode)
        write(part)
        part.chmod(mode)  # safetensors lets nobody but its user read a file
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
