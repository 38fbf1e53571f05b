"""The errors of the public API; `models.errors` defines them, since every layer raises them."""

from models.errors import CheckpointError, EdgeError, MissingPackageError, MisuseError, SpecError

__all__ = ["CheckpointError", "EdgeError", "MissingPackageError", "MisuseError", "SpecError"]
