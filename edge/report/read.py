"""Reads the files that a report can show with a trace: a profile and a comparison."""

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
    """A profile written by `edge profile --json`.

    Raises:
        EdgeError: the file does not exist, or is not a profile.
    """
    return open_profile(path)


def read_comparison(path: Path) -> Comparison:
    """A comparison written by `edge compare --json`.

    Raises:
        EdgeError: the file does not exist, or is not a comparison.
    """
    if not path.is_file():
        raise EdgeError(f"no comparison at {path}; 'edge compare MODEL -e A -e B --json > FILE' writes one")
    try:
        record: Any = parse_json(path.read_text(encoding="utf8"))
        if not isinstance(record, dict):
            raise ValueError("'edge compare --json' did not write it")
        return from_json_value(Comparison, to_json_value(from_json(record)))
    except (ValueError, AttributeError, TypeError, EdgeError) as error:
        raise EdgeError(f"{path} is not a comparison that this Edge reads: {error}") from error


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Adds the name of the file to errors of what cannot be drawn."""
    try:
        yield
    except (ValueError, IndexError, ZeroDivisionError, OverflowError, EdgeError) as error:
        raise EdgeError(f"{path} cannot be drawn: {error}") from error
