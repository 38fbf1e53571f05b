"""A template that would loop for ever ends in a message, and one that ends is left alone."""

import sys
from pathlib import Path

import pytest

from models.bounded import LINES
from models.chat import ChatTemplate, Turn
from models.errors import CheckpointError

_TWICE = "{% for a in range(100000) %}{% for b in range(100000) %}{% set x = a %}{% endfor %}{% endfor %}"

ENDLESS = (_TWICE, "{% macro m() %}" + _TWICE + "{% endmacro %}{{ m() }}")


@pytest.mark.parametrize("source", ENDLESS)
def test_a_template_that_does_not_end_is_refused(source: str) -> None:
    with pytest.raises(CheckpointError, match=f"runs more than {LINES:,} lines"):
        ChatTemplate(source, Path("chat_template.jinja"), {}).text_of([Turn("user", "Hi")])


def test_a_long_conversation_is_rendered_and_tracing_is_as_before() -> None:
    traced: list[str] = []

    def trace(*_: object) -> None:
        traced.append("call")

    source = "{% for message in messages %}{{ message.role + message.content }}{% endfor %}"
    turns = [Turn("user", "Hi")] * 20_000
    sys.settrace(trace)
    try:
        text = ChatTemplate(source, Path("chat_template.jinja"), {}).text_of(turns)
        assert sys.gettrace() is trace, "whoever traced before does no longer"
    finally:
        sys.settrace(None)
    assert text == "userHi" * 20_000
