"""Tokens are those of transformers 5 wherever its class keeps the parts of `tokenizer.json`; else a message names them.

Folders are shaped like published ones, over vocabularies trained here.
"""

import itertools
import json
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import transformers
from tokenizers import Regex, decoders, normalizers, pre_tokenizers, processors, trainers

from models.rebuilt import BUILT, built_otherwise
from models.tokenizer import open_tokenizer
from models.tokenizer_classes import _REGISTERED

PIECES = (
    *("Hello", " Hello", "hello world", " ", "  ", "   ", "\n", "\n\n", "\t", "1", "12", "2023", "650841823", " 7"),
    *("x = [\n    1,\n    22,\n]", "don't", "I'M", "é", "e\u0301", "日本語", "😀", "\u200d", "ß", "ﬁ", "½", "Ⅷ", "!"),
    *("...", "[INST]", " [/INST]", "▁", "▁a", "\r\n", "\u00a0", "a", " the cat", "<s>", "</s>", "<unk>", "<|end|>"),
    *("<|endoftext|>", "<bos>"),
)
_RANDOM = random.Random(0)
TEXTS = ["", *PIECES, *("".join(_RANDOM.choices(PIECES, k=_RANDOM.randint(2, 7))) for _ in range(120))]

CORPUS = [
    "Hello world, the cat sat on the mat and said hello to the whole wide world.\n",
    *(f"    x[{n}] = {n * 7919 % 100_003}  # {2000 + n}\n" for n in range(120)),
    *["I don't know; naïve café, Ünïcödé, 日本語 한국어 Ελληνικά\n"] * 5,
]

LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
QWEN = LLAMA_3.replace(r"\p{N}{1,3}", r"\p{N}")


def _byte_level(words: Any, normalizer: Any = None, begins: bool = False) -> tokenizers.Tokenizer:
    """As GPT-2's and its heirs': bytes as stand-in characters."""
    rust = tokenizers.Tokenizer(tokenizers.models.BPE())
    rust.pre_tokenizer, rust.normalizer, rust.decoder = words, normalizer, decoders.ByteLevel()
    special = ["<|endoftext|>", "<|end|>", "<s>", "</s>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    rust.train_from_iterator(CORPUS, trainer)
    rust.post_processor = _begins(rust, "<|endoftext|>") if begins else processors.ByteLevel(trim_offsets=False)
    return rust


def _by_pieces(normalizer: Any, words: Any, first: str, strips: bool) -> tokenizers.Tokenizer:
    """As sentencepiece's: spaces written as a letter, and bytes for what has no other piece."""
    rust = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    rust.normalizer = normalizers.Replace(" ", "▁")
    rust.pre_tokenizer = pre_tokenizers.Split(Regex("▁[^▁]*|[^▁]+"), "isolated")
    pieces = ["<unk>", first, "</s>", "<pad>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256))]
    rust.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=700, special_tokens=pieces, show_progress=False))
    keys = json.loads(rust.to_str())
    keys["added_tokens"] = keys["added_tokens"][:5]
    rust = tokenizers.Tokenizer.from_str(json.dumps(keys))
    rust.normalizer, rust.pre_tokenizer = normalizer, words
    strip = [decoders.Strip(" ", 1, 0)] if strips else []
    rust.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    rust.post_processor = _begins(rust, first)
    return rust


def _begins(rust: tokenizers.Tokenizer, token: str) -> processors.TemplateProcessing:
    return processors.TemplateProcessing(single=f"{token} $A", special_tokens=[(token, rust.token_to_id(token))])


def _level(prefix: bool = False, use_regex: bool = True) -> pre_tokenizers.ByteLevel:
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=use_regex)


def _split(words: str) -> pre_tokenizers.Sequence:
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(words), "isolated"), _level(use_regex=False)])


@cache
def shapes() -> dict[str, tokenizers.Tokenizer]:
    """A tokenizer of each published kind; files differ in their parts more than in their vocabularies."""
    digits = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _level()])
    spaces, metaspace = normalizers.Replace(" ", "▁"), pre_tokenizers.Metaspace("▁", "first", False)
    prefix = normalizers.Sequence([normalizers.Prepend("▁"), spaces])
    merged = pre_tokenizers.Split(" ", "merged_with_previous")
    return {
        "gpt2": _byte_level(_level()),
        "gpt2 with a space": _byte_level(_level(prefix=True)),
        "gpt2 with a first token": _byte_level(_level(), begins=True),
        "neox": _byte_level(_level(), normalizers.NFC()),
        "neox with a first token": _byte_level(_level(), normalizers.NFC(), begins=True),
        "starcoder2": _byte_level(digits),
        "cohere": _byte_level(digits, normalizers.NFC()),
        "llama 3": _byte_level(_split(LLAMA_3), begins=True),
        "qwen2": _byte_level(_split(QWEN), normalizers.NFC()),
        "qwen2 without NFC": _byte_level(_split(QWEN)),
        "llama 2": _by_pieces(prefix, None, "<s>", strips=True),
        "llama 2 resaved": _by_pieces(None, metaspace, "<s>", strips=True),
        "yi": _by_pieces(spaces, None, "<s>", strips=False),
        "gemma": _by_pieces(spaces, merged, "<bos>", strips=False),
    }


