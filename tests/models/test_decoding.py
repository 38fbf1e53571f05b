"""Streaming any ids, in any order, never raises, and joins to what decoding all of them gives."""

from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders

import edge
from edge.cli import exit_code
from models.decoding import Runs, byte_of
from models.errors import CheckpointError
from models.tokenizer import TextStream, Tokenizer, open_tokenizer
from models.zoo import zoo_folder
from tests.shared import shared

REAL = ("stories260K", "gpt2_tokenizer", "fable-relu")

WORDS = ("a", "▁", "▁b", "##c", "d</w>", " ", "", "é", "Ġ", "Ã", "©", "â", "Ģ", "�", "|", "<pad>")
BYTES = tuple(f"<0x{byte:02X}>" for byte in (0x41, 0x20, 0x80, 0x82, 0xA9, 0xAC, 0xC3, 0xE2, 0xF0, 0x9F, 0xFF))
ODD = ("<0xZZ>", "<0x1234>", "<0x>", "<0x+f>", "<0x é>", "<0xé>")
VOCABULARY = {token: id for id, token in enumerate([*WORDS, *BYTES, *ODD])}

SPACES = decoders.Replace("▁", " ")
DECODERS = {
    "none": None,
    "byte level": decoders.ByteLevel(),
    "llama": decoders.Sequence([SPACES, decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]),
    "gemma": decoders.Sequence([SPACES, decoders.ByteFallback(), decoders.Fuse()]),
    "bytes before spaces": decoders.Sequence([decoders.ByteFallback(), SPACES, decoders.Fuse()]),
    "bytes fused": decoders.Sequence([decoders.Fuse(), decoders.ByteFallback()]),
    "spaces and byte level": decoders.Sequence([SPACES, decoders.ByteLevel()]),
    "replaced bytes": decoders.Sequence([decoders.Replace("a", "<0xC3>"), decoders.ByteFallback()]),
    "metaspace": decoders.Metaspace(),
    "word pieces": decoders.WordPiece(),
    "ends of words": decoders.BPEDecoder(),
    "ctc": decoders.CTC(),
    "stripped of spaces": decoders.Sequence([decoders.Fuse(), decoders.Strip(" ", 3, 0)]),
    "stripped of letters": decoders.Sequence([decoders.Fuse(), decoders.Strip("a", 3, 0)]),
    "letters": decoders.Sequence([decoders.Replace(tokenizers.Regex("a+"), "aa"), decoders.Fuse()]),
    "nothing": decoders.Sequence([]),
}


def with_decoder(decoder: decoders.Decoder | None) -> Tokenizer:
    """A tokenizer of a few tokens, one of them special, that gives them their text in this way."""
    rust = tokenizers.Tokenizer(tokenizers.models.WordLevel(VOCABULARY, unk_token="a"))
    rust.add_special_tokens(["<|end|>"])
    if decoder is not None:
        rust.decoder = decoder
    return Tokenizer(rust=rust, named={}, stop_tokens=())


def opened(name: str) -> Tokenizer:
    folder = zoo_folder(name) or shared(name)
    tokenizer = open_tokenizer(folder)
    assert tokenizer is not None
    return tokenizer


def any_ids(tokenizer: Tokenizer) -> st.SearchStrategy[list[int]]:
    """Ids of any order, many of them parts of characters, some special, some outside the vocabulary."""
    size = tokenizer.rust.get_vocab_size()
    known = st.integers(0, size - 1)
    parts = [id for id in range(min(size, 512)) if byte_of(tokenizer.rust.id_to_token(id)) or 94 <= id < 256]
    rare = st.sampled_from([*sorted(tokenizer.special)[:3], *range(size, size + 3)])
    return st.lists(st.one_of(st.sampled_from(parts or [0]), known, rare), max_size=12)


def check_stream(tokenizer: Tokenizer, prompt: list[int], ids: list[int]) -> None:
    """The law itself, against `decode`, which is the package's own."""
    before, whole = tokenizer.decode(prompt), tokenizer.decode([*prompt, *ids])
    new = next((at for at, char in enumerate(whole) if before[at : at + 1] != char), len(whole))
    want = whole[new:]
    stream = TextStream(tokenizer, prompt)
    pieces = [stream.add(id) for id in ids]
    pieces.append(stream.end())
    assert "".join(pieces) == want, f"the pieces {pieces} do not join to {want!r}"
    assert tokenizer.continuation(prompt, ids) == want, "continuation() gives another text than the stream"


@pytest.mark.parametrize("name", [*DECODERS, *REAL])
def test_a_stream_joins_to_what_decoding_all_gives(name: str) -> None:
    tokenizer = with_decoder(DECODERS[name]) if name in DECODERS else opened(name)

    @given(prompt=any_ids(tokenizer), ids=any_ids(tokenizer))
    def law(prompt: list[int], ids: list[int]) -> None:
        check_stream(tokenizer, prompt, ids)

    law()


