"""Special tokens and what ends a text are found where transformers finds them, whatever file or class names them."""

import inspect
import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import tokenizers
import transformers
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import decoders, pre_tokenizers, processors
from transformers.models.auto import tokenization_auto as auto

from models import tokenizer_classes
from models.chat import Turn, open_chat_template
from models.errors import EdgeError
from models.families.registry import FAMILIES
from models.tokenizer import Tokenizer, open_tokenizer
from models.tokenizer_classes import CLASS_TOKENS
from tests.models.chat_templates import TEMPLATES

WORDS = ("<s>", "</s>", "<unk>", "[SEP]", "<pad>", "<image>", "<|end|>", "<|im_end|>", "<end_of_turn>", "<|user|>")


def tokenizer_json(*, byte_level: bool = True, added: tuple[str, ...] = (), begins: bool = False) -> str:
    """A byte-level tokenizer, or one with a word for each character, whose vocabulary holds `WORDS` too."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: id for id, token in enumerate([*alphabet, *WORDS])}
    rust = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    if byte_level:
        rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        rust.decoder = decoders.ByteLevel()
    rust.add_special_tokens(list(added))
    if begins:
        rust.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", rust.token_to_id("<s>"))]
        )
    return rust.to_str()


def opened(folder: Path, **files: object) -> Tokenizer:
    """The tokenizer of a folder with these JSON files, by name without the ending."""
    for name, keys in files.items():
        text = keys if isinstance(keys, str) else json.dumps(keys)
        (folder / f"{name}.json").write_text(text, encoding="utf8", errors="surrogatepass")
    tokenizer = open_tokenizer(folder)
    assert tokenizer is not None
    return tokenizer


@pytest.mark.parametrize("name", CLASS_TOKENS)
def test_a_class_has_the_tokens_it_has_in_transformers(name: str) -> None:
    parameters = inspect.signature(auto.tokenizer_class_from_name(name).__init__).parameters
    tokens = {key: each.default for key, each in parameters.items() if key.endswith("_token")}
    assert CLASS_TOKENS[name] == {key: token for key, token in tokens.items() if isinstance(token, str)}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_the_class_it_has_in_transformers(family: str) -> None:
    registered = auto.TOKENIZER_MAPPING_NAMES.get(family)
    if registered == "MistralCommonBackend":  # where its package is installed and there is a tekken.json
        registered = "TokenizersBackend"
    assert tokenizer_classes._REGISTERED.get(family) == registered
    assert registered in (None, "TokenizersBackend", *CLASS_TOKENS), f"{registered} is not in CLASS_TOKENS"
    misnamed = family in auto.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS
    assert (family in tokenizer_classes._OFTEN_MISNAMED) == misnamed


token = st.sampled_from(WORDS)
written = token | token.map(lambda text: {"__type": "AddedToken", "content": text, "special": True}) | st.none()
names = st.sampled_from(
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "image_token"]
)
classes = st.sampled_from([None, "PreTrainedTokenizerFast", "TokenizersBackend", "GPT2TokenizerFast"]) | (
    st.sampled_from(["LlamaTokenizer", "GPT2Tokenizer", "Qwen2Tokenizer", "GemmaTokenizer", "CohereTokenizer"])
)
entry = st.fixed_dictionaries(
    {"content": token, "special": st.booleans(), "normalized": st.just(False)}
    | dict.fromkeys(("lstrip", "rstrip", "single_word"), st.just(False))
)


@st.composite
def folders(draw: st.DrawFn) -> dict[str, Any]:
    """Files of a checkpoint that name special tokens in any of the ways there are."""
    config = {"model_type": draw(st.sampled_from(sorted(FAMILIES)))}
    own: dict[str, Any] = dict(draw(st.dictionaries(names, written, max_size=4)))
    own |= draw(st.sampled_from([{}, {"add_bos_token": True}, {"add_bos_token": True, "add_eos_token": True}]))
    own |= draw(st.sampled_from([{}, {}, {"split_special_tokens": True}]))
    own |= draw(
        st.sampled_from(
            [
                {},
                {"additional_special_tokens": ["<|end|>"]},
                {"extra_special_tokens": ["<|im_end|>"]},
                {"extra_special_tokens": {"audio_token": "<|user|>"}},
            ]
        )
    )
    for keys, known in ((config, classes), (own, classes | st.just("NoSuch"))):
        if (named := draw(known)) is not None:
            keys["tokenizer_class"] = named
    if draw(st.booleans()):
        entries = draw(st.lists(entry, max_size=3, unique_by=lambda each: each["content"]))
        own["added_tokens_decoder"] = {str(400 + index): each for index, each in enumerate(entries)}
    files: dict[str, Any] = {"config": config, "tokenizer_config": own}
    if draw(st.booleans()):
        plain = token | token.map(lambda text: {"content": text, "lstrip": False, "rstrip": False})
        files["special_tokens_map"] = draw(st.dictionaries(names, plain, max_size=3))
    added = draw(st.sampled_from([(), ("<s>", "</s>"), ("<unk>",)]))
    level, begins = draw(st.booleans()), bool(added[:1] == ("<s>",) and draw(st.booleans()))
    files["tokenizer"] = tokenizer_json(byte_level=level, added=added, begins=begins)
    return files


@given(files=folders())
def test_named_tokens_are_those_of_transformers(files: dict[str, Any]) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        ours = opened(folder, **files)
        theirs = transformers.AutoTokenizer.from_pretrained(folder)
        assert ours.named == theirs.special_tokens_map
        if type(theirs).__name__ == "TokenizersBackend":  # the others build their own tokenizer
            text = "a<s>b [SEP]c<|im_end|><pad> <|user|></s>"
            assert ours.encode(text) == theirs(text).input_ids
            assert ours.encode_spelled(text) == theirs(text, add_special_tokens=False).input_ids
            ids = ours.encode_spelled(text)
            assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize("bos", ["<s>", None])
def test_tokenizer_json_says_whether_a_text_begins_with_a_token(begins: bool, bos: str | None, tmp_path: Path) -> None:
    """`add_bos_token` adds none, with a `bos_token` or without, though the config has an id for it."""
    ours = opened(
        tmp_path,
        tokenizer=tokenizer_json(added=("<s>",), begins=begins),
        config={"model_type": "llama", "bos_token_id": 5},
        tokenizer_config={"add_bos_token": True, "add_eos_token": True, "bos_token": bos, "eos_token": "</s>"},
    )
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert ours.encode("ab") == theirs("ab").input_ids
    assert len(ours.encode("ab")) == 2 + begins


def test_texts_end_with_what_any_file_says(tmp_path: Path) -> None:
    ours = opened(
        tmp_path,
        tokenizer=tokenizer_json(),
        config={"model_type": "llama", "eos_token_id": 3},
        generation_config={"eos_token_id": [7, 3, True, None, "<unk>"]},
        tokenizer_config={"eos_token": "</s>", "added_tokens_decoder": {}},
        special_tokens_map={"eos_token": {"content": "[SEP]"}},
        chat_template={"chat_template": "{% for m in messages %}{{ m.content }}<|im_end|>\n{% endfor %}"},
    )
    texts = [ours.rust.id_to_token(id) for id in ours.stop_tokens]
    assert ours.stop_tokens[:2] == (7, 3) and texts[2:] == ["<unk>", "</s>", "[SEP]"], (
        "the turn's end is no added token"
    )
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(added=("<|im_end|>",)))  # before, it was text like any
    assert ours.rust.token_to_id("<|im_end|>") in opened(tmp_path).stop_tokens


def test_a_class_ends_a_text_with_its_own_token_where_the_vocabulary_has_it(tmp_path: Path) -> None:
    files = {"config": {"model_type": "llama"}, "tokenizer_config": {"tokenizer_class": "LlamaTokenizer"}}
    ours = opened(tmp_path, tokenizer=tokenizer_json(byte_level=False), **files)
    assert ours.stop_tokens == (ours.rust.token_to_id("</s>"),)
    gemma = opened(tmp_path, tokenizer_config={"tokenizer_class": "GemmaTokenizer"}, config={"vocab_size": 266})
    assert gemma.stop_tokens == (), f"no token of 266 is <eos>: {gemma.stop_tokens}"


ENDS = {
    "chatml": "<|im_end|>",
    "smollm2": "<|im_end|>",
    "smollm3": "<|im_end|>",
    "llama 2": "</s>",
    "llama 3": "<|eot_id|>",
    "llama 3.1": "<|eot_id|>",
    "mistral": "</s>",
    "mistral with tools": "</s>",
    "gemma": "<end_of_turn>",
    "gemma 3": "<end_of_turn>",
    "phi 3": "<|end|>",
    "phi 4 mini": "<|end|>",
    "qwen 2.5": "<|im_end|>",
    "qwen 3": "<|im_end|>",
    "deepseek 2": "</s>",
    "deepseek r1": "<｜end▁of▁sentence｜>",
    "granite 3": "<|end_of_text|>",
    "command r": "<|END_OF_TURN_TOKEN|>",
    "zephyr": "</s>",
    "vicuna": "</s>",
    "alpaca": None,
    "olmo 2": "</s>",
    "stablelm": "</s>",
    "glm": "<|user|>",
    "falcon": None,
    "harmony": "<|return|>",
    "generation": "</s>",
    "broken": None,
    "no list": None,
    "undefined": None,
}


@pytest.mark.parametrize("name", ENDS)
def test_an_answer_ends_as_the_template_writes_it(name: str, tmp_path: Path) -> None:
    """`<|end|>` begins other tokens, and harmony writes it within a turn, where a model does not stop."""
    added = tuple({*WORDS, *filter(None, ENDS.values()), "<|endoftext|>", "<|im_start|>", "\n", "  "})
    (tmp_path / "chat_template.jinja").write_text(TEMPLATES[name])
    named = {"bos_token": "<s>", "eos_token": "</s>"}
    ours = opened(tmp_path, tokenizer=tokenizer_json(added=added), tokenizer_config=named)
    ends = {ours.rust.id_to_token(id) for id in ours.stop_tokens}
    assert ends == {"</s>", ENDS[name] or "</s>"}


odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2**40)
    | st.sampled_from([*WORDS, "", "\ud800", "{{ x.y.z }}", "default"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["content", "name", "template", "5", "special", "default", "x"]), inner, max_size=3
        )
    ),
    max_leaves=5,
)
keys = st.dictionaries(
    names
    | st.sampled_from(["added_tokens_decoder", "extra_special_tokens", "additional_special_tokens", "chat_template"])
    | st.sampled_from(["eos_token_id", "tokenizer_class", "model_type", "vocab_size", "add_bos_token"]),
    odd,
    max_size=5,
)


@given(
    files=st.dictionaries(
        st.sampled_from(["config", "tokenizer_config", "special_tokens_map", "generation_config", "chat_template"]),
        keys | odd,
        max_size=4,
    )
)
@example(files={"config": "\ud800", "tokenizer_config": "\ud800"})
def test_whatever_the_files_hold_nothing_but_a_message_comes_of_it(files: dict[str, Any]) -> None:
    with TemporaryDirectory() as name, suppress(EdgeError):
        tokenizer = opened(Path(name), tokenizer=tokenizer_json(), **files)
        tokenizer.decode(tokenizer.encode("a<s>b</s>"))
        template = open_chat_template(Path(name), tokenizer.named)
        if template is not None:
            template.text_of([Turn("user", "Hello")])
