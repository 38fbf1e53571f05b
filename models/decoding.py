"""How tokens become text: what each kind of decoder in a `tokenizer.json` settles while tokens still come.

A decoder works on all tokens at once, and a later token may change what an earlier one gave: bytes make a character
together, and byte tokens that are no valid UTF-8 together become one U+FFFD each. Text is settled once no token that
may follow changes it.
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
"""Decoders that give each token, and each run of byte tokens, its text whatever else there is, but for the first."""

_BEFORE = "a"
"""Stands for the text before, where only that there is some matters: what comes first may lose its space."""


class Decoding(ABC):
    """Text of a growing list of tokens."""

    @abstractmethod
    def add(self, tokens: Iterable[str]) -> str:
        """The text that is settled with these tokens."""

    @abstractmethod
    def rest(self) -> str:
        """What follows the settled text, if no token comes any more."""


class _Bytes(Decoding):
    """Tokens spell bytes, as GPT-2's do: a character is settled with its last byte."""

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf8")("replace")

    def add(self, tokens: Iterable[str]) -> str:
        return self._utf8.decode(b"".join(map(bytes_of, tokens)))

    def rest(self) -> str:
        return self._utf8.getstate()[0].decode("utf8", "replace")


class Runs(Decoding):
    """Tokens have texts of their own; a run of byte tokens has one together, settled when another token ends it."""

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
    """Nothing is settled before the end: what this decoder does to a token may depend on any other."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder, self._tokens = decoder, list[str]()

    def add(self, tokens: Iterable[str]) -> str:
        self._tokens += tokens
        return ""

    def rest(self) -> str:
        with as_edge_error("the tokenizer cannot decode these tokens"):
            return self._decoder.decode(self._tokens)


def decoding_of(decoder: Decoder | None) -> Decoding:
    """What turns tokens into text as this decoder does; without one, tokens are words with a space between them."""
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
    found = _BYTE_TOKEN.fullmatch(token)
    return int(found[1], 16) if found else None


def bytes_of(token: str) -> bytes:
    """The bytes of a byte-level token: those of its stand-in characters, or its own where it holds any other."""
    try:
        return bytes([_BYTES[char] for char in token])
    except KeyError:
        return token.encode()


def _byte_level_bytes() -> dict[str, int]:
    """The byte behind each stand-in character of a byte-level tokenizer (Radford et al. 2019)."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + index): byte for index, byte in enumerate(hidden)}


_BYTES = _byte_level_bytes()
