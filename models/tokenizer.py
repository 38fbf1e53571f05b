"""A checkpoint's own tokenizer: text to ids, ids to text, and the tokens that end a text."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

import tokenizers

from models.decoding import byte_of, bytes_of, decoder_parts, decoding_of
from models.errors import CheckpointError, MisuseError
from models.panics import as_error

_SPACE = "▁"  # what sentencepiece writes for a space


@dataclass(frozen=True)
class Tokenizer:
    """A `tokenizer.json` beside what the config files say of special tokens.

    Attributes:
        bos: The token that begins every text, where there is one.
        stop_tokens: Tokens after which generation ends.
        adds_bos: `tokenizer_config.json` wants `bos` in front of every text.
    """

    rust: tokenizers.Tokenizer
    bos: int | None
    stop_tokens: tuple[int, ...]
    adds_bos: bool

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, with the special tokens that the checkpoint puts around it."""
        ids = self._read(text).ids
        if self.adds_bos and self.bos is not None and ids[:1] != [self.bos]:
            return [self.bos, *ids]
        return ids

    def encode_spelled(self, text: str) -> list[int]:
        """Ids of a text that spells out its special tokens, as chat templates do: none are added."""
        return self._read(text, add_special_tokens=False).ids

    def encode_answer(self, prompt: str, answer: str) -> tuple[list[int], list[int]]:
        """Ids of a prompt, and those that a space and the answer add to them.

        Where the tokenizer joins the end of the prompt to the answer, both begin to differ earlier: what they still
        share is the prompt, and the answer's first token spells the end of the prompt, too.
        """
        given, whole = self.encode(prompt), self.encode(f"{prompt} {answer}")
        shared = _shared(given, whole)
        return whole[:shared], whole[shared:]

    def places(self, text: str, words: str) -> tuple[int, ...]:
        """Positions in `encode(text)` of the tokens that spell some of `words`, where these stand last in the text.

        Raises:
            MisuseError: the text does not hold the words.
        """
        start = text.rfind(words)
        if start < 0:
            raise MisuseError(f"'{words}' is not in '{text}', so no token spells it")
        read = self._read(text)
        before = len(self.encode(text)) - len(read.ids)  # a token that begins every text
        end = start + len(words)
        return tuple(before + place for place, (low, high) in enumerate(read.offsets) if low < end and high > start)

    def decode(self, ids: list[int] | tuple[int, ...]) -> str:
        """The text of `ids`; special tokens leave no trace."""
        with as_error("the tokenizer cannot decode these tokens"):
            return str(self.rust.decode(list(ids), skip_special_tokens=True))

    def continuation(self, prompt: Sequence[int], ids: Sequence[int]) -> str:
        """The text that `ids` add after `prompt`, which is what a stream of them gives.

        That is `decode([*prompt, *ids])` without what it has in common with `decode(prompt)` from the start. A leading
        space stays, as it would not in `decode(ids)`; a character that the prompt began is whole.
        """
        stream = TextStream(self, prompt)
        return stream.add(*ids) + stream.end()

    def spelled(self, id: int) -> str | None:
        """The token as the vocabulary writes it; None where it leaves no text: special, or not in the vocabulary."""
        return None if id in self.special else self._token(id)

    def piece(self, id: int) -> str:
        """One token as a label: spaces kept, control characters and lone bytes escaped."""
        token = self._token(id)
        if token is None:
            return f"<{id}>"
        if id in self.special:
            return token
        if (byte := byte_of(token)) is not None:
            return _printable(bytes([byte]))
        return _printable(bytes_of(token) if self.is_byte_level else token.replace(_SPACE, " ").encode())

    def _read(self, text: str, add_special_tokens: bool = True) -> tokenizers.Encoding:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            broken = f"U+{ord(text[error.start]):04X} at character {error.start + 1}"
            raise MisuseError(
                f"the text is no valid Unicode: {broken} stands for broken bytes; write it in UTF-8"
            ) from error
        with as_error("the tokenizer cannot encode this text", MisuseError):
            return self.rust.encode(text, add_special_tokens=add_special_tokens)

    def _token(self, id: int) -> str | None:
        token = self.rust.id_to_token(id) if 0 <= id < 1 << 32 else None
        return None if token is None else str(token)

    @cached_property
    def special(self) -> frozenset[int]:
        """Tokens that stand for no text."""
        return frozenset(id for id, added in self.rust.get_added_tokens_decoder().items() if added.special)

    @cached_property
    def is_byte_level(self) -> bool:
        """Tokens spell bytes with stand-in characters, as GPT-2's do."""
        return any(part["type"] == "ByteLevel" for part in decoder_parts(self.rust.decoder))


