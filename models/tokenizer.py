"""A checkpoint's own tokenizer: text to ids, ids to text, and the tokens that end a text."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers.decoders import DecodeStream

from models.errors import CheckpointError

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
        ids: list[int] = self.rust.encode(text).ids
        if self.adds_bos and self.bos is not None and ids[:1] != [self.bos]:
            return [self.bos, *ids]
        return ids

    def encode_spelled(self, text: str) -> list[int]:
        """Ids of a text that spells out its special tokens, as chat templates do: none are added."""
        ids: list[int] = self.rust.encode(text, add_special_tokens=False).ids
        return ids

    def encode_answer(self, prompt: str, answer: str) -> tuple[list[int], list[int]]:
        """Ids of a prompt, and those that a space and the answer add to them.

        Where the tokenizer joins the end of the prompt to the answer, both begin to differ earlier: what they still
        share is the prompt, and the answer's first token spells the end of the prompt, too.
        """
        given, whole = self.encode(prompt), self.encode(f"{prompt} {answer}")
        pairs = enumerate(zip(given, whole, strict=False))
        shared = next((place for place, (left, right) in pairs if left != right), min(len(given), len(whole)))
        return whole[:shared], whole[shared:]

    def places(self, text: str, words: str) -> tuple[int, ...]:
        """Positions in `encode(text)` of the tokens that spell some of `words`, where these stand last in the text."""
        start = text.rindex(words)
        read = self.rust.encode(text)
        before = len(self.encode(text)) - len(read.ids)  # a token that begins every text
        end = start + len(words)
        return tuple(before + place for place, (low, high) in enumerate(read.offsets) if low < end and high > start)

    def decode(self, ids: list[int] | tuple[int, ...]) -> str:
        """The text of `ids`; special tokens leave no trace."""
        return str(self.rust.decode(list(ids), skip_special_tokens=True))

    def continuation(self, prompt: list[int], ids: list[int]) -> str:
        """The text that `ids` add after `prompt`: a leading space stays, as it would not in `decode(ids)`."""
        before, whole = self.decode(prompt), self.decode([*prompt, *ids])
        return whole[len(before) :] if whole.startswith(before) else self.decode(ids)

    def piece(self, id: int) -> str:
        """One token as a label: spaces kept, control characters and lone bytes escaped."""
        token = self.rust.id_to_token(id)
        if token is None:
            return f"<{id}>"
        if id in self.special:
            return str(token)
        if token.startswith("<0x") and token.endswith(">"):
            return _printable(bytes([int(token[3:-1], 16)]))
        if self.is_byte_level:
            return _printable(bytes(_BYTES[char] for char in token if char in _BYTES))
        return _printable(str(token).replace(_SPACE, " ").encode())

    @cached_property
    def special(self) -> frozenset[int]:
        """Tokens that stand for no text."""
        return frozenset(id for id, added in self.rust.get_added_tokens_decoder().items() if added.special)

    @cached_property
    def is_byte_level(self) -> bool:
        """Tokens spell bytes with stand-in characters, as GPT-2's do."""
        return "ByteLevel" in json.dumps(json.loads(self.rust.to_str()).get("decoder"))


class TextStream:
    """The text of a growing list of ids, piece by piece; a character split over tokens waits for its end."""

    def __init__(self, tokenizer: Tokenizer, prompt: list[int]) -> None:
        self._rust = tokenizer.rust
        self._stream = DecodeStream(prompt, skip_special_tokens=True)

    def add(self, id: int) -> str:
        """The text that became complete with this token."""
        return self._stream.step(self._rust, id) or ""


def open_tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer of a checkpoint folder; None where it has none, and only ids can be run."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    try:
        rust = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the package raises bare Exception
        raise CheckpointError(f"{file} cannot be read as a tokenizer: {error}") from error
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
    except ValueError as error:
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


def _first(ids: tuple[int, ...]) -> int | None:
    return ids[0] if ids else None


def _printable(raw: bytes) -> str:
    text = raw.decode("utf8", errors="backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _byte_level_bytes() -> dict[str, int]:
    """The byte behind each stand-in character of a byte-level tokenizer (Radford et al. 2019)."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + index): byte for index, byte in enumerate(hidden)}


_BYTES = _byte_level_bytes()
