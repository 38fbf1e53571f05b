"""The errors of Edge. A message says what happened, where, and what to do."""

import re

_LONG_WORD = re.compile(r"\S{400,}")

_LONGEST = 1_900


class EdgeError(Exception):
    """Base class of all errors in Edge. Its text is one message that says what to do.

    Messages quote values from files, so long words and long messages are truncated.
    """

    exit_code = 1

    def __init__(self, message: str) -> None:
        short = _LONG_WORD.sub(lambda match: f"{match[0][:150]}…{match[0][-50:]}", message)
        super().__init__(short if len(short) <= _LONGEST else f"{short[:_LONGEST]} …")


class MisuseError(EdgeError):
    """An invalid request: an unknown engine, an empty prompt, ids out of range."""

    exit_code = 2


class SpecError(EdgeError):
    """Invalid sizes, or a `config.json` with a feature that Edge does not support."""


class CheckpointError(EdgeError):
    """A checkpoint folder that cannot be read, or whose weights do not match its config."""


class MissingPackageError(EdgeError):
    """A required package is not installed; the message has the install command."""

    def __init__(self, need: str, package: str, extra: str) -> None:
        super().__init__(
            f"{need} needs the package '{package}', which is not installed: pip install 'edge-lens[{extra}]'"
        )