class TextStream:
    """The text of a growing list of ids, in pieces that join to what `continuation` gives, whatever the ids.

    A character split over tokens waits for its last byte, and a byte token until another kind of token follows: more
    bytes could make its text another one.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int]) -> None:
        self._spelled, self._decoding = tokenizer.spelled, decoding_of(tokenizer.rust.decoder)
        self._decoding.add(self._tokens(prompt))
        self._given = self._decoding.rest()

    def add(self, *ids: int) -> str:
        """The text that became complete with these tokens."""
        return self._new(self._decoding.add(self._tokens(ids)))

    def end(self) -> str:
        """The text that never became complete; U+FFFD stands for bytes that make no character."""
        return self._new(self._decoding.rest())

    def _tokens(self, ids: Sequence[int]) -> list[str]:
        return [token for id in ids if (token := self._spelled(id)) is not None]

    def _new(self, text: str) -> str:
        """A text without what the prompt gave of it already."""
        shared = _shared(text, self._given)
        self._given = self._given[shared:] if shared == len(text) else ""
        return text[shared:]


def open_tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer of a checkpoint folder; None where it has none, and only ids can be run."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    with as_error(f"{file} cannot be read as a tokenizer"):
        rust = tokenizers.Tokenizer.from_file(str(file))
    # Some files keep the settings of their training, which would cut or fill every text.
    rust.no_truncation()
    rust.no_padding()
    config, tokenizer_config = keys_of(folder / "config.json"), keys_of(folder / "tokenizer_config.json")
    generation = keys_of(folder / "generation_config.json")
    return Tokenizer(
        rust=rust,
        bos=_first(_ids(rust, tokenizer_config.get("bos_token")) + _ids(rust, config.get("bos_token_id"))),
        stop_tokens=_ids(rust, generation.get("eos_token_id"))
        or _ids(rust, config.get("eos_token_id"))
        or _ids(rust, tokenizer_config.get("eos_token")),
        adds_bos=tokenizer_config.get("add_bos_token") is True,
    )


def keys_of(file: Path) -> dict[str, Any]:
    """The keys of a config file; none where there is no such file, or something else in it."""
    if not file.is_file():
        return {}
    try:
        keys = json.loads(file.read_text(encoding="utf8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} cannot be read as JSON: {error}") from error
    return keys if isinstance(keys, dict) else {}


def _ids(rust: tokenizers.Tokenizer, value: object) -> tuple[int, ...]:
    """Ids out of what config files write: an id, a list of them, a token, or a table with its content."""
    match value:
        case bool() | None:
            return ()
        case int():
            return (value,)
        case str():
            id = rust.token_to_id(value)
            return () if id is None else (int(id),)
        case list():
            return tuple(id for item in value for id in _ids(rust, item))
        case dict():
            return _ids(rust, value.get("content"))
    return ()


def _shared(left: Sequence[object], right: Sequence[object]) -> int:
    """How much both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))


def _first(ids: tuple[int, ...]) -> int | None:
    return ids[0] if ids else None


def _printable(raw: bytes) -> str:
    text = raw.decode("utf8", errors="backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
