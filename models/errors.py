"""The errors that Edge raises on purpose: what happened, where, and what to do."""


class EdgeError(Exception):
    """Anything Edge refuses. Its text is one message a user can act on."""

    exit_code = 1


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
