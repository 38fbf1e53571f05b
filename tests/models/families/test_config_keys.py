"""Every key of every config class of transformers, left out, null and set, means to Edge what it means there."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from transformers import GenerationConfig
from transformers.activations import ACT2FN

from models.errors import SpecError
from models.families.config import ACTIVATIONS
from models.families.harmless import HARMLESS as HARMLESS_NAMES
from models.families.registry import FAMILIES
from models.families.switches import SWITCHES
from models.torch_parts import activate
from tests.models.families.configs import (
    Keys,
    Meaning,
    Run,
    config_class,
    config_of,
    defaults_of,
    read_by_edge,
    read_by_transformers,
    run_of,
    sources,
)

HARMLESS: Keys = {
    # what the file is, and where it comes from
    "architectures": ["Some"], "dtype": "float32", "transformers_version": "4.0.0",
    # tokens, which do not affect the computation
    "bos_token_id": 5, "eos_token_id": 6, "pad_token_id": 7, "eod_token_id": 3,
    # training
    "attention_dropout": 0.3, "attn_pdrop": 0.3, "classifier_dropout": 0.3, "dropout": 0.3, "embd_pdrop": 0.3,
    "embedding_dropout": 0.3, "hidden_dropout": 0.3, "init_std": 0.5, "initializer_range": 0.5, "layerdrop": 0.3,
    "pretraining_tp": 2, "resid_pdrop": 0.3, "residual_dropout": 0.3, "output_router_logits": True,
    "router_aux_loss_coef": 0.3,
    # heads for other tasks
    "id2label": {"0": "no"}, "label2id": {"no": 0}, "num_labels": 1, "problem_type": "regression",
    "summary_activation": "tanh", "summary_first_dropout": 0.3, "summary_last_dropout": 0.3,
    "summary_proj_to_labels": False, "summary_type": "mean", "summary_use_proj": False,
    # how a call answers and what it keeps
    "chunk_size_feed_forward": 2, "is_decoder": True, "output_hidden_states": True, "return_dict": False,
    "use_cache": False, "reorder_and_upcast_attn": True, "_attn_implementation": "eager",
}  # fmt: skip
"""Keys that change no logit, each with a value other than its default."""

HARMLESS_IN: dict[str, Keys] = {
    "gemma": {"hidden_activation": "silu"},
    "gemma2": {"hidden_act": "silu"},
    "gemma3_text": {"hidden_act": "silu", "attn_logit_softcapping": 2.0},
    "gpt_oss": {"hidden_act": "relu", "initial_context_length": 16, "experts_per_token": 1},
    "mixtral": {"router_jitter_noise": 0.3},
    "qwen3_moe": {"max_window_layers": 1},
}
"""Keys that one family does nothing with."""


NOTES = [key for key in HARMLESS if key.startswith("_")]
"""Names that begin with a line are notes of the file's author."""


def harmless_in(name: str) -> Keys:
    return HARMLESS | HARMLESS_IN.get(name, {})


TINY: Keys = {
    "vocab_size": 96, "hidden_size": 32, "n_embd": 32, "intermediate_size": 40, "ffn_dim": 40, "n_inner": 40,
    "num_hidden_layers": 4, "n_layer": 4, "num_attention_heads": 4, "n_head": 4, "num_key_value_heads": 2,
    "head_dim": 16, "max_position_embeddings": 64, "n_positions": 64, "hidden_act": "relu",
    "activation_function": "silu", "hidden_activation": "silu", "rms_norm_eps": 0.01, "layer_norm_eps": 0.01,
    "layer_norm_epsilon": 0.01, "norm_epsilon": 0.01, "rope_parameters": {"rope_type": "linear", "factor": 2.0},
    "rope_theta": 500.0, "rotary_emb_base": 500.0, "rotary_pct": 0.5, "use_sliding_window": True, "sliding_window": 3,
    "max_window_layers": 1, "no_rope_layer_interval": 3, "sliding_window_pattern": 3, "rope_local_base_freq": 50.0,
    "embedding_multiplier": 3.0, "residual_multiplier": 0.4, "attention_multiplier": 0.2, "logits_scaling": 2.0,
    "query_pre_attn_scalar": 7, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0,
    "norm_eps": 0.01, "logit_scale": 0.3,
    "word_embed_proj_dim": 20, "num_experts": 5, "num_local_experts": 5, "num_experts_per_tok": 3,
    "moe_intermediate_size": 24, "shared_expert_intermediate_size": 28, "decoder_sparse_step": 2,
    "mlp_only_layers": [1], "clip_qkv": 0.5, "swiglu_alpha": 1.2, "swiglu_limit": 0.4,
}  # fmt: skip
"""A small value of each key, other than its default."""

