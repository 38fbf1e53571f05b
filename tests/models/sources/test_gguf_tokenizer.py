"""A GGUF file gives texts the tokens that llama.cpp gives them, through the same files that a checkpoint folder has."""

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import tokenizers
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

from models.chat import Turn, open_chat_template
from models.errors import CheckpointError
from models.families.registry import FAMILIES
from models.sources.gguf.file import open_gguf
from models.sources.gguf.pre_tokenizers import PRE_TOKENIZERS
from models.sources.gguf.tokenizer import no_text, text_files
from models.tokenizer import Tokenizer, open_tokenizer
from tests.real import smollm2_gguf
from tests.shared import shared

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
TEXTS = ("Hello  world", " 12345's\n\nend ", "naïve 日本 😀", "", "\t\x00", "a▁b <0x0A>")

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)


def keys_of(types: Mapping[str, int], /, **more: Any) -> dict[str, Any]:
    """Keys of a file with these tokens. Other keys are named by the last part; None leaves one out."""
    written = {"tokens": [token.encode() for token in types], "token_type": np.array([*types.values()], np.int32)}
    return {f"tokenizer.ggml.{name}": value for name, value in (written | more).items() if value is not None}


def byte_level(**more: Any) -> dict[str, Any]:
    """Keys of a byte-level tokenizer with all bytes, three merges, and special tokens behind them."""
    tokens = dict.fromkeys([*sorted(pre_tokenizers.ByteLevel.alphabet()), "he", "Ġw", "12", "hex"], NORMAL)
    tokens |= {"<|begin|>": CONTROL, "<|im_start|>": CONTROL, "<|im_end|>": CONTROL, "<think>": USER_DEFINED}
    merges = [b"h e", b"\xc4\xa0 w", b"1 2"]
    return keys_of(tokens, **{"model": "gpt2", "merges": merges, "bos_token_id": 260, "eos_token_id": 262} | more)


def pieces(**more: Any) -> dict[str, Any]:
    """Keys of a tokenizer of sentencepiece with some pieces, the best of them first."""
    tokens = {"<unk>": UNKNOWN, "<s>": CONTROL, "</s>": CONTROL}
    tokens |= {f"<0x{byte:02X}>": BYTE for byte in range(256)}
    tokens |= dict.fromkeys(["▁t", "he", "▁the", "ab", "▁", *"abeht"], NORMAL)
    tokens |= {"<think>": USER_DEFINED, "  ": USER_DEFINED, "<end_of_turn>": CONTROL}
    return keys_of(tokens, **{"model": "llama", "scores": -np.arange(len(tokens), dtype=np.float32)} | more)


def opened(keys: Mapping[str, Any], **config: object) -> Tokenizer:
    """The tokenizer as Edge opens it from a folder."""
    with TemporaryDirectory() as folder:
        write(keys, Path(folder), **config)
        tokenizer = open_tokenizer(Path(folder))
    assert tokenizer is not None, "the keys give no tokenizer"
    return tokenizer


def write(keys: Mapping[str, Any], folder: Path, **config: object) -> None:
    """Writes the files, beside a config."""
    for name, text in {**text_files(keys), "config.json": json.dumps(config)}.items():
        (folder / name).write_text(text, encoding="utf8")


# ---- a published file ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The text files of SmolLM2's file."""
    folder = tmp_path_factory.mktemp("smollm2")
    write(open_gguf(smollm2_gguf()).keys, folder, model_type="llama", vocab_size=49_152)
    return folder


def test_the_published_file_gives_the_ids_of_llama_cpp(smollm2: Path) -> None:
    golden = json.loads(shared("gguf_golden.json").read_text())["models"]["smollm2"]
    tokenizer = open_tokenizer(smollm2)
    assert tokenizer is not None
    for text, ids in golden["tokenizer"]["no_bos"]:
        assert tokenizer.encode(text) == ids, f"'{text}' has other tokens"
        plain = text.replace("<|im_start|>", "").replace("<|im_end|>", "")
        assert tokenizer.decode(ids) == plain, f"'{text}' decodes to another text"
    for prompt in golden["prompts"]:
        assert tokenizer.encode(prompt["prompt"]) == prompt["ids"]


