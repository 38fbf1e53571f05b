"""Streaming detokenization for each kind of decoder in a `tokenizer.json`.

A decoder works on all tokens at once, and a later token can change the text of an earlier one: several bytes form one
character, and each byte token of an invalid UTF-8 sequence becomes U+FFFD. Text is final once no later token can change
it.
"""

import codecs
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from tokenizers.decoders import Decoder

from models.tokenizer_errors import as_edge_error

_BYTE_TOKEN = re.compile(r"<0x([0-9a-fA-F]{2}|\+[0-9a-fA-F])>")
_SPACE = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}

_SETTLES = re.compile(r"((Replace )*(ByteFallback )?(Fuse )?(Strip )?|Metaspace |WordPiece )(Fuse )?")
"""Decoders that give each token (except the first) and each run of byte tokens a text independent of other tokens."""

_BEFORE = "a"
"""Stands for preceding text. Without any, the first token may lose its leading space."""


class Decoding(ABC):
    """Incremental conversion of a growing list of tokens to text."""

    @abstractmethod
    def add(self, tokens: Iterable[str]) -> str:
        """Adds tokens; returns the text that is now final."""

    @abstractmethod
    def rest(self) -> str:
        """The remaining text if no further token follows."""


class _Bytes(Decoding):
    """Byte-level tokens, as in GPT-2: a character is final with its last byte."""

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf8")("replace")

    def add(self, tokens: Iterable[str]) -> str:
        return self._utf8.decode(b"".join(map(bytes_of, tokens)))

    def rest(self) -> str:
        return self._utf8.getstate()[0].decode("utf8", "replace")


class Runs(Decoding):
    """Each token has its own text. A run of byte tokens has one text, which is final when another token follows."""

    def __init__(self, decode: Callable[[list[str]], str], has_bytes: bool) -> None:
        self._decode = decode
        self._before = self._decode([_BEFORE])
        self._has_bytes, self._begun = has_bytes, False
        self._open: list[str] = []

    def add(self, tokens: Iterable[str]) -> str:
        closed = 0
        for token in tokens:
            self._open.append(token)
            if not (self._has_bytes and byte_of(token) is not None):
                closed = len(self._open)
        settled = self._text(self._open[:closed])
        if settled or self._begun:
            del self._open[:closed]
            self._begun = True
        return settled

    def rest(self) -> str:
        return self._text(self._open)

    def _text(self, tokens: list[str]) -> str:
        if not tokens:
            return ""
        return self._decode([_BEFORE, *tokens])[len(self._before) :] if self._begun else self._decode(tokens)


class _Whole(Decoding):
    """No text is final before the end, because this decoder's text of a token may depend on any other token."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder, self._tokens = decoder, list[str]()

    def add(self, tokens: Iterable[str]) -> str:
        self._tokens += tokens
        return ""

    def rest(self) -> str:
        with as_edge_error("the tokenizer cannot decode these tokens"):
            return self._decoder.decode(self._tokens)


def decoding_of(decoder: Decoder | None) -> Decoding:
    """The incremental version of this decoder; without one, tokens are joined by spaces."""
    parts = decoder_parts(decoder)
    kinds = [part["type"] for part in parts]
    if decoder is None:
        return Runs(" ".join, False)
    if kinds in (["ByteLevel"], ["ByteLevel", "Fuse"]):
        return _Bytes()
    known = all(part == _SPACE for part in parts if part["type"] == "Replace")
    leading = all(part["content"] == " " and part["stop"] == 0 for part in parts if part["type"] == "Strip")
    if known and leading and _SETTLES.fullmatch("".join(f"{kind} " for kind in kinds)):
        return Runs(decoder.decode, "ByteFallback" in kinds)
    return _Whole(decoder)


def decoder_parts(decoder: Decoder | None) -> list[dict[str, Any]]:
    """The steps of a decoder, in order, as `tokenizer.json` writes them."""
    return _flat(json.loads(decoder.__getstate__())) if decoder else []


def _flat(part: dict[str, Any]) -> list[dict[str, Any]]:
    return [inner for each in part["decoders"] for inner in _flat(each)] if part["type"] == "Sequence" else [part]


def byte_of(token: str) -> int | None:
    """The byte that a byte-fallback token such as `<0x0A>` stands for."""
    match = _BYTE_TOKEN.fullmatch(token)
    return int(match[1], 16) if match else None


def bytes_of(token: str) -> bytes:
    """The bytes of a byte-level token. A token with other characters is encoded as UTF-8."""
    try:
        return bytes([_BYTES[char] for char in token])
    except KeyError:
        return token.encode()


def _byte_level_bytes() -> dict[str, int]:
    """The byte of each printable character in a byte-level vocabulary (Radford et al. 2019)."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + index): byte for index, byte in enumerate(hidden)}


_BYTES = _byte_level_bytes()
