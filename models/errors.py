"""The errors that Edge raises on purpose: what happened, where, and what to do."""

import re

_LONG_WORD = re.compile(r"\S{400,}")

_LONGEST = 1_900


class EdgeError(Exception):
    """Anything Edge refuses. Its text is one message a user can act on.

    Values out of files stand in messages, and files may hold anything: long words and long messages are cut.
    """

    exit_code = 1

    def __init__(self, message: str) -> None:
        short = _LONG_WORD.sub(lambda found: f"{found[0][:150]}…{found[0][-50:]}", message)
        super().__init__(short if len(short) <= _LONGEST else f"{short[:_LONGEST]} …")


class MisuseError(EdgeError):
    """The request itself makes no sense: an unknown engine, an empty prompt, ids out of range."""

    exit_code = 2


class SpecError(EdgeError):
    """Sizes that no decoder can have, or a `config.json` with a feature Edge does not run."""


class CheckpointError(EdgeError):
    """A checkpoint folder that cannot be read, or does not hold what its config promises."""


class MissingPackageError(EdgeError):
    """A package that this work needs is not installed; the message says how to get it."""

    def __init__(self, need: str, package: str, extra: str) -> None:
        super().__init__(
            f"{need} needs the package '{package}', which is not installed here: pip install 'edge-lens[{extra}]'"
        )
