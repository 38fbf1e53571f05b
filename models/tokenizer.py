"""A checkpoint's own tokenizer: text to ids, ids to text, and the tokens that end a text."""

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
from models.special_tokens import SpecialTokens, add_special_tokens, keys_of, read_special_tokens
from models.tokenizer_errors import as_edge_error

_SPACE = "▁"  # what sentencepiece writes for a space


@dataclass(frozen=True)
class Tokenizer:
    """A `tokenizer.json` beside what the config files say of special tokens.

    Attributes:
        named: Special tokens by name, such as `bos_token`, as chat templates write them.
        stop_tokens: Tokens after which generation ends.
    """

    rust: tokenizers.Tokenizer
    named: Mapping[str, str]
    stop_tokens: tuple[int, ...]

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, with the special tokens that `tokenizer.json` puts around it.

        `add_bos_token` in `tokenizer_config.json` says nothing beside that file, as for transformers.
        """
        return self._read(text).ids

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
        end, offsets = start + len(words), self._read(text).offsets
        return tuple(place for place, (low, high) in enumerate(offsets) if low < end and high > start)

    def decode(self, ids: list[int] | tuple[int, ...]) -> str:
        """The text of `ids`; special tokens leave no trace."""
        with as_edge_error("the tokenizer cannot decode these tokens"):
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
            half = f"U+{ord(text[error.start]):04X} at character {error.start + 1}"
            raise MisuseError(f"the text is no valid Unicode: {half} is half a character; write it in UTF-8") from error
        with as_edge_error("the tokenizer cannot encode this text", MisuseError):
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
    refuse_pointer(file)
    with as_edge_error(f"{file} cannot be read as a tokenizer"):
        rust = tokenizers.Tokenizer.from_file(str(file))
        # Some files keep the settings of their training, which would cut or fill every text.
        rust.no_truncation()
        rust.no_padding()
        apply_class(rust, folder)
        special = read_special_tokens(folder, is_byte_level(rust))
        add_special_tokens(rust, folder, special)
        return Tokenizer(rust, special.named, _stop_tokens(rust, folder, special))


def _stop_tokens(rust: tokenizers.Tokenizer, folder: Path, special: SpecialTokens) -> tuple[int, ...]:
    """Ids that end a text: whatever any file says ends one, and what the chat template writes after an answer."""
    added = (token.content for token in rust.get_added_tokens_decoder().values())
    try:
        template = open_chat_template(folder, special.named)
        turn = template.end_of_turn(added) if template else None
    except EdgeError:  # who wants a conversation will be told
        turn = None
    ends = (end if isinstance(end, int) else rust.token_to_id(end) for end in (*special.ends, turn) if end is not None)
    size = keys_of(folder / "config.json").get("vocab_size")
    beyond = size if isinstance(size, int) else rust.get_vocab_size()
    return tuple(dict.fromkeys(end for end in ends if end is not None and 0 <= end < beyond))


def _shared(left: Sequence[object], right: Sequence[object]) -> int:
    """How much both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))


def _printable(raw: bytes) -> str:
    text = raw.decode("utf8", errors="backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