def test_the_published_file_chats_as_in_transformers(smollm2: Path) -> None:
    tokenizer = open_tokenizer(smollm2)
    assert tokenizer is not None
    assert set(tokenizer.stop_tokens) == {0, 2}, "<|endoftext|> and <|im_end|> end a text"
    assert tokenizer.named["bos_token"] == "<|im_start|>"
    template = open_chat_template(smollm2, tokenizer.named)
    assert template is not None
    reference = transformers.AutoTokenizer.from_pretrained(smollm2)
    text = template.text_of([Turn("user", "Hi 42")])
    asked = [{"role": "user", "content": "Hi 42"}]
    assert text == reference.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert tokenizer.encode_spelled(text) == reference(text, add_special_tokens=False)["input_ids"]


# ---- how text is cut into words ------------------------------------------------------------------------------

SAMPLE = "I'M we'll x=12345 HttpSERVER  \n\n\tहि 日本カナ né (a+`b)<$5!!\r\n  ok 12"
OF_LLAMA_CPP = {
    "gpt-2 phi-2 olmo mpt jais exaone4": (
        "I|'|M| we|'ll| x|=|12345| HttpSERVER|  \n\n|\t|ह|ि| 日本カナ| né| (|a|+`|b|)<$|5|!!|\r\n | ok| 12"
    ),
    "smollm starcoder refact command-r codeshell exaone": (
        "I|'|M| we|'ll| x|=|1|2|3|4|5| HttpSERVER|  \n\n|\t|ह|ि| 日本カナ| né| (|a|+`|b|)<$|5|!!|\r\n | ok| |1|2"
    ),
    "llama-bpe llama3 falcon3 lfm2 pixtral dbrx smaug-bpe chatglm-bpe glm4 minicpm5": (
        "I|'M| we|'ll| x|=|123|45| HttpSERVER|  \n\n|\tह|ि| 日本カナ| né| (|a|+`|b|)<$|5|!!\r\n| | ok| |12"
    ),
    "qwen2 deepseek-r1-qwen stablelm2 megrez hunyuan": (
        "I|'M| we|'ll| x|=|1|2|3|4|5| HttpSERVER|  \n\n|\tह|ि| 日本カナ| né| (|a|+`|b|)<$|5|!!\r\n| | ok| |1|2"
    ),
    "qwen35": "I|'M| we|'ll| x|=|1|2|3|4|5| HttpSERVER|  \n\n|\tहि| 日本カナ| né| (|a|+`|b|)<$|5|!!\r\n| | ok| |1|2",
    "seed-coder": (
        "I|'M| we|'ll| x|=|1|2|3|4|5| HttpSERVER|  \n\n|\tह|ि| 日本カナ| né| (|a|+`|b|)<$|5|!!|\r\n| | ok| |1|2"
    ),
    "falcon": ("I|'|M| we|'|ll| x|=|123|45| HttpSERVER|  \n\n|\t|ह|ि| 日本カナ| né| |(|a|+`|b|)<$|5|!!|\r\n | ok| 12"),
    "deepseek-llm": (
        "I|'|M| we|'|ll| x|=|12345| HttpSERVER|  |\n|\n|\t|हि| |日本カナ| n|é| (|a|+`|b|)<$|5|!!|\r|\n| | ok| |12"
    ),
    "deepseek-coder": (
        "I|'|M| we|'|ll| x|=|1|2|3|4|5| HttpSERVER|  |\n|\n|\t|ह|ि| |日本カナ| né| (|a|+`|b|)|<$|5|!!|\r|\n| | ok| |1|2"
    ),
    "deepseek-v3 hunyuan-dense": (
        "I|'M| we|'ll| x|=|123|45| HttpSERVER|  \n\n|\tहि| |日本カナ| né| (|a|+`|b|)<$|5|!!\r\n| | ok| |12"
    ),
    "default": (
        "I|'|M| we|'|ll| x|=|123|45| HttpSERVER|  \n\n|\t|ह|ि| 日本カナ| né| |(|a|+|`|b|)<$|5|!!|\r\n | ok| |12"
    ),
}
"""The words of the sample in llama.cpp (b11549), by a vocabulary with all its parts. Patterns by case are left out:
llama.cpp approximates them."""