BYTES = ("GPT2Tokenizer", "GPTNeoXTokenizer", "CodeGenTokenizer", "Qwen2Tokenizer", "CohereTokenizer")
NAMED = (None, "LlamaTokenizer", "LlamaTokenizerFast", "CodeLlamaTokenizer", "GemmaTokenizer")


def folders() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Shape, `config.json` and `tokenizer_config.json`: each class, each model type, keys left out, null and set."""
    prefixes: list[dict[str, Any]] = [{}, *({"add_prefix_space": value} for value in (None, True, False))]
    ends: list[dict[str, Any]] = [{}, {"add_bos_token": True, "add_eos_token": None}, {"add_bos_token": False}]
    for shape, prefix, end in itertools.product(shapes(), prefixes, ends):
        by_pieces = shapes()[shape].model.byte_fallback
        named: tuple[str | None, ...] = (*NAMED, "PreTrainedTokenizerFast")
        for name in named if by_pieces else (*named[:3], *BYTES, "Qwen3_5Tokenizer", "PreTrainedTokenizerFast"):
            if prefix.get("add_prefix_space", "") is None and name in BYTES:
                continue  # the bindings of tokenizers refuse a null there
            for legacy in ({}, {"legacy": False}, {"legacy": True}) if name == "LlamaTokenizer" else ({},):
                own = {"bos_token": "<s>", "eos_token": "</s>", **prefix, **end, **legacy}
                yield shape, {"model_type": "llama"}, own | ({"tokenizer_class": name} if name else {})
    for shape, model_type, name in itertools.product(shapes(), _REGISTERED, (None, "LlamaTokenizer", "GPT2Tokenizer")):
        yield shape, {"model_type": model_type}, {"tokenizer_class": name} if name else {}


EVERY = 31
"""One folder in 31 is tested; all of them take minutes, and passed with transformers 5.23."""


def _write(folder: Path, shape: str, config: dict[str, Any], own: dict[str, Any]) -> None:
    (folder / "tokenizer.json").write_text(shapes()[shape].to_str())
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps(own))


def test_tokens_and_text_are_those_of_transformers_5_or_a_message_names_the_parts(tmp_path: Path) -> None:
    same = replaced = 0
    for shape, config, own in itertools.islice(folders(), 0, None, EVERY):
        _write(tmp_path, shape, config, own)
        chosen, parts = built_otherwise(tmp_path)
        if parts:
            replaced += 1
            continue
        ours, theirs = open_tokenizer(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
        assert ours is not None
        folder = f"{shape}, {config}, {own}: {chosen}, {type(theirs).__name__}"
        for text in TEXTS:
            ids = theirs(text).input_ids
            assert ours.encode(text) == ids, f"{folder} reads {text!r} otherwise"
            assert ours.encode_spelled(text) == theirs(text, add_special_tokens=False).input_ids, f"{folder}: {text!r}"
            assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True), f"{folder} writes {ids} otherwise"
        for id in range(5, 700, 13):
            pair = [id, (7 * id) % 700]
            assert ours.decode(pair) == theirs.decode(pair, skip_special_tokens=True), f"{folder} writes {pair}"
        same += 1
    print(f"{same} folders of {len(TEXTS)} texts as transformers 5 has them; {replaced} replaced")
    assert same > 30 and replaced > 20


REPLACED = {
    ("llama 2", "llama", "LlamaTokenizer"): ("normalizer", "pre-tokenizer"),
    ("llama 2", "llama", "CodeLlamaTokenizer"): ("normalizer", "pre-tokenizer"),
    ("llama 2", "llama", "PreTrainedTokenizerFast"): (),
    ("llama 2", "mistral", "LlamaTokenizer"): (),
    ("llama 2", "phi3", "LlamaTokenizer"): (),
    ("llama 2 resaved", "llama", "LlamaTokenizer"): (),
    ("yi", "llama", "LlamaTokenizer"): ("normalizer", "pre-tokenizer", "decoder"),
    ("gemma", "gemma", "GemmaTokenizer"): (),
    ("gemma", "gemma2", "GemmaTokenizer"): (),
    ("gemma", "gemma3_text", "GemmaTokenizer"): (),
    ("gpt2", "gpt2", "GPT2Tokenizer"): (),
    ("gpt2", "opt", "GPT2Tokenizer"): (),
    ("gpt2", "phi", "CodeGenTokenizer"): (),
    ("neox", "gpt_neox", "GPTNeoXTokenizer"): (),
    ("neox", "stablelm", "GPTNeoXTokenizer"): (),
    ("gpt2", "gpt_neox", "GPTNeoXTokenizer"): ("normalizer",),
    ("starcoder2", "starcoder2", "GPT2Tokenizer"): ("pre-tokenizer",),
    ("starcoder2", "llama", "GPT2Tokenizer"): ("pre-tokenizer",),
    ("starcoder2", "granite", "GPT2Tokenizer"): (),
    ("llama 3", "llama", "PreTrainedTokenizerFast"): (),
    ("llama 3", "llama", "LlamaTokenizer"): (),
    ("llama 3", "llama", "GPT2Tokenizer"): ("pre-tokenizer",),
    ("llama 3", "olmo2", "GPT2Tokenizer"): (),
    ("llama 3", "smollm3", "PreTrainedTokenizerFast"): (),
    ("qwen2", "qwen2", "Qwen2Tokenizer"): (),
    ("qwen2", "qwen3", "Qwen2Tokenizer"): (),
    ("qwen2 without NFC", "qwen2", "LlamaTokenizerFast"): ("normalizer",),
}
"""Published kinds, by shape, model type and class: what transformers 5 replaces."""


@pytest.mark.parametrize("kind", REPLACED, ids=", ".join)
def test_what_transformers_5_replaces_has_a_message_and_gives_other_tokens_there(
    kind: tuple[str, str, str], tmp_path: Path
) -> None:
    shape, model_type, name = kind
    _write(tmp_path, shape, {"model_type": model_type}, {"tokenizer_class": name})
    assert built_otherwise(tmp_path)[1] == REPLACED[kind]
    ours, theirs = open_tokenizer(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert ours is not None
    assert any(ours.encode(text) != theirs(text).input_ids for text in TEXTS) == bool(REPLACED[kind])
    kept = shapes()[shape]
    assert all(ours.rust.encode(text).ids == ours.encode(text) for text in TEXTS)
    assert json.loads(ours.rust.to_str())["pre_tokenizer"] == json.loads(kept.to_str())["pre_tokenizer"]


@pytest.mark.parametrize("name", ["GPT2Tokenizer", "CodeGenTokenizer", "GPTNeoXTokenizer"])
@pytest.mark.parametrize("shape", ["neox", "gpt2", "gpt2 with a space", "neox with a first token"])
@pytest.mark.parametrize("prefix", [{}, {"add_prefix_space": True}, {"add_prefix_space": False}], ids=str)
def test_the_class_counts_where_transformers_4_agrees(
    shape: str, name: str, prefix: dict[str, bool], tmp_path: Path
) -> None:
    """The space before a text, and tokens around it for GPT-NeoX; only the normalizer of the file may differ."""
    _write(tmp_path, shape, {"model_type": "llama"}, {"tokenizer_class": name, **prefix})
    assert set(built_otherwise(tmp_path)[1]) <= {"normalizer"}
    ours, theirs = open_tokenizer(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert ours is not None
    for text in ("", "a", " a", "Hello 12", "<|end|>a"):
        assert ours.encode(text) == theirs(text).input_ids, f"{text!r}"


@pytest.mark.parametrize("name", BUILT)
@pytest.mark.parametrize("prefix", [{}, {"add_prefix_space": True}, {"add_prefix_space": False}], ids=str)
def test_a_class_builds_what_it_builds_in_transformers(name: str, prefix: dict[str, bool]) -> None:
    takes = name in ("LlamaTokenizer",)
    for legacy in ({}, {"legacy": True}, {"legacy": False}) if takes else ({},):
        theirs = getattr(transformers, name)(**prefix, **legacy)._tokenizer
        for ours, part in zip(BUILT[name](prefix | legacy), ("normalizer", "pre_tokenizer", "decoder"), strict=True):
            assert _state(ours) == _state(getattr(theirs, part)), f"{part} of {name} with {prefix | legacy}"


def test_every_class_of_a_family_that_builds_a_tokenizer_is_known() -> None:
    for name in {"LlamaTokenizer", *_REGISTERED.values()} - {"TokenizersBackend"}:
        assert name in BUILT, f"{name} builds a tokenizer, and nobody says what"


def _state(part: Any) -> Any:
    if part is None:
        return None

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(each) for each in value]
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items() if key != "trim_offsets"}
        return value

    return plain(json.loads(part.__getstate__()))
