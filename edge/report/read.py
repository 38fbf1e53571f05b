"""Files beside a trace: a profile, a comparison. A file that is neither is one clear error."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge.compare.result import Comparison, from_json
from edge.dataclass_json import from_json_value, to_json_value
from edge.profile.record import Profile, open_profile
from models.errors import EdgeError
from models.json_text import parse_json


def read_profile(path: Path) -> Profile:
    """What `edge profile --json` wrote.

    Raises:
        EdgeError: there is none, or it holds something else; the message says what.
    """
    return open_profile(path)


def read_comparison(path: Path) -> Comparison:
    """What `edge compare --json` wrote.

    Raises:
        EdgeError: there is none, or it holds something else; the message says what.
    """
    if not path.is_file():
        raise EdgeError(f"there is no comparison at {path}; 'edge compare MODEL -e A -e B --json > FILE' writes one")
    try:
        record: Any = parse_json(path.read_text(encoding="utf8"))
        if not isinstance(record, dict):
            raise ValueError("it is no record of 'edge compare'")
        return from_json_value(Comparison, to_json_value(from_json(record)))
    except (ValueError, AttributeError, TypeError, EdgeError) as error:
        raise EdgeError(f"{path} is not a comparison that this Edge reads: {error}") from error


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """What cannot be drawn of a file is told with its name."""
    try:
        yield
    except (ValueError, IndexError, ZeroDivisionError, OverflowError, EdgeError) as error:
        raise EdgeError(f"{path} cannot be drawn: {error}") from error
