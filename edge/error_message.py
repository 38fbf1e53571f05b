"""What is told of an exception that reaches a user: a refusal in its words, what the system says, or a defect of Edge.

The report of a defect is a file, which the user may send. It holds no prompt.
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
"""Characters of an exception's own text that a message quotes."""

_ENDS = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""What is no failure, and passes."""


@dataclass(frozen=True)
class ErrorMessage:
    """What a user reads, on one line, and the exit code.

    Attributes:
        is_defect: Nobody foresaw it, and there is a report of it.
    """

    message: str
    code: int
    is_defect: bool = False


_secrets: deque[str] = deque(maxlen=16)


def redact_in_reports(words: str) -> None:
    """Words of a prompt: no report holds them."""
    _secrets.append(words)


def error_message(error: BaseException, doing: str) -> ErrorMessage:
    """The message of an exception; one that nobody foresaw is reported in a file, whose path the message says.

    Args:
        doing: What was asked for, without the words of a prompt.

    Raises:
        KeyboardInterrupt, SystemExit, GeneratorExit: it is one.
    """
    if isinstance(error, _ENDS):
        raise error
    if isinstance(error, EdgeError):
        return ErrorMessage(escape_line(str(error)), error.exit_code)
    if isinstance(error, MemoryError):
        says = f"this machine's memory does not suffice ({error}); a smaller model or watch needs less"
        return ErrorMessage(escape_line(says), FAILED)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return ErrorMessage(escape_line(f"{where}{error.strerror or error}"), FAILED)
    return ErrorMessage(escape_line(_defect(error, doing)), FAILED, is_defect=True)


def _defect(error: BaseException, doing: str) -> str:
    said = _without_secrets(str(error)).strip()
    what = f"{type(error).__name__}: {said[:_SHOWN]}" if said else type(error).__name__
    try:
        file = _write(_report(error, doing))
    except Exception as refused:  # the border must hold whatever else is broken
        return f"this is a defect of Edge: {what} (no report could be written: {refused})"
    return f"this is a defect of Edge: {what}; please report it with {file}, which tells where, without your prompt"


def _report(error: BaseException, doing: str) -> str:
    versions = [f"python {sys.version.split()[0]} on {platform.platform()}"]
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions.append(f"{package} {version(package)}")
    happened = _without_secrets("".join(traceback.format_exception(error)))
    return "\n".join([f"asked for: {doing}", *versions, "", happened])


def _without_secrets(text: str) -> str:
    """The text with dots for the words of prompts; those of one or two letters tell nothing."""
    for secret in _secrets:
        for spelled in (secret, repr(secret)[1:-1]):
            text = text.replace(spelled, "...") if len(secret) > 2 else text
    return text


def _write(report: str) -> Path:
    """Keeps a report in the folder of what Edge keeps, and returns its file."""
    from export.bundle import cache_folder

    folder = cache_folder("reports")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{os.getpid()}.txt"
    file.write_text(report, encoding="utf8", errors="backslashreplace")
    return file
