"""Special tokens of a checkpoint, read as transformers does: from its files and its tokenizer class."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import tokenizers

from models.errors import CheckpointError
from models.json_text import parse_json
from models.other_formats import refuse_pointer
from models.tokenizer_classes import CLASS_TOKENS, chosen_class

_STANDARD = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


@dataclass(frozen=True)
class SpecialTokens:
    """Special tokens by purpose.

    Attributes:
        named: Text by name, such as `bos_token`, for chat templates.
        extra: Texts of tokens without a name.
        ends: Tokens that end a text, from all files: ids or texts.
    """

    named: Mapping[str, str]
    extra: tuple[str, ...]
    ends: tuple[int | str, ...]


def read_special_tokens(folder: Path, is_byte_level: bool) -> SpecialTokens:
    """Reads the files of a folder. `special_tokens_map.json` is used if there is no `added_tokens_decoder`."""
    config, own = config_keys(folder), keys_of(folder / "tokenizer_config.json")
    old = keys_of(folder / "special_tokens_map.json")
    written = own if "added_tokens_decoder" in own else own | _outranking(old, own)
    named = CLASS_TOKENS.get(class_of(folder, is_byte_level), {}) | _named(written)
    extra = written.get("extra_special_tokens") or written.get("additional_special_tokens")
    generation = keys_of(folder / "generation_config.json")
    stated = [generation.get("eos_token_id"), config.get("eos_token_id"), own.get("eos_token"), old.get("eos_token")]
    return SpecialTokens(
        named={name: text for name, text in named.items() if text is not None},
        extra=tuple(_texts(extra)) if isinstance(extra, list) else (),
        ends=tuple(end for value in [*stated, named.get("eos_token")] for end in _ends(value)),
    )


def config_keys(folder: Path) -> Mapping[str, Any]:
    """The keys of `config.json`, and those of its text decoder if the model has other inputs too."""
    keys = keys_of(folder / "config.json")
    inside = keys.get("text_config")
    return {**inside, **keys} if isinstance(inside, dict) else keys


def class_of(folder: Path, is_byte_level: bool) -> str:
    """The tokenizer class that transformers chooses for a folder."""
    config, own = config_keys(folder), keys_of(folder / "tokenizer_config.json")
    return chosen_class(
        config.get("model_type"), own.get("tokenizer_class") or config.get("tokenizer_class"), is_byte_level
    )


def add_special_tokens(rust: tokenizers.Tokenizer, folder: Path, special: SpecialTokens) -> None:
    """Adds the special tokens of the config files to a tokenizer, as transformers does."""
    known = {token.content for token in rust.get_added_tokens_decoder().values()}
    named = set(special.named.values())
    own = keys_of(folder / "tokenizer_config.json")
    tokens: dict[str, tokenizers.AddedToken] = {}
    for _, token in sorted(_by_id(own.get("added_tokens_decoder")), key=itemgetter(0)):
        token.special = token.special or token.content in named
        tokens.setdefault(token.content, token)
    for text in (*special.named.values(), *special.extra):
        tokens.setdefault(text, tokenizers.AddedToken(text, special=True))
    rust.add_tokens([token for text, token in tokens.items() if text and text not in known])
    rust.encode_special_tokens = own.get("split_special_tokens") is True  # then encoded as text


def keys_of(file: Path) -> dict[str, Any]:
    """The keys of a config file; empty if the file is absent or not a JSON object."""
    if not file.is_file():
        return {}
    refuse_pointer(file)
    try:
        keys = parse_json(file.read_text(encoding="utf8"))
    except ValueError as error:
        raise CheckpointError(f"{file} cannot be read as JSON: {error}") from error
    return keys if isinstance(keys, dict) else {}


def _outranking(old: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of the old file that take precedence over `tokenizer_config.json`."""
    return {name: value for name, value in old.items() if name in _STANDARD or not isinstance(own.get(name), str)}


def _named(written: Mapping[str, Any]) -> dict[str, str | None]:
    """Every `*_token` with a text, and extra tokens with a name. A null value removes the token of the class."""
    extra = written.get("extra_special_tokens")
    pairs = {name: value for name, value in written.items() if name.endswith("_token")}
    named = {name: _text(value) for name, value in (pairs | (extra if isinstance(extra, dict) else {})).items()}
    return {name: text for name, text in named.items() if text is not None or pairs.get(name, "") is None}


def _text(token: object) -> str | None:
    """The text of a special token, which is written as a string or as an object with `content`.

    None for texts with unpaired surrogates, which JSON allows and no tokenizer has.
    """
    content = token.get("content") if isinstance(token, dict) else token
    if not isinstance(content, str) or any("\ud800" <= char <= "\udfff" for char in content):
        return None
    return content


def _texts(tokens: list[Any]) -> Iterator[str]:
    return (text for token in tokens if (text := _text(token)))


def _ends(value: object) -> Iterator[int | str]:
    """Ids and texts from a config value: an id, a list of ids, a token, or an object with `content`."""
    for item in value if isinstance(value, list) else [value]:
        text = _text(item)
        if text is not None:
            yield text
        elif isinstance(item, int) and not isinstance(item, bool):
            yield item


def _by_id(added: object) -> Iterator[tuple[int, tokenizers.AddedToken]]:
    """The tokens of an `added_tokens_decoder` with an id and a text."""
    for id, token in added.items() if isinstance(added, dict) else ():
        if id.isdecimal() and isinstance(token, dict) and (text := _text(token)):
            flags = {name: flag for name, flag in token.items() if name in _FLAGS and isinstance(flag, bool)}
            yield int(id), tokenizers.AddedToken(text, **flags)
