"""A survey: the same in one piece, stopped and resumed, and in parts that are added."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import edge
from edge.commands.survey import read_survey
from edge.lab.survey import OF_HEADS, OF_LAYERS, Part, Survey, begin, from_json, survey, to_json, windows_of
from edge.measure.attention import entropy_bits, first_token_share, mean_distance
from edge.measure.sparsity import exact_zero_share, gini, hoyer, top_p_sparsity
from edge.session import Model
from edge.watch import Watch
from models.errors import MisuseError
from tests.edge.conftest import Said

WORDS = 'The king went to the sea, and the sea was grey.\nHe said that it was cold; "so it is," said she.\n' * 60


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with edge.load("fable-relu", "onnx", threads=1) as opened:
        yield opened


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "words.txt").write_text(WORDS, encoding="utf8")
    return tmp_path / "words.txt"


ALL = Part(1, 1)


def whole(model: Model, text: Path, part: Part = ALL, stop_at: int | None = None) -> Survey:
    *_, last = islice(survey(model, text, begin(model, text, part)), stop_at)
    return last


def reported(found: Survey) -> str:
    return json.dumps(to_json(found) | {"parts": None}, sort_keys=True)


def test_a_survey_is_what_its_windows_are(model: Model, text: Path) -> None:
    found = whole(model, text)
    assert model.tokenizer is not None
    windows = list(windows_of(model.tokenizer, text, 256))
    assert found.parts == (Part(1, 1, len(windows)),) and found.tokens == sum(map(len, windows))
    traces = [model.run(ids=ids, max_new_tokens=0, watch=Watch.all()) for ids in windows]
    neurons = np.concatenate([trace.neurons(3) for trace in traces])
    for name, measure in zip(OF_LAYERS, (exact_zero_share, top_p_sparsity, hoyer, gini), strict=True):
        assert found.mean(name)[3] == pytest.approx(measure(neurons).mean(), rel=1e-5), f"{name} is no mean over tokens"
    assert np.array_equal(found.counts.active[3], np.count_nonzero(neurons, axis=0))
    rows = [trace.pattern(1, 2)[1:] for trace in traces]
    measures = (entropy_bits, first_token_share, np.diagonal, mean_distance)
    for name, measure in zip(OF_HEADS, measures, strict=True):
        wanted = np.concatenate([measure(pattern) for pattern in rows]).mean()
        assert found.mean(name)[1, 2] == pytest.approx(wanted, rel=1e-5), f"{name} is no mean over queries"


def test_stopped_and_gone_on_with_it_is_the_same(model: Model, text: Path) -> None:
    kept = json.loads(json.dumps(to_json(whole(model, text, stop_at=2))))
    assert from_json(kept).parts == (Part(1, 1, 2),)
    assert reported(list(survey(model, text, from_json(kept)))[-1]) == reported(whole(model, text))


def test_parts_add_up_in_any_order(model: Model, text: Path) -> None:
    parts = [whole(model, text, Part(number, 3)) for number in (1, 2, 3)]
    one = parts[0].merged(parts[1]).merged(parts[2])
    other = parts[2].merged(parts[0].merged(parts[1]))
    assert reported(one) == reported(other) == reported(whole(model, text))


def test_what_does_not_belong_together_is_refused(model: Model, text: Path, tmp_path: Path) -> None:
    first = whole(model, text, Part(1, 2), stop_at=1)
    with pytest.raises(MisuseError, match="windows in common"):
        first.merged(first)
    with pytest.raises(MisuseError, match="windows in common"):
        first.merged(begin(model, text, Part(2, 3)))
    (tmp_path / "other.txt").write_text("other words", encoding="utf8")
    with pytest.raises(MisuseError, match="cannot merge surveys of two texts"):
        first.merged(begin(model, tmp_path / "other.txt", Part(2, 2)))


def test_a_text_without_a_space_is_read_too(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.lab.survey._PIECE_CHARACTERS", 7)
    (tmp_path / "line.txt").write_text("abc" * 40, encoding="utf8")
    assert model.tokenizer is not None
    ids = [id for window in windows_of(model.tokenizer, tmp_path / "line.txt", 16) for id in window]
    assert model.tokenizer.decode(ids) == "abc" * 40


def test_pieces_of_a_text_spell_what_the_whole_spells(
    model: Model, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.lab.survey._PIECE_CHARACTERS", 50)
    assert model.tokenizer is not None
    ids = [id for window in windows_of(model.tokenizer, text, 16) for id in window]
    assert ids == model.tokenizer.encode(WORDS), "a piece ends within a word"


def test_the_command_keeps_goes_on_and_adds(text: Path, tmp_path: Path, said: Said) -> None:
    kept, other = tmp_path / "1.json", tmp_path / "2.json"
    assert said("lab", "fable-relu", "--survey", text, "--keep", kept, "--part", "1/2")[0] == 0
    before = kept.read_text()
    code, _, err = said("lab", "fable-relu", "--survey", text, "--keep", kept, "--part", "1/2")
    assert code == 0 and "resuming after" in err and kept.read_text() == before, "a finished survey was read again"
    code, out, _ = said(
        "lab", "fable-relu", "--survey", text, "--keep", other, "--part", "2/2", "--add", kept, "--json"
    )
    assert code == 0
    both = from_json(json.loads(out))
    assert reported(both) == reported(read_survey(kept).merged(read_survey(other)))
    code, out, _ = said("lab", "fable-relu", "--survey", text)
    assert code == 0 and len(out.splitlines()) == 7, "a table has a line a layer, and one of headings"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--keep", "x"), "require --survey; add --survey TEXT"),
        (("--survey", "no-such-file"), "cannot be read: No such file"),
        (("--survey", "words.txt", "--part", "3/2"), "--part is '3/2'; give a part such as 2/3, the second of three"),
        (("--survey", "words.txt", "--claim", "F1"), "tests no claims"),
        (("--survey", "words.txt", "--add", "words.txt"), "is not a survey that this version of Edge reads"),
        (("--survey", "words.txt", "--keep", "words.txt"), "is also read by this command"),
    ],
)
def test_misuse_is_reported_in_a_message(
    options: tuple[str, ...], message: str, text: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(text.parent)
    code, out, err = said("lab", "fable-relu", *options)
    assert code in (1, 2) and message in err and "Traceback" not in err and not out


def test_a_survey_of_nothing_is_a_message(tmp_path: Path, said: Said) -> None:
    text, kept = tmp_path / "empty.txt", tmp_path / "kept.json"
    text.write_text("", encoding="utf8")
    for layout in ("--json", "--csv"):
        code, out, err = said("lab", "fable-relu", "--survey", text, "--keep", kept, layout)
        assert code == 2 and not out and f"{text} has no tokens for this survey" in err, (out, err)
    assert not kept.exists(), "a survey of nothing was kept"
