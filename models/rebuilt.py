"""Parts of `tokenizer.json` that tokenizer classes of transformers 5 replace, and which of them Edge replaces too.

A class with its own constructor uses the vocabulary and the merges, and builds another normalizer, pre-tokenizer and
decoder. transformers 4 used those of the file, and published models were trained with them, so Edge uses them too. It
uses the class for `add_prefix_space` and for GPT-NeoX's tokens around a text, where both versions agree.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import Regex, decoders, normalizers, pre_tokenizers, processors

from models.special_tokens import class_of, keys_of

_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_WORDS_WITH_MARKS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_Built = tuple[Any, Any, Any]
"""A normalizer, a pre-tokenizer and a decoder; each may be None."""


def _metaspace(own: Mapping[str, Any], legacy: bool, strips: bool | None = None) -> _Built:
    prefix = own.get("add_prefix_space") is not False
    scheme = ("always" if legacy else "first") if prefix else "never"
    strip = [decoders.Strip(" ", 1, 0)] if (prefix if strips is None else strips) else []
    decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    return None, pre_tokenizers.Metaspace("▁", scheme, False), decoder


def _gemma(own: Mapping[str, Any]) -> _Built:
    decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", "merged_with_previous"), decoder


def _bytes(own: Mapping[str, Any], normalizer: Any = None, first: Any = None, use_regex: bool = True) -> _Built:
    level = pre_tokenizers.ByteLevel(add_prefix_space=own.get("add_prefix_space") is True, use_regex=use_regex)
    return normalizer, pre_tokenizers.Sequence([first, level]) if first else level, decoders.ByteLevel()


def _split(own: Mapping[str, Any], words: str) -> _Built:
    return _bytes(own, normalizers.NFC(), pre_tokenizers.Split(Regex(words), "isolated"), use_regex=False)


BUILT: dict[str, Callable[[Mapping[str, Any]], _Built]] = {
    "CodeGenTokenizer": _bytes,
    "CodeLlamaTokenizer": lambda own: _metaspace(own, legacy=False, strips=True),
    "CohereTokenizer": lambda own: _bytes(own, normalizers.NFC(), pre_tokenizers.Digits(individual_digits=True)),
    "GPT2Tokenizer": _bytes,
    "GPTNeoXTokenizer": lambda own: _bytes(own, normalizers.NFC()),
    "GemmaTokenizer": _gemma,
    "LlamaTokenizer": lambda own: _metaspace(own, legacy=bool(own.get("legacy"))),
    "Qwen2Tokenizer": lambda own: _split(own, _WORDS),
    "Qwen3_5Tokenizer": lambda own: _split(own, _WORDS_WITH_MARKS),
}
"""Builds the parts of a class from the keys of `tokenizer_config.json`; other classes build none for BPE."""

_SPACES = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": False}

_PARTS = ("normalizer", "pre-tokenizer", "decoder", "model")

_BY_PIECES = frozenset({"CodeLlamaTokenizer", "GemmaTokenizer", "LlamaTokenizer"})
"""Classes with byte fallback: text that is not in the vocabulary becomes byte tokens."""

_OF_BYTES = frozenset({"CodeGenTokenizer", "GPT2Tokenizer", "GPTNeoXTokenizer"})
"""Classes whose `add_prefix_space` both versions of transformers apply to the byte-level pre-tokenizer of the file."""


def apply_class(rust: tokenizers.Tokenizer, folder: Path) -> None:
    """Changes a tokenizer where both transformers 4 and 5 differ from its `tokenizer.json`."""
    own, chosen = keys_of(folder / "tokenizer_config.json"), class_of(folder, is_byte_level(rust))
    level = rust.pre_tokenizer
    if chosen in _OF_BYTES and isinstance(level, pre_tokenizers.ByteLevel):
        level.add_prefix_space = own.get("add_prefix_space") is True
        rust.pre_tokenizer = level
    adds = own.get("add_bos_token") is True or own.get("add_eos_token") is True
    if chosen == "GPTNeoXTokenizer" and not adds and rust.num_special_tokens_to_add(False):
        rust.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1", special_tokens=[])


def built_otherwise(folder: Path) -> tuple[str, tuple[str, ...]]:
    """The class that transformers 5 chooses for a folder, and the parts of `tokenizer.json` that it changes.

    There are none if the class keeps the parts, builds the same ones, or if `tokenizer.json` has no BPE model.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        return "", ()
    rust = tokenizers.Tokenizer.from_file(str(file))
    own, chosen = keys_of(folder / "tokenizer_config.json"), class_of(folder, is_byte_level(rust))
    if chosen not in BUILT or not isinstance(rust.model, tokenizers.models.BPE):
        return chosen, ()
    apply_class(rust, folder)
    kept = (*_meanings(rust.normalizer, rust.pre_tokenizer, rust.decoder), _flags(rust.model))
    built = (*_meanings(*BUILT[chosen](own)), (chosen in _BY_PIECES, False, "", ""))
    parts = [part for part, one, other in zip(_PARTS, kept, built, strict=True) if one != other]
    if chosen == "GPTNeoXTokenizer" and rust.num_special_tokens_to_add(False):
        parts.append("post-processor")
    return chosen, tuple(parts)


def _flags(model: Any) -> tuple[object, ...]:
    """Settings of the BPE model that change ids. Not the unknown token, which vocabularies with bytes never use."""
    prefix, suffix = model.continuing_subword_prefix, model.end_of_word_suffix
    return model.byte_fallback, model.ignore_merges, prefix or "", suffix or ""


def is_byte_level(rust: tokenizers.Tokenizer) -> bool:
    """Whether any part of `tokenizer.json` is byte-level, by the same test as transformers."""
    parts = (rust.pre_tokenizer, rust.post_processor, rust.decoder)
    # Not `str(part)`, which panics if it shortens a pattern inside a character.
    return any(b"ByteLevel" in part.__getstate__() for part in parts if part is not None)


def _meanings(*parts: Any) -> tuple[object, ...]:
    """Parts as data, without settings that change neither ids nor text; a sequence of one part becomes that part."""
    normalizer, words, decoder = (None if part is None else _plain(json.loads(part.__getstate__())) for part in parts)
    if normalizer is None and words == _SPACES:  # an equivalent notation
        normalizer, words = _plain(json.loads(normalizers.Replace(" ", "▁").__getstate__())), None
    return normalizer, words, decoder


def _plain(part: Any) -> Any:
    if isinstance(part, list):
        return [_plain(each) for each in part]
    if not isinstance(part, dict):
        return part
    kept = {key: _plain(value) for key, value in part.items() if key != "trim_offsets"}
    inner = next((kept[key] for key in ("normalizers", "pretokenizers", "decoders") if key in kept), None)
    if inner is not None and len(inner) < 2:
        return inner[0] if inner else None
    return kept
