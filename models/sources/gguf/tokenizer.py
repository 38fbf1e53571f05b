"""The tokenizer and the chat templates of a GGUF file, as the text files of a checkpoint folder.

Texts get the tokens that llama.cpp gives them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, normalizers, pre_tokenizers, processors

from models.json_text import json_text
from models.sources.gguf.pre_tokenizers import PRE_TOKENIZERS
from models.sources.gguf.vocabulary import BYTE_LEVEL, PIECES, PIECES_WITH_MERGES, Vocabulary, kind_of, pre_of
from models.tokenizer_errors import as_edge_error

_SPACE = "▁"  # the space of sentencepiece

_LONGEST_PIECE = 300
"""Maximum characters of a piece that text is merged to. The time to find its merge grows with their square."""

_KEEPS_SPACES = frozenset(("<unk>", "<s>", "<|endoftext|>"))
"""Special tokens of Phi-3 that do not take the spaces after them."""


def no_text(keys: Mapping[str, Any]) -> str | None:
    """Why Edge makes no tokenizer from the keys of a file; None if it makes one."""
    kind, pre = kind_of(keys), pre_of(keys)
    if kind is None:
        return "it has no tokenizer"
    if kind not in (BYTE_LEVEL, PIECES, PIECES_WITH_MERGES):
        return f"its tokenizer is of the kind '{kind}', which Edge does not know"
    if kind == BYTE_LEVEL and pre not in PRE_TOKENIZERS:
        return f"its tokenizer uses the pre-tokenizer '{pre}', which Edge does not know"
    return None


def text_files(keys: Mapping[str, Any], file: Path | str = "the GGUF file") -> dict[str, str]:
    """`tokenizer.json`, `tokenizer_config.json` and `generation_config.json`; none if there is a reason in `no_text`.

    Args:
        keys: All keys of the file. Texts in lists are bytes.
        file: Its path, for messages.

    Raises:
        CheckpointError: keys of the tokenizer are missing, damaged, or contradict one another.
    """
    if no_text(keys) is not None:
        return {}
    vocabulary = Vocabulary(keys, file)
    takes_spaces = vocabulary.kind == PIECES and keys.get("general.architecture") == "phi3"
    with as_edge_error(f"{file} has a tokenizer that cannot be built"):
        rust = _byte_level(vocabulary) if vocabulary.kind == BYTE_LEVEL else _sentencepiece(vocabulary)
        rust.add_tokens(list(_added(vocabulary, takes_spaces)))
        rust.post_processor = _around(vocabulary)
        return {
            "tokenizer.json": rust.to_str(),
            "tokenizer_config.json": json_text(_config(vocabulary), indent=2),
            "generation_config.json": json_text({"eos_token_id": vocabulary.stops}),
        }


def _byte_level(vocabulary: Vocabulary) -> tokenizers.Tokenizer:
    pre = PRE_TOKENIZERS[vocabulary.pre]
    model = tokenizers.models.BPE(vocabulary.ids, vocabulary.merges(), ignore_merges=pre.ignores_merges)
    rust = tokenizers.Tokenizer(model)
    cuts = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in pre.patterns]
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    rust.pre_tokenizer = pre_tokenizers.Sequence([*cuts, level])
    rust.decoder = decoders.ByteLevel()
    return rust


def _sentencepiece(vocabulary: Vocabulary) -> tokenizers.Tokenizer:
    scored = vocabulary.kind == PIECES
    merges = list(_merges_of(vocabulary.pieces())) if scored else vocabulary.merges()
    unknown = vocabulary.text_of("unknown")
    model = tokenizers.models.BPE(vocabulary.ids, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    rust = tokenizers.Tokenizer(model)
    space = normalizers.Replace(" ", _SPACE)
    decoding = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if scored and vocabulary.flag("add_space_prefix", absent=True):
        rust.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), space])
        rust.decoder = decoders.Sequence([*decoding, decoders.Strip(" ", 1, 0)])
    else:
        rust.normalizer = space
        rust.decoder = decoders.Sequence(decoding)
    return rust


def _merges_of(pieces: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Merges that do what sentencepiece does: of all neighbors that form a piece, the best piece is formed first.

    One merge for each piece is enough, the last one of the piece alone. Within a text, the same merges come before it,
    since none of them crosses the ends of the piece.
    """
    rank = {piece: place for place, piece in enumerate(pieces)}
    for piece in pieces:
        if len(piece) <= _LONGEST_PIECE and (merge := _last_merge(piece, rank)) is not None:
            yield merge


def _last_merge(piece: str, rank: Mapping[str, int]) -> tuple[str, str] | None:
    """The two parts that finally form a piece; None if merges do not lead to it."""
    parts = list(piece)
    while len(parts) > 2:
        ranks = [rank.get(left + right, math.inf) for left, right in pairwise(parts)]
        best = min(ranks)
        if best == math.inf:
            return None
        place = ranks.index(best)
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return (parts[0], parts[1]) if len(parts) == 2 and rank.keys() >= set(parts) else None


def _added(vocabulary: Vocabulary, takes_spaces: bool) -> Iterator[AddedToken]:
    """Tokens that are found in a text before it is cut into words."""
    for id in vocabulary.added:
        token, special = vocabulary.tokens[id], id in vocabulary.special
        rstrip = takes_spaces and token not in _KEEPS_SPACES
        yield AddedToken(token, rstrip=rstrip, normalized=False, special=special)


def _around(vocabulary: Vocabulary) -> processors.TemplateProcessing | None:
    """Adds the tokens with which texts begin and end."""
    begins = vocabulary.kind == PIECES or (vocabulary.kind == BYTE_LEVEL and PRE_TOKENIZERS[vocabulary.pre].begins)
    # llama.cpp ignores the flag in this kind of file.
    before = vocabulary.flag("add_bos_token", absent=begins) or vocabulary.kind == PIECES_WITH_MERGES
    after = vocabulary.flag("add_eos_token", absent=False)
    names = [name for name, is_added in (("bos", before), ("eos", after)) if is_added]
    for name in names:
        if name not in vocabulary.named:
            raise vocabulary.fail(f"it adds '{name}' to texts, but tokenizer.ggml.{name}_token_id is not a token")
    if not names:
        return None
    first = [*["bos"] * before, "$A", *["eos"] * after]
    second = [f"{'$B' if part == '$A' else part}:1" for part in first]
    ids = [(name, vocabulary.named[name]) for name in names]
    return processors.TemplateProcessing(single=first, pair=[*first, *second], special_tokens=ids)


def _config(vocabulary: Vocabulary) -> dict[str, Any]:
    """Special tokens and templates. The class is one that uses `tokenizer.json` as it is; null keeps a token absent."""
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": vocabulary.text_of("bos"),
        "eos_token": vocabulary.text_of("eos"),
        "unk_token": vocabulary.text_of("unknown"),
        "pad_token": vocabulary.text_of("padding"),
    }
    templates = vocabulary.templates()
    if templates.keys() == {"default"}:
        config["chat_template"] = templates["default"]
    elif templates:
        config["chat_template"] = [{"name": name, "template": text} for name, text in templates.items()]
    return config
