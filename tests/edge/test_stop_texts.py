"""A run ends with the token that completes a stop text."""

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

import edge
from edge.session import Model
from edge.stop_texts import StopTexts, check_stop_texts
from models.errors import MisuseError
from models.tokenizer import TextStream, open_tokenizer
from models.zoo import zoo_folder
from tests.tiny import tiny_checkpoint

MODEL = "fable-relu"
FOLDER = zoo_folder(MODEL)
assert FOLDER is not None
TOKENIZER = open_tokenizer(FOLDER)
assert TOKENIZER is not None
PROMPT = TOKENIZER.encode("Once upon a time")


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with edge.load(MODEL, threads=1) as opened:
        yield opened


@given(
    ids=st.lists(st.integers(0, TOKENIZER.rust.get_vocab_size() - 1), max_size=20),
    texts=st.lists(st.text("aeinost .", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_the_first_token_that_completes_one_is_found(ids: list[int], texts: list[str]) -> None:
    stops, stream = StopTexts(texts, TOKENIZER, PROMPT), TextStream(TOKENIZER, PROMPT)
    text, completed = "", False
    for id in ids:
        text, completed = text + stream.add(id), completed or stops.ends(id)
        assert completed == any(stop in text for stop in texts), f"{text!r}, stop texts {texts}"


def test_the_run_ends_there_and_says_why(model: Model) -> None:
    whole = model.run("Once upon a time", max_new_tokens=60)
    stop = whole.text[len(whole.text) // 2 :][:7]
    ended = model.run("Once upon a time", max_new_tokens=60, stop_texts=("never said", stop))
    assert ended.finish == "stop_text"
    assert whole.text.startswith(ended.text) and stop in ended.text and len(ended.tokens) < len(whole.tokens)
    assert stop not in model.tokenizer.decode(ended.generated[:-1]), "it ended a token late"


def test_text_of_the_prompt_ends_nothing(model: Model) -> None:
    assert len(model.run("Once upon a time", max_new_tokens=3, stop_texts=("upon",)).generated) == 3


@pytest.mark.parametrize("texts", ["end", [""], [3]])
def test_what_is_no_list_of_texts_is_refused(texts: Sequence[object]) -> None:
    with pytest.raises(MisuseError, match=r"stop_texts is 'end'; it must be a list|a stop text is ('|3)"):
        check_stop_texts(texts)


def test_ids_without_a_tokenizer_have_no_texts() -> None:
    with (
        Model(tiny_checkpoint("neox-full-rotary-relu"), "torch", 1, lambda _: None) as opened,
        pytest.raises(MisuseError, match="stop texts need a tokenizer"),
    ):
        opened.run(ids=[1], stop_texts=("a",))
