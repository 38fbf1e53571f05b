"""What the tokenizers package raises, as one message: bare exceptions, and panics, which are no `Exception`."""

from collections.abc import Iterator
from contextlib import contextmanager

from models.errors import CheckpointError, EdgeError


@contextmanager
def as_edge_error(what: str, kind: type[EdgeError] = CheckpointError) -> Iterator[None]:
    """Whatever goes wrong meanwhile is an error of this kind that begins with `what`."""
    try:
        yield
    except EdgeError:
        raise
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise kind(f"{what}: {' '.join(str(error).split())}") from error
        raise
