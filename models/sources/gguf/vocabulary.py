"""The tokens in the keys of a GGUF file and what they are for. Every key is checked before it is used."""

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import CheckpointError

BYTE_LEVEL, PIECES, PIECES_WITH_MERGES = "gpt2", "llama", "gemma4"
"""Kinds of tokenizers: bytes with merges, pieces of sentencepiece with scores, such pieces with merges."""

_KEY, _TEMPLATE = "tokenizer.ggml.", "tokenizer.chat_template"

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = range(1, 7)
"""Types of tokens. Unused ones are read as normal ones, as in llama.cpp."""

_USUAL_IDS = {"bos": 1, "eos": 2, "unknown": 0}
"""Ids in sentencepiece, for files that do not state them."""

_ENDS = frozenset(
    ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>")
)
"""Tokens that end a text wherever a vocabulary has them."""

_ENDS_OF_GPT_OSS = frozenset(("<|return|>", "<|call|>"))
"""Where a vocabulary has these, `<|end|>` ends one of several messages in the same answer."""


def kind_of(keys: Mapping[str, Any]) -> str | None:
    """The kind of tokenizer that a file states; None if it has none."""
    kind = keys.get(f"{_KEY}model")
    return kind if isinstance(kind, str) and kind not in ("no_vocab", "none") else None


def pre_of(keys: Mapping[str, Any]) -> str:
    """The name of the pre-tokenizer of a file."""
    pre = keys.get(f"{_KEY}pre", "")
    return pre or "default" if isinstance(pre, str) else repr(pre)[:50]


class Vocabulary:
    """The vocabulary of a file.

    Attributes:
        tokens: Texts by id, all different.
        ids: Their ids.
    """

    def __init__(self, keys: Mapping[str, Any], file: Path | str) -> None:
        self._keys, self._file = keys, file
        self.kind, self.pre = kind_of(keys), pre_of(keys)
        self.tokens = [_text(id, raw) for id, raw in enumerate(self._strings("tokens"))]
        self.ids = {token: id for id, token in enumerate(self.tokens)}
        if not self.tokens:
            raise self.fail(f"{_KEY}tokens is empty")
        if len(self.ids) < len(self.tokens):
            twice = next(token for id, token in enumerate(self.tokens) if self.ids[token] != id)
            raise self.fail(f"it has the token {twice!r} twice")
        has_types = f"{_KEY}token_type" in keys
        self._types = self._numbers("token_type", "iu") if has_types else [_NORMAL] * len(self.tokens)

    def fail(self, what: str) -> CheckpointError:
        """The error for keys that contradict one another."""
        return CheckpointError(f"{self._file} has a damaged tokenizer: {what}; download it again")

    def flag(self, name: str, absent: bool) -> bool:
        """True or false."""
        flag = self._keys.get(_KEY + name, absent)
        if not isinstance(flag, bool):
            raise self.fail(f"{_KEY}{name} is neither true nor false")
        return flag

    @cached_property
    def named(self) -> dict[str, int]:
        """Special tokens by purpose, as far as there are any: `bos`, `eos`, `unknown`, `padding`, `eot` and `eom`."""
        ids = {purpose: self._id(purpose) for purpose in ("bos", "eos", "unknown", "padding", "eot", "eom")}
        named = {purpose: id for purpose, id in ids.items() if id is not None}
        usual = {purpose: id for purpose, id in _USUAL_IDS.items() if id < len(self.tokens)}
        return (usual if self.kind == PIECES else {}) | named

    @cached_property
    def stops(self) -> list[int]:
        """Ids after which a text ends."""
        ends = _ENDS
        if self.ids.keys() >= _ENDS_OF_GPT_OSS:
            ends = ends - {"<|end|>"} | _ENDS_OF_GPT_OSS
        stated = [self.named[purpose] for purpose in ("eos", "eot", "eom") if purpose in self.named]
        return list(dict.fromkeys([*stated, *sorted(self.ids[text] for text in ends if text in self.ids)]))

    @cached_property
    def special(self) -> frozenset[int]:
        """Ids of tokens that control the model and have no text."""
        control = (id for id, type in enumerate(self._types) if type in (_UNKNOWN, _CONTROL))
        return frozenset(control).union(self.stops, [self.named["bos"]] if "bos" in self.named else [])

    @property
    def added(self) -> list[int]:
        """Ids of tokens that are found in a text before it is cut into words: special and user-defined ones."""
        return [id for id, type in enumerate(self._types) if type == _USER_DEFINED or id in self.special]

    def text_of(self, purpose: str) -> str | None:
        """The text of a special token by its purpose."""
        id = self.named.get(purpose)
        return None if id is None or id not in self.special else self.tokens[id]

    def merges(self) -> list[tuple[str, str]]:
        """Pairs of tokens that become one, each pair once. A space after the first character separates them."""
        merges: dict[tuple[str, str], None] = {}
        for raw in self._strings("merges"):
            merge = raw.decode("utf8", "replace")
            left, _, right = merge[1:].partition(" ")
            pair = merge[:1] + left, right
            if not right or not self.ids.keys() >= {*pair, "".join(pair)}:
                raise self.fail(f"the merge {merge!r} does not make a token of two tokens")
            merges[pair] = None
        return list(merges)

    def pieces(self) -> list[str]:
        """Tokens that merges can lead to, the best first."""
        scores = self._numbers("scores", "fiu")
        if not all(map(math.isfinite, scores)):
            raise self.fail(f"{_KEY}scores has a number that is not finite")
        ids = [id for id, type in enumerate(self._types) if type != _BYTE]
        return [self.tokens[id] for id in sorted(ids, key=lambda id: (-scores[id], id))]

    def templates(self) -> dict[str, str]:
        """Chat templates by name."""
        templates = {}
        for key, template in self._keys.items():
            if key == _TEMPLATE or key.startswith(f"{_TEMPLATE}."):
                if not isinstance(template, str):
                    raise self.fail(f"{key} is not a text")
                templates[key.removeprefix(_TEMPLATE).removeprefix(".") or "default"] = template
        return templates

    def _strings(self, name: str) -> list[bytes]:
        strings = self._keys.get(_KEY + name)
        if not isinstance(strings, list) or not all(isinstance(each, bytes) for each in strings):
            raise self.fail(f"{_KEY}{name} is not a list of texts")
        return strings

    def _numbers(self, name: str, kinds: str) -> list[Any]:
        """A number for each token, of kinds as numpy abbreviates them."""
        numbers, count = self._keys.get(_KEY + name), len(self.tokens)
        if not isinstance(numbers, np.ndarray) or numbers.dtype.kind not in kinds:
            raise self.fail(f"{_KEY}{name} is not a list of numbers")
        if len(numbers) < count:
            raise self.fail(f"{_KEY}{name} has {len(numbers):,} numbers for {count:,} tokens")
        return list(numbers[:count].tolist())

    def _id(self, purpose: str) -> int | None:
        """The id that the file states. One outside the vocabulary counts as none, as in llama.cpp."""
        id = self._keys.get(f"{_KEY}{purpose}_token_id")
        if not isinstance(id, int | None) or isinstance(id, bool):
            raise self.fail(f"{_KEY}{purpose}_token_id is not a whole number")
        return id if id is not None and 0 <= id < len(self.tokens) else None


def _text(id: int, raw: bytes) -> str:
    """The text of a token. One that is empty or not UTF-8 has its id in its text, so that no two are equal."""
    try:
        return raw.decode("utf8") or f"[EMPTY_{id}]"
    except UnicodeDecodeError:
        return f"{raw.decode('utf8', 'replace')}[{id}]"
