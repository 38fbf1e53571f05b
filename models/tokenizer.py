"""A checkpoint's tokenizer: text to ids, ids to text, and stop tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path

import tokenizers

from models.chat import open_chat_template
from models.decoding import byte_of, bytes_of, decoder_parts, decoding_of
from models.errors import EdgeError, MisuseError
from models.other_formats import refuse_pointer
from models.rebuilt import apply_class, is_byte_level
from models.special_tokens import SpecialTokens, add_special_tokens, config_keys, read_special_tokens
from models.tokenizer_errors import as_edge_error

_SPACE = "▁"  # the space of sentencepiece


@dataclass(frozen=True)
class Tokenizer:
    """A `tokenizer.json` with the special tokens of the config files.

    Attributes:
        named: Special tokens by name, such as `bos_token`, as chat templates write them.
        stop_tokens: Tokens after which generation ends.
    """

    rust: tokenizers.Tokenizer
    named: Mapping[str, str]
    stop_tokens: tuple[int, ...]

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, with the special tokens that `tokenizer.json` adds.

        `add_bos_token` in `tokenizer_config.json` is ignored, as in transformers.
        """
        return self._read(text).ids

    def encode_spelled(self, text: str) -> list[int]:
        """Ids of a text that contains its special tokens, as from chat templates. Adds none."""
        return self._read(text, add_special_tokens=False).ids

    def encode_answer(self, prompt: str, answer: str) -> tuple[list[int], list[int]]:
        """Ids of a prompt, and the ids that a space and the answer add.

        If a token spans the end of the prompt and the start of the answer, it belongs to the answer.
        """
        alone, whole = self.encode(prompt), self.encode(f"{prompt} {answer}")
        shared = _shared(alone, whole)
        return whole[:shared], whole[shared:]

    def places(self, text: str, words: str) -> tuple[int, ...]:
        """Positions in `encode(text)` of the tokens of the last occurrence of `words`.

        Raises:
            MisuseError: the text does not contain the words.
        """
        start = text.rfind(words)
        if start < 0:
            raise MisuseError(f"'{words}' is not in '{text}'")
        end, offsets = start + len(words), self._read(text).offsets
        return tuple(place for place, (low, high) in enumerate(offsets) if low < end and high > start)

    def decode(self, ids: list[int] | tuple[int, ...]) -> str:
        """The text of `ids`, without special tokens."""
        with as_edge_error("the tokenizer cannot decode these tokens"):
            return str(self.rust.decode(list(ids), skip_special_tokens=True))

    def continuation(self, prompt: Sequence[int], ids: Sequence[int]) -> str:
        """The text that `ids` add after `prompt`; equal to the joined pieces of a `TextStream`.

        This is `decode([*prompt, *ids])` without its common prefix with `decode(prompt)`. Unlike `decode(ids)`, it
        keeps a leading space and completes a character that the prompt began.
        """
        stream = TextStream(self, prompt)
        return stream.add(*ids) + stream.end()

    def spelled(self, id: int) -> str | None:
        """The token as written in the vocabulary; None for special tokens and ids outside the vocabulary."""
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

    def agrees(self, other: "Tokenizer") -> bool:
        """Whether every id that both vocabularies have is the same token. GGUF files name unused ids too."""
        theirs = other.rust.get_vocab()
        ours = {id: token for token, id in self.rust.get_vocab().items()}
        return all(ours.get(id, token) == token for token, id in theirs.items())

    def _read(self, text: str, add_special_tokens: bool = True) -> tokenizers.Encoding:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            half = f"U+{ord(text[error.start]):04X} at character {error.start + 1}"
            raise MisuseError(f"the text is not valid Unicode: {half} is an unpaired surrogate; use UTF-8") from error
        with as_edge_error("the tokenizer cannot encode this text", MisuseError):
            return self.rust.encode(text, add_special_tokens=add_special_tokens)

    def _token(self, id: int) -> str | None:
        token = self.rust.id_to_token(id) if 0 <= id < 1 << 32 else None
        return None if token is None else str(token)

    @cached_property
    def special(self) -> frozenset[int]:
        """Ids of special tokens, which have no text."""
        return frozenset(id for id, added in self.rust.get_added_tokens_decoder().items() if added.special)

    @cached_property
    def is_byte_level(self) -> bool:
        """Whether tokens are byte-level, as in GPT-2."""
        return any(part["type"] == "ByteLevel" for part in decoder_parts(self.rust.decoder))


class TextStream:
    """Streaming text of a growing list of ids, in pieces that join to `continuation`.

    A character that is split over tokens is returned with its last byte. A byte token is returned when another kind of
    token follows, since more bytes could change its text.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int]) -> None:
        self._spelled, self._decoding = tokenizer.spelled, decoding_of(tokenizer.rust.decoder)
        self._decoding.add(self._tokens(prompt))
        self._prompt_rest = self._decoding.rest()

    def add(self, *ids: int) -> str:
        """Adds tokens; returns the completed text."""
        return self._new(self._decoding.add(self._tokens(ids)))

    def end(self) -> str:
        """The remaining text. Bytes of incomplete characters become U+FFFD."""
        return self._new(self._decoding.rest())

    def _tokens(self, ids: Sequence[int]) -> list[str]:
        return [token for id in ids if (token := self._spelled(id)) is not None]

    def _new(self, text: str) -> str:
        """The text without the part that belongs to the prompt."""
        shared = _shared(text, self._prompt_rest)
        self._prompt_rest = self._prompt_rest[shared:] if shared == len(text) else ""
        return text[shared:]


def open_tokenizer(folder: Path) -> Tokenizer | None:
    """The tokenizer of a checkpoint folder; None if it has none, so that only ids can be run."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    refuse_pointer(file)
    with as_edge_error(f"{file} cannot be read as a tokenizer"):
        rust = tokenizers.Tokenizer.from_file(str(file))
        # Some files contain truncation and padding settings of training.
        rust.no_truncation()
        rust.no_padding()
        apply_class(rust, folder)
        special = read_special_tokens(folder, is_byte_level(rust))
        add_special_tokens(rust, folder, special)
        return Tokenizer(rust, special.named, _stop_tokens(rust, folder, special))


def _stop_tokens(rust: tokenizers.Tokenizer, folder: Path, special: SpecialTokens) -> tuple[int, ...]:
    """Ids that end a text: stop tokens of all files, and the token that the chat template writes after an answer."""
    added = (token.content for token in rust.get_added_tokens_decoder().values())
    try:
        template = open_chat_template(folder, special.named)
        turn = template.end_of_turn(added) if template else None
    except EdgeError:  # reported when a conversation is requested
        turn = None
    ends = (end if isinstance(end, int) else rust.token_to_id(end) for end in (*special.ends, turn) if end is not None)
    size = config_keys(folder).get("vocab_size")
    vocab_size = size if isinstance(size, int) else rust.get_vocab_size()
    return tuple(dict.fromkeys(end for end in ends if end is not None and 0 <= end < vocab_size))


def _shared(left: Sequence[object], right: Sequence[object]) -> int:
    """Length of the common prefix."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))


def _printable(raw: bytes) -> str:
    text = raw.decode("utf8", errors="backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
