"""JSON as Edge writes it: every reader of JSON reads it, and no terminal acts on it."""

import json
import re
from pathlib import Path

import pytest

from models.json_text import json_text

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_null(number: float) -> None:
    assert json_text({"a": [number, (1.5, number)], "b": number}) == '{"a": [null, [1.5, null]], "b": null}'


def test_controls_and_marks_of_direction_are_escaped_and_read_back_as_they_were() -> None:
    text = "é \x1b]52;c;aGk=\x07 \x7f\x9b31m \u202e\u2066 \u2028 \udcff"
    written = json_text({text: text})
    assert json.loads(written) == {text: text}, "what was written reads as something else"
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\udc00-\udfff]", written)
    assert "é" in written, "letters need no escape"


def test_only_one_module_writes_json_for_users() -> None:
    elsewhere = {"models/chat.py", "models/safetensors_file.py", "models/spec_json.py", "models/tokenizer.py"}
    found = {
        str(file.relative_to(ROOT))
        for package in ("models", "export", "edge", "tui")
        for file in (ROOT / package).rglob("*.py")
        if re.search(r"json\.dumps?\(", file.read_text(encoding="utf8")) and "training" not in file.parts
    }
    assert found - elsewhere - {"export/manifest.py"} == {"models/json_text.py"}
