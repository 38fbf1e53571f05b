"""The message a user sees for an exception: an error of Edge, an error of the system, or a bug in Edge.

A bug is written to a report file that the user can send. The report contains no prompt.
"""

import os
import platform
import sys
import traceback
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edge.errors import FAILED, EdgeError
from edge.picture.escape import escape_line

_PACKAGES = (
    "edge-lens", "numpy", "onnxruntime", "torch", "mlx", "onnx", "onnxscript", "tokenizers", "safetensors",
    "huggingface-hub", "jinja2", "click", "textual",
)  # fmt: skip

_SHOWN = 200
"""Characters of an exception's text that the message quotes."""

_ENDS = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""Exceptions that are raised again: they are not failures."""


@dataclass(frozen=True)
class ErrorMessage:
    """The message, on one line, and the exit code.

    Attributes:
        is_bug: The error is unexpected, and a report was written.
    """

    message: str
    code: int
    is_bug: bool = False


_prompts: deque[str] = deque(maxlen=16)


def redact_in_reports(prompt: str) -> None:
    """Removes this text from all later reports."""
    _prompts.append(prompt)


def error_message(error: BaseException, doing: str) -> ErrorMessage:
    """The message for an exception. An unexpected one is also written to a report file, which the message names.

    Args:
        doing: The command or job that failed, without the text of a prompt.

    Raises:
        KeyboardInterrupt, SystemExit, GeneratorExit: `error` is one of these.
    """
    if isinstance(error, _ENDS):
        raise error
    if isinstance(error, EdgeError):
        return ErrorMessage(escape_line(str(error)), error.exit_code)
    if isinstance(error, MemoryError):
        message = f"this machine has not enough memory ({error}); use a smaller model, or watch fewer sites"
        return ErrorMessage(escape_line(message), FAILED)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return ErrorMessage(escape_line(f"{where}{error.strerror or error}"), FAILED)
    return ErrorMessage(escape_line(_bug_message(error, doing)), FAILED, is_bug=True)


def _bug_message(error: BaseException, doing: str) -> str:
    text = _without_prompts(str(error)).strip()
    what = f"{type(error).__name__}: {text[:_SHOWN]}" if text else type(error).__name__
    try:
        file = _write(_report(error, doing))
    except Exception as failure:  # a message must be shown whatever else is broken
        return f"this is a bug in Edge: {what} (no report could be written: {failure})"
    return f"this is a bug in Edge: {what}; please report it with {file}, which does not contain your prompt"


def _report(error: BaseException, doing: str) -> str:
    versions = [f"python {sys.version.split()[0]} on {platform.platform()}"]
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions.append(f"{package} {version(package)}")
    happened = _without_prompts("".join(traceback.format_exception(error)))
    return "\n".join([f"while running: {doing}", *versions, "", happened])


def _without_prompts(text: str) -> str:
    """The text with `...` in place of prompts of three or more characters."""
    for prompt in _prompts:
        for spelled in (prompt, repr(prompt)[1:-1]):
            text = text.replace(spelled, "...") if len(prompt) > 2 else text
    return text


def _write(report: str) -> Path:
    """Writes a report to the `reports` folder of the cache and returns its path."""
    from models.cache_folder import cache_folder

    folder = cache_folder("reports")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{os.getpid()}.txt"
    file.write_text(report, encoding="utf8", errors="backslashreplace")
    return file
