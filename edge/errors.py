"""The errors of the public API, which `models.errors` defines since every layer raises them, and exit codes."""

from models.errors import CheckpointError, EdgeError, MissingPackageError, MisuseError, SpecError

__all__ = ["CheckpointError", "EdgeError", "MissingPackageError", "MisuseError", "SpecError"]

FAILED, INTERRUPTED = 1, 130
"""What the process ends with, where no error says otherwise; 0 is done, 2 is misuse."""
