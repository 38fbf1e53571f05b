"""Writes output files atomically. Follows symlinks; writes into devices and pipes without replacing them."""

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
    """Calls `write` with a temporary path in the same folder, then renames that file; returns `path`.

    If the write fails, the old file is unchanged. A device or a pipe receives the finished bytes.

    Raises:
        EdgeError: the file cannot be written; the message says why.
    """
    try:
        status = _status(path)
        if status is not None and (not S_ISREG(status.st_mode) or _output_descriptor(status) is not None):
            _send(path, status, write)
        else:
            _replace(Path(os.path.realpath(path)), status, write)
    except OSError as error:
        raise EdgeError(f"{path} cannot be written: {error.strerror or error}") from error
    except EdgeError:
        raise
    except Exception as error:  # safetensors wraps errors of the system in its own class
        raise EdgeError(f"{path} cannot be written: {error}") from error
    return path


def check_output(path: Path, *inputs: Path | None) -> None:
    """Checks before a long computation that `path` can be written and is not one of the inputs.

    Raises:
        MisuseError: it cannot be written, or is an input; the message says what to do.
    """
    if path.is_dir():
        raise MisuseError(f"{path} is a folder; name the file to write")
    for read in inputs:
        if read is not None and path.exists() and read.exists() and path.samefile(read):
            raise MisuseError(f"{path} is also read by this command and would be overwritten; name another file")
    folder = Path(os.path.realpath(path)).parent
    if not path.exists() and not folder.is_dir():
        raise MisuseError(f"the folder {folder} for {path.name} does not exist; create it, or name another file")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise MisuseError(f"{path} cannot be written: permission denied; name another file")


def file_bytes(path: Path) -> int | None:
    """Size of a regular file in bytes; None for a device or a pipe."""
    return path.stat().st_size if path.is_file() else None


def _status(path: Path) -> os.stat_result | None:
    """Status of the file that `path` resolves to; None if there is none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    if S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder; name a file in it")
    return status


def _output_descriptor(status: os.stat_result) -> int | None:
    """The output descriptor (1 or 2) of this process that is this file, as for /dev/stdout; None if neither is."""
    for descriptor in (1, 2):
        try:
            if os.path.samestat(status, os.fstat(descriptor)):
                return descriptor
        except OSError:  # closed
            continue
    return None


def _send(stream: Path, status: os.stat_result, write: Callable[[Path], object]) -> None:
    with tempfile.TemporaryDirectory(prefix="edge-") as folder:
        part = Path(folder) / "part"
        write(part)
        descriptor = _output_descriptor(status)
        sys.stdout.flush()
        target = os.open(stream, os.O_WRONLY) if descriptor is None else os.dup(descriptor)
        with part.open("rb") as finished, open(target, "wb") as opened:
            shutil.copyfileobj(finished, opened)


def _replace(file: Path, status: os.stat_result | None, write: Callable[[Path], object]) -> None:
    if status is not None and not os.access(file, os.W_OK):
        raise PermissionError(errno.EACCES, "the file is read-only")
    part = file.with_name(f".{secrets.token_hex(8)}.part")
    try:
        part.touch(exist_ok=False)
        mode = S_IMODE((status or part.stat()).st_mode)
        write(part)
        part.chmod(mode)  # safetensors creates files that only their owner can read
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
