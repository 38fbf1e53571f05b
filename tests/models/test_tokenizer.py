"""Text to ids and back, as the checkpoint's own tokenizer has it."""

from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from models.errors import CheckpointError, MisuseError
from models.special_tokens import keys_of
from models.tokenizer import TextStream, Tokenizer, open_tokenizer
from tests.shared import shared


@pytest.fixture(scope="module")
def gpt2() -> Tokenizer:
    tokenizer = open_tokenizer(shared("gpt2_tokenizer"))
    assert tokenizer is not None
    return tokenizer


@pytest.fixture(scope="module")
def stories() -> Tokenizer:
    tokenizer = open_tokenizer(shared("stories260K"))
    assert tokenizer is not None
    return tokenizer


def test_known_text_has_its_known_ids(gpt2: Tokenizer) -> None:
    assert gpt2.encode("Hello world") == [15496, 995]


@given(text=st.text(max_size=40))
def test_byte_level_text_comes_back(gpt2: Tokenizer, text: str) -> None:
    assert gpt2.decode(gpt2.encode(text)) == text


@given(text=st.text(st.characters(codec="utf8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20))
def test_a_stream_of_tokens_gives_the_whole_text(gpt2: Tokenizer, text: str) -> None:
    stream = TextStream(gpt2, [])
    assert "".join(stream.add(id) for id in gpt2.encode(text)) == text


def test_a_character_split_over_tokens_waits_for_its_end(gpt2: Tokenizer) -> None:
    ids, stream = gpt2.encode("🜂"), TextStream(gpt2, [])
    assert len(ids) > 1
    assert [stream.add(id) for id in ids] == [""] * (len(ids) - 1) + ["🜂"]


def test_pieces_are_printable_labels(gpt2: Tokenizer) -> None:
    assert [gpt2.piece(id) for id in gpt2.encode(" the\n")] == [" the", "\\n"]
    assert gpt2.piece(gpt2.encode("é")[0]) == "é"
    assert all(gpt2.piece(id).isprintable() for id in range(0, 50_257, 7))
    assert gpt2.piece(50_256) == "<|endoftext|>"
    assert gpt2.piece(99_999) == "<99999>"


def test_special_tokens_come_from_the_config_files(stories: Tokenizer) -> None:
    assert stories.stop_tokens == (2,)
    assert stories.named == {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    assert stories.encode("Once")[0] == 1
    assert stories.encode("Once").count(1) == 1, "the text begins twice"


def test_sentencepiece_text_keeps_its_spaces(stories: Tokenizer) -> None:
    prompt, rest = stories.encode("Once upon"), stories.encode(" a time")[1:]
    assert stories.continuation(prompt, rest).startswith(" ")
    assert stories.piece(stories.encode("Once")[1]) == " Once"
    assert stories.piece(3) == "\\x00", "byte tokens are shown escaped"


def test_settings_of_training_neither_cut_nor_fill_a_text(gpt2: Tokenizer, tmp_path: Path) -> None:
    trained = tokenizers.Tokenizer.from_str(gpt2.rust.to_str())
    trained.enable_truncation(4)
    trained.enable_padding(length=8)
    trained.save(str(tmp_path / "tokenizer.json"))
    opened = open_tokenizer(tmp_path)
    assert opened is not None
    for text in ("Hello world", "one two three four five six seven eight nine"):
        assert opened.encode(text) == gpt2.encode(text), f"'{text}' was cut or filled"


def test_a_folder_without_tokenizer_has_none(tmp_path: Path) -> None:
    assert open_tokenizer(tmp_path) is None


def test_a_broken_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json cannot be read as a tokenizer"):
        open_tokenizer(tmp_path)


@pytest.mark.parametrize("text", ["\ud83d", "a \udcff b"])
def test_half_a_character_is_refused(gpt2: Tokenizer, text: str) -> None:
    with pytest.raises(MisuseError, match=r"not valid Unicode: U\+D[8C](3D|FF) at character"):
        gpt2.encode(text)
    with pytest.raises(MisuseError, match="not valid Unicode"):
        gpt2.encode_spelled(text)


def test_a_text_that_the_tokenizer_has_no_token_for_is_refused() -> None:
    rust = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="missing"))
    with pytest.raises(MisuseError, match="cannot encode this text"):
        Tokenizer(rust=rust, named={}, stop_tokens=()).encode("b")


def test_words_that_a_text_does_not_hold_have_no_places(gpt2: Tokenizer) -> None:
    with pytest.raises(MisuseError, match="'Lima' is not in 'It is'"):
        gpt2.places("It is", "Lima")


def test_files_nested_too_deep_are_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json cannot be read as JSON"):
        keys_of(tmp_path / "tokenizer_config.json")