IGNORE_MERGES = {"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "lfm2", "pixtral", "midm-2.0"}
IGNORE_MERGES |= {"glm4", "minicpm5", "tekken"}
"""The pre-tokenizers with which llama.cpp takes a whole word from its vocabulary."""


def words(pre: str | None, text: str = SAMPLE) -> list[str]:
    rust = tokenizers.Tokenizer.from_str(text_files(byte_level(pre=pre))["tokenizer.json"])
    return [text[start:end] for _, (start, end) in rust.pre_tokenizer.pre_tokenize_str(text)]


@pytest.mark.parametrize(("names", "cut"), OF_LLAMA_CPP.items(), ids=OF_LLAMA_CPP)
def test_a_text_has_the_words_that_it_has_in_llama_cpp(names: str, cut: str) -> None:
    for name in names.split():
        assert words(name) == cut.split("|"), f"pre = {name}"


@pytest.mark.parametrize("name", sorted(GGUF_PRE_TOKENIZER_SPLITS.keys() & PRE_TOKENIZERS))
def test_patterns_are_those_of_transformers(name: str) -> None:
    assert PRE_TOKENIZERS[name].patterns == (GGUF_PRE_TOKENIZER_SPLITS[name],)


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_no_character_is_lost_between_words(name: str) -> None:
    for text in (SAMPLE, *TEXTS):
        assert "".join(words(name, text)) == text
    assert all(pattern.isascii() for pattern in PRE_TOKENIZERS[name].patterns)


@pytest.mark.parametrize("pre", [None, "", "default"])
def test_a_file_without_pre_has_the_default_one(pre: str | None) -> None:
    assert words(pre) == words("default") != words("gpt-2")


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_words_in_the_vocabulary_are_tokens_only_where_merges_are_ignored(name: str) -> None:
    ids = opened(byte_level(pre=name, add_bos_token=False)).encode("hex")
    merged = [256, byte_level()["tokenizer.ggml.tokens"].index(b"x")]
    assert ids == ([259] if name in IGNORE_MERGES else merged)


def test_a_trained_tokenizer_keeps_its_ids() -> None:
    rust = tokenizers.Tokenizer(tokenizers.models.BPE())
    rust.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    rust.train_from_iterator([(Path(__file__)).read_text(encoding="utf8")], trainer)
    model = json.loads(rust.to_str())["model"]
    vocabulary = sorted(model["vocab"], key=model["vocab"].__getitem__)
    merges = [" ".join(pair).encode() for pair in model["merges"]]
    keys = keys_of(dict.fromkeys(vocabulary, NORMAL), model="gpt2", pre="starcoder", merges=merges)
    tokenizer = opened(keys, model_type="starcoder2")
    for text in (SAMPLE, *TEXTS, CHATML):
        assert tokenizer.encode(text) == rust.encode(text).ids
        assert tokenizer.decode(tokenizer.encode(text)) == text


# ---- pieces with scores --------------------------------------------------------------------------------------


def by_scores(text: str, scores: Mapping[str, float]) -> list[str]:
    """The rule of sentencepiece, written down: the neighbors with the best score become one, the first of equals."""
    parts = list(text)
    while True:
        joined = [scores.get(left + right, -np.inf) for left, right in pairwise(parts)]
        if max(joined, default=-np.inf) == -np.inf:
            return parts
        place = int(np.argmax(joined))
        parts[place : place + 2] = [parts[place] + parts[place + 1]]


vocabularies = st.lists(st.text("ab▁c", min_size=2, max_size=6), unique=True, max_size=24)


@settings(max_examples=40)
@given(vocabularies, st.data())
def test_neighbors_with_the_best_score_become_one_token(found: list[str], data: st.DataObject) -> None:
    tokens = ["<unk>", "<s>", "</s>", *"ab▁c", *data.draw(st.permutations(found))]
    order = data.draw(st.permutations(range(len(tokens))))
    types = dict(zip(tokens, [UNKNOWN, CONTROL, CONTROL, *[NORMAL] * (len(tokens) - 3)], strict=True))
    keys = keys_of(
        types, model="llama", scores=np.array(order, np.float32), add_space_prefix=False, add_bos_token=False
    )
    tokenizer = opened(keys)
    for text in data.draw(st.lists(st.text("ab c", max_size=20), max_size=5)):
        parts = by_scores(text.replace(" ", "▁"), dict(zip(tokens, order, strict=True)))
        assert [tokenizer.spelled(id) for id in tokenizer.encode(text)] == parts
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.fixture(scope="module")
def stories() -> tuple[dict[str, Any], tokenizers.Tokenizer]:
    """The vocabulary of a trained Llama as keys, and its own tokenizer."""
    file = shared("stories260K") / "tokenizer.json"
    model = json.loads(file.read_text())["model"]
    types = {
        token: BYTE if 3 <= id < 259 else NORMAL for token, id in sorted(model["vocab"].items(), key=lambda p: p[1])
    }
    types |= {"<unk>": UNKNOWN, "<s>": CONTROL, "</s>": CONTROL}
    merges = [" ".join(merge).encode() for merge in model["merges"]]
    scores = 259 - np.arange(len(types), dtype=np.float32)
    return keys_of(types, model="llama", scores=scores, merges=merges), tokenizers.Tokenizer.from_file(str(file))


def test_each_piece_has_one_of_the_merges_that_were_trained(stories: tuple[dict[str, Any], Any]) -> None:
    keys, own = stories
    found = json.loads(text_files(keys)["tokenizer.json"])["model"]["merges"]
    trained = json.loads(own.to_str())["model"]["merges"]
    assert [merge for merge in trained if merge in found] == found, "in the order of the training"
    joined = ["".join(merge) for merge in found]
    assert len(joined) == len(set(joined)) < len(trained)
    assert set(joined) == {"".join(merge) for merge in trained}


@pytest.mark.parametrize("text", [*TEXTS, SAMPLE, "Once upon a time, there was <s>Lily</s> here.", "  two  spaces "])
def test_pieces_have_the_ids_of_the_models_own_tokenizer(text: str, stories: tuple[dict[str, Any], Any]) -> None:
    keys, own = stories
    tokenizer = opened(keys, model_type="llama")
    assert tokenizer.encode(text) == own.encode(text).ids
    assert tokenizer.decode(tokenizer.encode(text)) == own.decode(own.encode(text).ids)


@pytest.mark.parametrize("text", [*TEXTS, SAMPLE, "Once upon a time"])
def test_pieces_with_merges_need_no_scores(text: str, stories: tuple[dict[str, Any], Any]) -> None:
    keys, own = stories
    gemma = keys | {"tokenizer.ggml.model": "gemma4", "tokenizer.ggml.add_bos_token": False}
    gemma["tokenizer.ggml.bos_token_id"] = 1
    del gemma["tokenizer.ggml.scores"]
    own = tokenizers.Tokenizer.from_str(own.to_str())
    own.normalizer = tokenizers.normalizers.Replace(" ", "▁")
    own.decoder = tokenizers.decoders.Sequence(
        [tokenizers.decoders.Replace("▁", " "), tokenizers.decoders.ByteFallback(), tokenizers.decoders.Fuse()]
    )
    tokenizer = opened(gemma)
    assert tokenizer.encode(text) == own.encode(text).ids, "they begin with <s> whatever the flag says"
    assert tokenizer.decode(tokenizer.encode(text)) == own.decode(own.encode(text).ids) == text.replace("▁", " ")


def test_runs_of_spaces_are_found_before_merges() -> None:
    tokens = pieces()["tokenizer.ggml.tokens"]
    tokenizer = opened(pieces(add_bos_token=False, add_space_prefix=False))
    assert tokenizer.encode("a  the   ") == [tokens.index(each) for each in (b"a", b"  ", b"t", b"he", b"  ")] + [
        tokens.index("▁".encode())
    ]
    assert tokenizer.decode(tokenizer.encode("a  the   ")) == "a  the   "


def test_each_text_after_a_special_token_begins_with_a_space() -> None:
    tokenizer = opened(pieces())
    spelled = [tokenizer.piece(id) for id in tokenizer.encode("the<s>the<think>a")]
    assert spelled == ["<s>", " the", "<s>", " the", "<think>", " ", "a"]


def test_special_tokens_of_phi_3_take_the_spaces_after_them() -> None:
    phi3 = pieces() | {"general.architecture": "phi3"}
    text = "<end_of_turn> \n a<s> a"
    assert [opened(phi3).piece(id) for id in opened(phi3).encode(text)] == (
        ["<s>", "<end_of_turn>", " ", "a", "<s>", " ", " ", "a"]
    )
    assert len(opened(pieces()).encode(text)) > len(opened(phi3).encode(text))


def test_of_equal_pairs_the_first_becomes_one_token() -> None:
    scores = {piece: -float(place) for place, piece in enumerate(["aa", "ab", "aaab", "a", "b"])}
    types = {"<unk>": UNKNOWN, "<s>": CONTROL, "</s>": CONTROL} | dict.fromkeys(scores, NORMAL)
    stated = np.array([0, 0, 0, *scores.values()], np.float32)
    tokenizer = opened(keys_of(types, model="llama", scores=stated, add_bos_token=False, add_space_prefix=False))
    for text in ("aaab", "aaa", "aaabaaa"):
        assert [tokenizer.spelled(id) for id in tokenizer.encode(text)] == by_scores(text, scores)


def test_the_name_of_a_byte_is_a_text() -> None:
    types = {"<unk>": UNKNOWN, "<s>": CONTROL, "</s>": CONTROL, "<0x0A>": BYTE}
    types |= dict.fromkeys(["<0", "<0x", "<0x0", "A>", *"<0xA>"], NORMAL)
    scores = -np.arange(len(types), dtype=np.float32)
    tokenizer = opened(keys_of(types, model="llama", scores=scores, add_bos_token=False, add_space_prefix=False))
    assert tokenizer.decode(tokenizer.encode("<0x0A>\n")) == "<0x0A>\n"


# ---- special tokens ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [byte_level, pieces], ids=["bytes", "pieces"])
def test_types_say_which_tokens_have_no_text(make: Any) -> None:
    tokenizer = opened(make())
    tokens, types = make()["tokenizer.ggml.tokens"], make()["tokenizer.ggml.token_type"]
    assert tokenizer.special == {id for id, type in enumerate(types) if type in (UNKNOWN, CONTROL)}
    control, user = tokens.index(b"<s>" if b"<s>" in tokens else b"<|im_start|>"), tokens.index(b"<think>")
    ids = tokenizer.encode_spelled(f"{tokens[control].decode()}<think>a")
    assert ids[:2] == [control, user], "special tokens are found in a text"
    assert tokenizer.decode(ids).replace(" ", "") == "<think>a"


DEFAULTS = [("gpt2", "gpt-2", False), ("gpt2", "llama-bpe", True), ("gpt2", "tekken", True), ("llama", None, True)]


@pytest.mark.parametrize(("kind", "pre", "begins"), DEFAULTS)
@pytest.mark.parametrize("bos", [None, True, False])
@pytest.mark.parametrize("eos", [None, True, False])
def test_texts_begin_and_end_as_the_file_says(
    kind: str, pre: str | None, begins: bool, bos: bool | None, eos: bool | None
) -> None:
    make = byte_level if kind == "gpt2" else pieces
    tokenizer = opened(make(pre=pre, add_bos_token=bos, add_eos_token=eos), model_type="llama")
    first, last = (260, 262) if kind == "gpt2" else (1, 2)
    inner = tokenizer.encode_spelled("the")
    before = [first] if (begins if bos is None else bos) else []
    after = [last] if eos else []
    assert tokenizer.encode("the") == [*before, *inner, *after]
    assert tokenizer.encode("") == [*before, *after]
    both = tokenizer.rust.encode("the", "the").ids
    assert both == [*before, *inner, *after, *before, *inner, *after]


def test_stop_tokens_are_stated_or_known_by_their_text() -> None:
    assert opened(byte_level()).stop_tokens == (262,), "eos; <|im_end|> again"
    assert opened(byte_level(eos_token_id=256, eot_token_id=257, eom_token_id=258)).stop_tokens == (256, 257, 258, 262)
    pieces_end = pieces()["tokenizer.ggml.tokens"].index(b"<end_of_turn>")
    assert opened(pieces()).stop_tokens == (2, pieces_end), "the second token of sentencepiece if nothing is stated"


def test_a_message_of_gpt_oss_does_not_end_the_answer() -> None:
    tokens = dict.fromkeys([*sorted(pre_tokenizers.ByteLevel.alphabet()), "<|end|>"], NORMAL)
    assert opened(keys_of(tokens, model="gpt2", merges=[])).stop_tokens == (256,)
    tokens |= {"<|return|>": CONTROL, "<|call|>": CONTROL}
    assert opened(keys_of(tokens, model="gpt2", merges=[])).stop_tokens == (257, 258)


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_changed_when_the_files_are_opened(family: str) -> None:
    for keys in (byte_level(pre="qwen2"), byte_level(add_bos_token=True), pieces()):
        written = tokenizers.Tokenizer.from_str(text_files(keys)["tokenizer.json"])
        tokenizer = opened(keys, model_type=family)
        assert tokenizer.rust.to_str() == written.to_str(), f"a {family} has other parts"
        stated = json.loads(text_files(keys)["tokenizer_config.json"])
        named = {name: token for name, token in stated.items() if name.endswith("_token") and token is not None}
        assert tokenizer.named == named, f"a {family} has other special tokens"


def test_padding_that_is_a_word_stays_a_word() -> None:
    tokenizer = opened(byte_level(padding_token_id=0, unknown_token_id=1))
    assert "pad_token" not in tokenizer.named and "unk_token" not in tokenizer.named
    assert tokenizer.decode(tokenizer.encode('!"he')) == '!"he'


def test_ids_outside_the_vocabulary_count_as_absent() -> None:
    keys = byte_level(padding_token_id=2**32 - 1, eos_token_id=-1, eot_token_id=10**6)
    assert opened(keys).named == {"bos_token": "<|begin|>"}


# ---- chat templates ------------------------------------------------------------------------------------------


def test_a_chat_template_renders(tmp_path: Path) -> None:
    write(byte_level() | {"tokenizer.chat_template": CHATML}, tmp_path)
    template = open_chat_template(tmp_path, {})
    assert template is not None
    assert template.text_of([Turn("user", "Hi")]) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


def test_further_templates_are_kept_by_name(tmp_path: Path) -> None:
    more = {"tokenizer.chat_template.tool_use": "tools", "tokenizer.chat_templates": [b"tool_use"]}
    write(byte_level() | {"tokenizer.chat_template": CHATML} | more, tmp_path)
    template = open_chat_template(tmp_path, {})
    assert template is not None and template.source == CHATML
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert reference.chat_template == {"default": CHATML, "tool_use": "tools"}


def test_a_file_may_have_no_template(tmp_path: Path) -> None:
    write(byte_level(), tmp_path)
    assert open_chat_template(tmp_path, {}) is None


# ---- files that give no tokenizer ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [None, "none", "no_vocab", 7])
def test_a_file_without_tokenizer_says_so(kind: object) -> None:
    keys = byte_level(model=kind)
    assert no_text(keys) == "it has no tokenizer" and text_files(keys) == {}


@pytest.mark.parametrize("kind", ["t5", "bert", "rwkv", "plamo2", "whitespace"])
def test_other_kinds_of_tokenizers_are_named(kind: str) -> None:
    assert f"'{kind}'" in str(no_text(byte_level(model=kind))) and text_files(byte_level(model=kind)) == {}


@pytest.mark.parametrize("pre", ["superbpe", 3, [b"gpt-2"]])
def test_an_unknown_pre_tokenizer_is_named(pre: object) -> None:
    assert "pre-tokenizer" in str(no_text(byte_level(pre=pre))) and text_files(byte_level(pre=pre)) == {}
    assert no_text(pieces(pre=pre)) is None, "sentencepiece has none"


# ---- damage --------------------------------------------------------------------------------------------------

DAMAGED = {
    "tokens is not a list of texts": byte_level(tokens=None),
    "tokens is not a list of texts ": byte_level(tokens=np.arange(3)),
    "tokens is empty": byte_level(tokens=[]),
    "has the token '!' twice": byte_level(tokens=[*byte_level()["tokenizer.ggml.tokens"][:-1], b"!"]),
    "merges is not a list of texts": byte_level(merges=None),
    "the merge 'he' does not make a token": byte_level(merges=[b"he"]),
    "the merge 'q q' does not make a token": byte_level(merges=[b"q q"]),
    "the merge 'qq r' does not make a token": byte_level(merges=[b"qq r"]),
    "token_type is not a list of numbers": byte_level(token_type=[b"1"]),
    "token_type has 3 numbers for 264 tokens": byte_level(token_type=np.ones(3, np.int32)),
    "token_type is not a list of numbers ": byte_level(token_type=np.ones(264, np.float32)),
    "scores is not a list of numbers": pieces(scores=None),
    "scores has 9 numbers for": pieces(scores=np.ones(9, np.float32)),
    "scores has a number that is not finite": pieces(scores=np.full(300, np.nan, np.float32)),
    "bos_token_id is not a whole number": byte_level(bos_token_id="one"),
    "add_bos_token is neither true nor false": byte_level(add_bos_token="yes"),
    "it adds 'bos' to texts, but": byte_level(add_bos_token=True, bos_token_id=None),
    "it adds 'eos' to texts, but": byte_level(add_eos_token=True, eos_token_id=10**9),
    "chat_template is not a text": byte_level() | {"tokenizer.chat_template": 3},
    "chat_template.tool is not a text": byte_level() | {"tokenizer.chat_template.tool": [b"a"]},
}


@pytest.mark.parametrize(("message", "keys"), DAMAGED.items(), ids=DAMAGED)
def test_damaged_keys_are_named(message: str, keys: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=r"model\.gguf has a damaged tokenizer") as raised:
        text_files(keys, Path("model.gguf"))
    assert message.strip() in str(raised.value)


junk = st.sampled_from(
    [None, True, 0, -1, 2**63, 1.5, "", "x", [], [b""], [b"a", b"a"], [b"\xff", b"\xfe"], ["text"]]
) | st.sampled_from([np.zeros(0, np.int32), np.arange(300), np.ones((300,), np.float32), np.ones(300, bool)])


@settings(max_examples=60)
@given(st.data())
def test_no_keys_lead_to_another_error(data: st.DataObject) -> None:
    keys = data.draw(st.sampled_from([byte_level(), pieces(), pieces(model="gemma4", merges=[b"h e"])]))
    names = ["model", "pre", "tokens", "scores", "token_type", "merges", "bos_token_id", "eos_token_id"]
    names += ["padding_token_id", "unknown_token_id", "add_bos_token", "add_eos_token", "add_space_prefix"]
    changed = data.draw(st.dictionaries(st.sampled_from(names), junk, min_size=1, max_size=3))
    keys = keys | {f"tokenizer.ggml.{name}": value for name, value in changed.items()}
    try:
        files = text_files(keys)
    except CheckpointError:
        return
    assert files.keys() <= {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}
    assert bool(files) == (no_text(keys) is None)
    if files:
        opened(keys)


def test_tokens_that_are_no_text_stay_distinct() -> None:
    tokens = pieces()["tokenizer.ggml.tokens"] + [b"\xff", b"\xfe", b"", b"\xff\xfe"]
    types, scores = np.ones(len(tokens), np.int32), np.zeros(len(tokens), np.float32)
    tokenizer = opened(pieces(tokens=tokens, token_type=types, scores=scores))
    assert tokenizer.rust.get_vocab_size() == len(tokens)
    assert len({tokenizer.piece(id) for id in range(len(tokens) - 4, len(tokens))}) == 4
