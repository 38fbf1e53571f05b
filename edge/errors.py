"""The errors of the public API; `models.errors` defines them, since every layer raises them."""

from models.errors import CheckpointError, EdgeError, MisuseError, MissingPackageError, SpecError

__all__ = ["CheckpointError", "EdgeError", "MisuseError", "MissingPackageError", "SpecError"]
