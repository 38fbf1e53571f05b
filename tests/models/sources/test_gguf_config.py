"""The keys of GGUF files: one that is missing, wrong, or contradicts the tensors gives a sentence that names it."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.errors import CheckpointError, SpecError
from models.sources.gguf.config import ARCHITECTURES, config_of
from models.sources.gguf.file import GgufFile, open_gguf
from models.sources.gguf.keys import GgufKeys
from models.sources.gguf.source import Gguf
from models.spec import DecoderSpec, SameScale, Sliding
from tests.models.sources.architectures import FIRST, Small

Keys = dict[str, Any]

UNREAD: Mapping[str, tuple[str, ...]] = {
    "vocab_size": tuple(ARCHITECTURES),
    "attention.layer_norm_rms_epsilon": ("nemotron",),
    "feed_forward_length": ("gpt-oss",),
    "use_parallel_residual": ("stablelm",),
}
"""Keys that are not read, since the tensors say the same, by the architectures that have them."""

WRONG = {"missing": None, "a text": "7", "0": 0, "below 0": -1, "huge": 1e300}

NEVER = ("a text", "huge")
"""What no key may be."""

REQUIRED = ("context_length", "embedding_length", "block_count", "attention.head_count")


def source_with(opened: GgufFile, **changes: Mapping[str, Any]) -> Gguf:
    """The source of a file with other keys or tensors."""
    source = Gguf(opened.files[0])
    vars(source)["_opened"] = replace(opened, **changes)
    return source


def opened_with(opened: GgufFile, keys: Mapping[str, Any]) -> DecoderSpec | str:
    """The spec of a file with other keys; or what Edge says, which is one sentence."""
    try:
        return source_with(opened, keys=keys).read().spec
    except (SpecError, CheckpointError) as error:
        said = str(error)
    assert 20 < len(said) < 600 and "\n" not in said, f"this is no sentence: {said}"
    return said


def own_keys(opened: GgufFile) -> tuple[str, dict[str, Any]]:
    """The prefix of an architecture, and its keys without it."""
    prefix = f"{opened.keys['general.architecture']}."
    return prefix, {key.removeprefix(prefix): value for key, value in opened.keys.items() if key.startswith(prefix)}


def changed(opened: GgufFile, name: str, value: object) -> Keys:
    """The keys of a file with one changed, or left out."""
    key = f"{opened.keys['general.architecture']}.{name}"
    rest = {other: kept for other, kept in opened.keys.items() if other != key}
    return rest if value is None else rest | {key: value}


@pytest.mark.parametrize("architecture", FIRST)
def test_a_wrong_key_is_named(architecture: str, small: Callable[[str], Small]) -> None:
    """Every key of every architecture, missing and with each wrong value. Some may be missing or 0."""
    opened = open_gguf(small(FIRST[architecture]).file)
    for name in own_keys(opened)[1]:
        for wrong, value in WRONG.items():
            found = opened_with(opened, changed(opened, name, value))
            if isinstance(found, str):
                assert name in found, f"'{name}', which is {wrong}, is not named: {found}"
            else:
                read = architecture not in UNREAD.get(name, ())
                assert not (read and wrong in NEVER), f"'{name}' of {architecture} is {wrong}, and Edge opens the file"
                assert not (wrong == "missing" and name in REQUIRED), f"{architecture} opens without '{name}'"


SIZES = (
    "embedding_length",
    "block_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "feed_forward_length",
    "expert_count",
    "expert_feed_forward_length",
    "expert_shared_feed_forward_length",
)
"""Keys of sizes that tensors have too."""

NOT_IN_TENSORS = {"feed_forward_length": ("gpt-oss", "qwen2moe", "qwen3moe")}
"""Sizes of FFNs beside mixtures, of which there are none."""


@pytest.mark.parametrize("architecture", FIRST)
def test_a_size_that_contradicts_the_tensors_is_named(architecture: str, small: Callable[[str], Small]) -> None:
    """Twice as large, and 1."""
    opened = open_gguf(small(FIRST[architecture]).file)
    for name, value in own_keys(opened)[1].items():
        if name in SIZES and architecture not in NOT_IN_TENSORS.get(name, ()):
            for other in (2 * value, 1):
                found = opened_with(opened, changed(opened, name, other))
                if other != value:
                    assert isinstance(found, str), f"{architecture} has '{name}' {other}, not {value}, and opens"
                    assert name in found, f"'{name}' is not named: {found}"


NUMBERS = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.integers(-2, 300),
    st.floats(),
    st.booleans(),
    st.text(max_size=5),
    st.lists(st.integers(0, 3), max_size=4).map(lambda numbers: np.array(numbers, np.int32)),
    st.lists(st.floats(width=32), max_size=4).map(lambda numbers: np.array(numbers, np.float32)),
    st.lists(st.booleans(), max_size=4).map(np.array),
    st.lists(st.binary(max_size=3), max_size=4),
)
"""What the reader of headers returns as values of keys."""


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_keys_give_a_traceback(small: Callable[[str], Small], data: st.DataObject) -> None:
    """Several keys at a time, those that few files have among them."""
    opened = open_gguf(small(FIRST[data.draw(st.sampled_from(SEVERAL))]).file)
    prefix, own = own_keys(opened)
    names = data.draw(st.lists(st.sampled_from([*own, *RARE]), min_size=1, max_size=3, unique=True))
    opened_with(opened, dict(opened.keys) | {prefix + name: data.draw(NUMBERS) for name in names})


SEVERAL = ("llama", "gemma3", "phi3", "gpt-oss", "olmo2", "mistral3", "glm4", "granite", "gpt2", "qwen2moe")

RARE = (
    "attention.causal",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "nextn_predict_layers",
    "rope.scaling.attn_factor",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_log_multiplier",
)


Smalls = Callable[[str], Small]


def with_keys(small: Small, **named: object) -> DecoderSpec | str:
    """The spec or the error for a file with other keys. Two underscores stand for a dot; None leaves a key out."""
    opened = open_gguf(small.file)
    for name, value in named.items():
        opened = replace(opened, keys=changed(opened, name.replace("__", "."), value))
    return opened_with(opened, opened.keys)


def spec_with(small: Small, **named: object) -> DecoderSpec:
    found = with_keys(small, **named)
    assert isinstance(found, DecoderSpec), f"it is refused: {found}"
    return found


def refusal_with(small: Small, **named: object) -> str:
    found = with_keys(small, **named)
    assert isinstance(found, str), "it is opened"
    return found


def windows(spec: DecoderSpec) -> list[int]:
    """Tokens of the window of each layer, 0 for all."""
    found = [layer.attention.window for layer in spec.layers]
    return [window.tokens if isinstance(window, Sliding) else 0 for window in found]


def test_a_list_of_equal_values_is_one_value(small: Smalls) -> None:
    llama = small("llama")
    heads, widths = np.array([4, 4], np.int32), np.array([96, 96], np.uint32)
    assert spec_with(llama, attention__head_count=heads, feed_forward_length=widths) == spec_with(llama)
    other = refusal_with(llama, feed_forward_length=np.array([96, 64], np.uint32))
    assert "'llama.feed_forward_length' is [96, 64]" in other


@pytest.mark.parametrize("name", ["gemma2", "gemma3-every-sixth-full-scaled", "gpt-oss", "cohere2", "olmo3", "exaone4"])
def test_patterns_of_windows_are_lists_or_periods(name: str, small: Smalls) -> None:
    """With a period of 2, every other layer is full; with 1, all are; with 0, none is."""
    count = len(spec_with(small(name)).layers)
    every_other = [4, 0] * 3
    assert windows(spec_with(small(name), attention__sliding_window_pattern=2)) == every_other[:count]
    assert windows(spec_with(small(name), attention__sliding_window_pattern=1)) == [0] * count
    assert windows(spec_with(small(name), attention__sliding_window_pattern=0)) == [4] * count
    listed = [True] + [False] * (count - 1)
    for flags in (np.array(listed), np.array(listed, np.int32), np.array([*listed, True])):
        assert windows(spec_with(small(name), attention__sliding_window_pattern=flags)) == [4] + [0] * (count - 1)
    short = refusal_with(small(name), attention__sliding_window_pattern=np.array([True]))
    assert "sliding_window_pattern" in short and f"{count} layers" in short


def test_periods_are_those_of_llama_cpp(small: Smalls) -> None:
    """Where the file has no pattern: 2 for Gemma 2 and gpt-oss, 4 for Cohere 2, EXAONE 4 and OLMo 3, 6 for Gemma 3."""
    assert windows(spec_with(small("gemma2"))) == [4, 0, 4]
    assert windows(spec_with(small("gpt-oss"))) == [4, 0]
    assert windows(spec_with(small("cohere2"))) == [4, 4, 4, 0]
    for name in ("exaone4", "olmo3"):
        assert windows(spec_with(small(name), attention__sliding_window_pattern=None)) == [4, 4, 4, 0]
    assert windows(spec_with(small("gemma3-every-sixth-full-scaled"))) == [4, 4, 4, 4, 4, 0]


@pytest.mark.parametrize(("name", "layers"), [("gemma2", 46), ("gemma3-capped-unscaled", 62)])
def test_the_largest_gemmas_divide_scores_by_another_size(name: str, layers: int, small: Smalls) -> None:
    """By the root of the stream's share of a head instead of the head size, which the file does not state."""
    opened = open_gguf(small(name).file)
    architecture = name.split("-")[0]

    def scalar(count: int) -> int:
        shapes = {"token_embd.weight": (96, 128), **{f"blk.{layer}.attn_norm.weight": (128,) for layer in range(count)}}
        stated = {**opened.keys, f"{architecture}.block_count": count, f"{architecture}.embedding_length": 128}
        made = config_of(GgufKeys(small(name).file, stated, shapes), lambda tensor: [])
        return int(made["query_pre_attn_scalar"])

    assert (scalar(layers), scalar(layers - 1)) == (128 // 4, 16)


def test_old_files_of_stablelm_say_that_layers_are_parallel(small: Smalls) -> None:
    """llama.cpp goes by the norm, and so does Edge."""
    assert spec_with(small("stablelm"), use_parallel_residual=True) == spec_with(small("stablelm"))


def test_mistral_3_without_growing_queries_is_llama(small: Smalls) -> None:
    spec = spec_with(small("mistral3"), attention__temperature_scale=None)
    assert {layer.attention.query_scale for layer in spec.layers} == {SameScale()}
    assert windows(spec) == [0, 0]


@pytest.mark.parametrize(
    ("name", "named", "said"),
    [
        ("qwen2", {"attention__causal": False}, "attention to later tokens"),
        ("granite", {"rope__scaling__finetuned": False}, "layers without positions"),
        ("granitemoe", {"expert_shared_feed_forward_length": 32}, "experts that all tokens use"),
        ("glm4", {"rope__dimension_sections": np.array([1, 1, 0, 0], np.int32)}, "positions of images"),
        ("llama-llama3-scaling", {"rope__scaling__type": "yarn", "rope__scaling__factor": 4.0}, "there are divisors"),
        ("llama", {"rope__scaling__type": "longrope"}, "longrope with tensors of its factors"),
        ("llama-yarn-scaling-own-amplitude", {"rope__scaling__yarn_ext_factor": 0.5}, "it must be 1"),
        ("llama-yarn-scaling-own-amplitude", {"rope__freq_base": 1.0}, "for YaRN"),
        ("llama-yarn-scaling-own-amplitude", {"rope__scaling__factor": None}, "'llama.rope.scaling.factor'"),
        ("mixtral", {"expert_count": None}, "no key 'llama.expert_count'"),
        ("mixtral", {"expert_used_count": 5}, "at most 'expert_count', which is 4"),
        ("llama", {"attention__head_count": 3}, "a divisor of 'attention.head_count', which is 3"),
        ("llama", {"attention__value_length": 8}, "as the length of keys"),
        ("qwen2", {"rope__dimension_count": 8}, "the size of a head, 16"),
        ("mistral", {"attention__key_length": None, "attention__value_length": None}, "the size of a head, 16"),
        ("phi2", {"rope__dimension_count": 7}, "an even number"),
        ("phi3-longrope", {"rope__dimension_count": 16}, "has 4 numbers; 16 rotated features"),
    ],
)
def test_what_edge_does_not_have_is_refused(name: str, named: Keys, said: str, small: Smalls) -> None:
    assert said in refusal_with(small(name), **named)


def test_architectures_that_edge_does_not_read_are_named(small: Smalls) -> None:
    opened = open_gguf(small("llama").file)
    other = opened_with(opened, dict(opened.keys) | {"general.architecture": "mamba"})
    assert isinstance(other, str) and "'mamba'" in other and all(name in other for name in ARCHITECTURES)
    for keys in ({**opened.keys, "general.architecture": 3}, {}):
        assert "no key 'general.architecture'" in str(opened_with(opened, keys))


def test_more_tokens_than_rows_of_the_embedding_are_refused(small: Smalls, tmp_path: Path) -> None:
    opened = open_gguf(Path(shutil.copy(small("llama").file, tmp_path)))  # whose texts are not cached
    tokens = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": [b"a"] * 97}
    source = source_with(opened, keys={**opened.keys, **tokens})
    with pytest.raises(CheckpointError, match=r"has 97 tokens, and 'token_embd\.weight' has rows for 96"):
        source.texts()
