"""JSON out of files is read only so deep, and what it holds cannot make a message of an error long."""

import pytest

from models.errors import EdgeError
from models.json_text import MAX_DEPTH, parse_json


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 10_000, 100_000])
def test_what_is_nested_too_deeply_is_no_json(levels: int) -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        with pytest.raises(ValueError, match="nested deeper than 100 levels"):
            parse_json(opening * levels + "1" + closing * levels)


def test_what_is_nested_less_deeply_is_read() -> None:
    value = parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    for _ in range(MAX_DEPTH - 1):
        (value,) = value
    assert value == []


def test_a_message_stays_short_whatever_stands_in_it() -> None:
    reported = str(EdgeError(f"the key is {'x' * 5_000}; it must be a number"))
    assert (
        reported.startswith("the key is xxx")
        and "…" in reported
        and reported.endswith("it must be a number")
        and len(reported) < 300
    )
    assert len(str(EdgeError("word " * 5_000))) < 2_000
    path = "/a" * 150
    assert str(EdgeError(f"there is no file {path}")) == f"there is no file {path}", "a long path is not cut"