OWN: dict[str, Keys] = {
    "gemma3_text": {"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 2.0}}},
    "gpt_neox": {"head_dim": None},
    "olmo3": {"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 2.0}}, "head_dim": 8},
    "ministral3": {
        "rope_parameters": {
            "rope_type": "linear", "factor": 2.0, "llama_4_scaling_beta": 0.5, "original_max_position_embeddings": 3,
        },
    },
    "olmoe": {"head_dim": None},
    "stablelm": {"hidden_size": 128, "head_dim": None, "partial_rotary_factor": 0.5},
    "phi": {"hidden_size": 128, "head_dim": None, "partial_rotary_factor": 0.75},
    "phi3": {
        "head_dim": None, "partial_rotary_factor": 0.5, "original_max_position_embeddings": 32, "rope_parameters": {
            "rope_type": "longrope", "short_factor": [1.0, 1.5], "long_factor": [2.0, 3.0],
        },
    },
}  # fmt: skip
"""Where a family needs another value; None leaves the key out of its base."""

SET: Keys = {
    "rope_scaling": {"rope_type": "linear", "factor": 4.0},
    "layer_types": ["sliding_attention", "full_attention", "full_attention", "sliding_attention"],
    "no_rope_layers": [1, 0, 1, 1],
    "partial_rotary_factor": 0.5,
    "original_max_position_embeddings": 16,
    "head_dim": 12,
}
"""Keys that would hide others in a base; they are set instead of left out."""

SIZES = ("vocab_size", "hidden_size", "n_embd", "intermediate_size", "ffn_dim", "n_inner")
LARGEST_RUN = 128
"""Sizes up to which a model is built, not only described."""


LOST_IN_SPELLING = {("glm4", "partial_rotary_factor null")}
"""What transformers itself reads in another way once it has spelled it out."""

NOT_OF_FILES = {"get_text_config", "image_token_id", "mm_tokens_per_image", "text_config", "vision_config"}
"""What the code of Gemma 3 reads of configs with images."""


def base_of(name: str) -> Keys:
    """A tiny config in which every key that matters is stated, and none has its default."""
    known, found = FAMILIES[name].defaults, {"pad_token_id": 7}
    for key, default in known.items():
        value = OWN.get(name, {}).get(key, TINY.get(key, not default if isinstance(default, bool) else None))
        if value is not None and (key not in SET or key in OWN.get(name, {}) or key == "head_dim"):
            found[key] = value
    return found


def cases_of(name: str) -> Iterator[tuple[str, Keys]]:
    """Each key of the config class, and each older one, left out, null, and set."""
    base = base_of(name)
    for key in dict.fromkeys([*FAMILIES[name].defaults, *defaults_of(name)]):
        yield f"{key} left out", _without(base, key)
        yield f"{key} null", base | {key: None}
        if key in SET or key in harmless_in(name):
            yield f"{key} set", base | {key: (SET | harmless_in(name))[key]}
    for other, ours in FAMILIES[name].aliases.items():
        value = base.get(ours)
        yield f"{other} set", base | {other: value}
        yield f"{other} set alone", _without(base, ours) | {other: value}
        yield f"{other} set beside the default", base | {ours: FAMILIES[name].defaults[ours], other: value}
        yield f"{other} null", base | {other: None}


def _without(base: Keys, key: str) -> Keys:
    return {ours: value for ours, value in base.items() if ours != key}


def _meaning(name: str, keys: Keys) -> Meaning | None:
    """What Edge reads; None where it refuses."""
    try:
        return read_by_edge(name, keys)
    except SpecError:
        return None


@dataclass(frozen=True)
class Theirs:
    """The config that transformers makes of one, and its logits where the model is small."""

    spelled: Keys
    run: Run | None


def _theirs(name: str, keys: Keys, *, run: bool) -> Theirs | None:
    """None where transformers fails."""
    try:
        spelled = read_by_transformers(name, keys).to_dict()
        small = all((spelled.get(size) or 0) <= LARGEST_RUN for size in SIZES)
        return Theirs(spelled, run_of(read_by_transformers(name, keys)) if run and small else None)
    except Exception:  # there are many kinds, assertions of torch among them
        return None


@pytest.mark.parametrize("name", FAMILIES)
def test_every_key_means_what_it_means_to_transformers(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The spec is that of the config that transformers spells out, and the logits are the same; what transformers
    refuses Edge refuses, or ignores the key."""
    base, counted = base_of(name), {"run": 0, "described": 0, "refused by transformers": 0}
    for case, keys in cases_of(name):
        key = case.split()[0]
        ours, theirs = _meaning(name, keys), _theirs(name, keys, run=key not in harmless_in(name))
        if theirs is None:
            counted["refused by transformers"] += 1
            plain = _meaning(name, _without(base, key))
            assert ours in (None, plain), f"{name}: Edge reads '{case}', which transformers refuses, in its own way"
            continue
        assert ours is not None, f"{name}: Edge refuses '{case}', which transformers runs"
        if (name, case) not in LOST_IN_SPELLING:
            assert ours == _meaning(name, theirs.spelled), f"{name}: '{case}' is another decoder than transformers says"
        counted["run" if theirs.run else "described"] += 1
        difference = theirs.run.difference(name, ours) if theirs.run else 0.0
        assert difference < 2e-4, f"{name}: '{case}' leaves transformers by {difference:.2g}"
    with capsys.disabled():
        print(f"\n{name}: {sum(counted.values())} cases, {counted}")


def test_every_default_is_that_of_the_config_class() -> None:
    for name, family in FAMILIES.items():
        fields = defaults_of(name)
        for key, default in family.defaults.items():
            if key in fields:
                assert default == fields[key], f"{name}: '{key}' means {fields[key]!r} when it is left out"
        assert family.aliases == _aliases_of(name), f"{name}: other names of keys"


def _aliases_of(name: str) -> dict[str, str]:
    """The field of each other name. A class may map its field to a name that is no field, which then precedes it."""
    pairs = config_class(name).attribute_map.items()
    return dict((ours, other) if ours not in defaults_of(name) else (other, ours) for other, ours in pairs)


def test_every_key_that_transformers_reads_is_read_refused_or_harmless() -> None:
    """Keys of each config class and of its code; a key that neither knows has no effect there, so it may be present."""
    for name, family in FAMILIES.items():
        looked_up = re.findall(r"config\.(\w+)|getattr\((?:self\.)?config, \"(\w+)\"", sources(name))
        theirs = {*defaults_of(name), *(first or second for first, second in looked_up)}
        known = {*family.defaults, *family.aliases, *family.switches, *SWITCHES, *harmless_in(name), *NOT_OF_FILES}
        assert theirs <= known, f"{name}: Edge says nothing of {sorted(theirs - known)}"


def test_harmless_keys_change_no_logit() -> None:
    """All of them at once, each with a value other than its default."""
    for name, family in FAMILIES.items():
        assert set(harmless_in(name)) - set(NOTES) <= family.harmless | HARMLESS_NAMES, f"{name} lists too few"
        assert set(HARMLESS_IN.get(name, {})) == family.harmless, f"{name} lists what is not tried here"
        keys = base_of(name) | harmless_in(name) | {"return_dict": True}  # without, transformers itself fails
        difference = run_of(read_by_transformers(name, keys)).difference(name, read_by_edge(name, base_of(name)))
        assert difference < 2e-4, f"{name}: keys said to be harmless change logits by {difference:.2g}"


def test_how_text_is_sampled_is_no_part_of_a_decoder() -> None:
    assert set(GenerationConfig._get_default_generation_params()) <= HARMLESS_NAMES


@pytest.mark.parametrize("name", FAMILIES)
def test_keys_that_the_class_does_not_know_are_reported_where_they_ask_for_something(name: str) -> None:
    """None of those that the class knows is reported."""
    keys = base_of(name) | harmless_in(name) | {"mixer": "new", "gate_scale": 0.5, "mixes": False, "gates": None}
    assert FAMILIES[name].unread(config_of(keys)) == ("mixer", "gate_scale")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_the_one_that_transformers_calls_so(name: str) -> None:
    x = torch.linspace(-6, 6, 500)
    difference = float((ACT2FN[name](x) - activate(ACTIVATIONS[name], x)).abs().max())
    assert difference < 1e-6, f"{name} is off by {difference:.2g}"
