"""Exit codes, and the errors of the public API. `models.errors` defines the errors, because every layer raises them."""

from models.errors import CheckpointError, EdgeError, MissingPackageError, MisuseError, SpecError

__all__ = ["CheckpointError", "EdgeError", "MissingPackageError", "MisuseError", "SpecError"]

FAILED, INTERRUPTED = 1, 130
"""Exit codes; 0 is success, 2 is misuse (`MisuseError.exit_code`)."""