def test_a_decoder_that_fails_is_reported_in_one_message(capfd: pytest.CaptureFixture[str]) -> None:
    """The package panics where two spaces are to be taken off the end of nothing."""
    tokenizer = with_decoder(decoders.Strip(" ", 0, 2))
    space = VOCABULARY[" "]
    for failing in (lambda: tokenizer.decode([space]), lambda: tokenizer.continuation([], [space])):
        with pytest.raises(CheckpointError, match="cannot decode these tokens"):
            failing()
    capfd.readouterr()  # it also prints


@pytest.mark.parametrize("name", REAL)
def test_without_a_prompt_the_pieces_are_the_decoded_text(name: str) -> None:
    real = opened(name)
    ids = real.encode("Once upon a time — naïve 🜂 friends.")
    stream = TextStream(real, [])
    pieces = [stream.add(id) for id in ids]
    assert "".join(pieces) + stream.end() == real.decode(ids)
    assert sum(bool(piece) for piece in pieces) > 5, f"the text does not come as it is made: {pieces}"


def test_bytes_that_become_invalid_are_not_shown_before() -> None:
    """`<0x41>` is A, and `<0x41><0xFF>` two characters that are not."""
    stories = opened("stories260K")
    letter, broken = (stories.rust.token_to_id(token) for token in ("<0x41>", "<0xFF>"))
    stream = TextStream(stories, stories.encode("Once"))
    assert [stream.add(letter), stream.add(broken), stream.end()] == ["", "", "��"]


def test_a_character_that_the_prompt_began_is_whole() -> None:
    gpt2 = opened("gpt2_tokenizer")
    first, *rest = gpt2.encode("🜂")
    assert gpt2.continuation([first], rest) == "🜂"
    stories = opened("stories260K")
    prompt, word = stories.encode("🜂"), stories.rust.token_to_id("▁a")
    assert stories.continuation(prompt, [word]) == " a", "the prompt's last character comes twice"


class Counting:
    """A decoder that counts the tokens it is given."""

    def __init__(self, decoder: decoders.Decoder) -> None:
        self._decoder, self.decoded = decoder, 0

    def decode(self, tokens: list[str]) -> str:
        self.decoded += len(tokens)
        return str(self._decoder.decode(tokens))


@pytest.mark.parametrize("token", ["▁b", "<0x41>", "<0xFF>"])
def test_a_token_costs_the_same_however_many_came_before(token: str) -> None:
    """A stream that decoded all tokens again and again would decode half a million of a thousand."""
    counting = Counting(DECODERS["llama"])
    decoding = Runs(counting.decode, has_bytes=True)
    for _ in range(1000):
        decoding.add([token])
    decoding.add(["a"])
    assert 1000 <= counting.decoded <= 3000


def test_pieces_of_odd_tokens_are_labels() -> None:
    for decoder in (decoders.ByteFallback(), decoders.ByteLevel()):
        tokenizer = with_decoder(decoder)
        labels = {token: tokenizer.piece(id) for token, id in VOCABULARY.items()}
        assert labels["<0xZZ>"] == "<0xZZ>" and labels["<0x1234>"] == "<0x1234>"
        assert labels["<0x41>"] == "A" and labels["<0xFF>"] == "\\xff"
        assert all(label.isprintable() for label in labels.values())
        assert tokenizer.piece(1 << 40) == f"<{1 << 40}>" and tokenizer.piece(-1) == "<-1>"


def test_a_run_that_draws_broken_bytes_ends(capfd: pytest.CaptureFixture[str]) -> None:
    """At this temperature nearly all tokens are equally likely."""
    folder, reported = shared("stories260K"), list[str]()
    words = ["run", str(folder), "Once", "--temperature", "30", "--seed", "0", "-n", "100", "-e", "torch"]
    assert exit_code(words) == 0
    with edge.load(folder, engine="torch") as model:
        sampling = edge.Sampling(temperature=30.0)
        trace = model.run(
            "Once", max_new_tokens=100, sampling=sampling, on_token=lambda token: reported.append(token.text)
        )
    assert trace.text.startswith("".join(reported)) and "�" in trace.text
    assert capfd.readouterr().out == trace.text + "\n"


def test_ids_alone_are_printed_as_they_are_in_the_text(tmp_path: Path, byte_llama: Path) -> None:
    for file in byte_llama.iterdir():
        if file.name != "tokenizer.json":
            (tmp_path / file.name).symlink_to(file)
    with edge.load(tmp_path, engine="torch") as model:
        reported: list[str] = []
        trace = model.run(ids=[1, 2], max_new_tokens=4, on_token=lambda token: reported.append(token.text))
    assert "".join(reported) == trace.text == " ".join(map(str, trace.generated))
