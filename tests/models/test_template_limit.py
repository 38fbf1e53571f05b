"""A template that never ends gives a message, and one that ends is not changed."""

import sys
from pathlib import Path

import pytest

from models import template_limit
from models.chat import ChatTemplate, Turn
from models.errors import CheckpointError

_TWICE = "{% for a in range(100000) %}{% for b in range(100000) %}{% set x = a %}{% endfor %}{% endfor %}"

ENDLESS = (_TWICE, "{% macro m() %}" + _TWICE + "{% endmacro %}{{ m() }}")


@pytest.mark.parametrize("source", ENDLESS)
def test_a_template_that_does_not_end_is_refused(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_limit, "MAX_LINES", 20_000)  # while tests check types, a line takes longer
    with pytest.raises(CheckpointError, match="runs more than 20,000 lines"):
        ChatTemplate(source, Path("chat_template.jinja"), {}).text_of([Turn("user", "Hi")])


def test_a_long_conversation_is_rendered_and_tracing_is_as_before() -> None:
    traced: list[str] = []

    def trace(*_: object) -> None:
        traced.append("call")

    source = "{% for message in messages %}{{ message.role + message.content }}{% endfor %}"
    turns = [Turn("user", "Hi")] * 5_000
    sys.settrace(trace)
    try:
        text = ChatTemplate(source, Path("chat_template.jinja"), {}).text_of(turns)
        assert sys.gettrace() is trace, "whoever traced before does no longer"
    finally:
        sys.settrace(None)
    assert text == "userHi" * 5_000
