"""Converts errors of the tokenizers package, including Rust panics, to Edge's errors."""

from collections.abc import Iterator
from contextlib import contextmanager

from models.errors import CheckpointError, EdgeError


@contextmanager
def as_edge_error(what: str, kind: type[EdgeError] = CheckpointError) -> Iterator[None]:
    """Converts an error raised inside the block to `kind`, with a message that begins with `what`."""
    try:
        yield
    except EdgeError:
        raise
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise kind(f"{what}: {' '.join(str(error).split())}") from error
        raise
