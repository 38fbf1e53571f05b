"""A value of the wrong kind, under any key of any family, is refused by name; nothing else comes out."""

from math import inf, nan

import numpy as np
import pytest
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from models.errors import SpecError
from models.families.registry import FAMILIES, family_of
from models.families.switches import EXPERT_COUNTS, SWITCHES
from models.families.unsupported import PARTS
from models.families.wrappers import WRAPPERS
from models.rotary import inverse_periods
from models.spec import MoE, Rotary
from tests.models.families.configs import Keys, Meaning, config_of, read_by_edge
from tests.models.families.test_config_keys import base_of

ALIEN = ["mish", "", [], [1], [[]], {"a": 1}, {"a": {"b": []}}, [None] * 4, ["full_attention", {}]]
"""Text, lists and tables that no key takes."""

LISTS = {"mlp_only_layers": ([], [1])}
"""Lists among them that a key takes."""

NUMBERS = [True, False, 0, -1, 1, 3, 1.5, -0.5, 1e-320, 1e300, 10**400, 2**31, nan, inf, -inf]

TABLES = [
    {"rope_type": kind, "factor": factor, "rope_theta": base, "original_max_position_embeddings": original}
    | {"low_freq_factor": 1.0, "high_freq_factor": high, "short_factor": [1.0, high], "long_factor": [1.0]}
    for kind in ("linear", "dynamic", "llama3", "yarn", "longrope", "su", "ntk", "", None, [], {})
    for factor, base, original, high in (
        (2.0, 1.0, 1, 1.0), (1e30, 1e30, 2**31 - 1, 4.0), (-1, 0, 0, nan), ("2", [], {}, "4"), (None, None, None, None),
        ([], {}, [1], [1]), (10**400, 10**400, 10**400, 10**400),
    )
]  # fmt: skip


def meaning_or_refusal(name: str, keys: Keys) -> Meaning | str:
    """How Edge reads a config, angles included."""
    try:
        meaning = read_by_edge(name, keys)
    except SpecError as refused:
        return str(refused)
    for position in (attention.position for attention in meaning[0].attentions):
        if isinstance(position, Rotary):
            assert np.isfinite(inverse_periods(position)).all(), f"angles of {position}"
    return meaning


def keys_of(name: str) -> list[str]:
    """Every key that a family reads, by all its names."""
    return [*FAMILIES[name].defaults, *FAMILIES[name].aliases]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_value_of_the_wrong_kind_is_refused_by_the_name_of_its_key(name: str) -> None:
    """A table of rotary positions may hold unknown keys."""
    base, aliases = base_of(name), FAMILIES[name].aliases
    for key in keys_of(name):
        for value in (alien for alien in ALIEN if alien not in LISTS.get(key, ())):
            said = meaning_or_refusal(name, base | {key: value})
            if not (key in ("rope_parameters", "rope_scaling") and isinstance(value, dict)):
                assert f"'{aliases.get(key, key)}'" in said, f"{name}: '{key}' of {value!r} gives {said}"


@pytest.mark.parametrize("name", FAMILIES)
def test_numbers_and_tables_out_of_range_give_a_decoder_or_a_refusal(name: str) -> None:
    for key in (*keys_of(name), *SWITCHES):
        for value in NUMBERS:
            said = meaning_or_refusal(name, base_of(name) | {key: value})
            assert not isinstance(said, str) or ("\n" not in said and len(said) < 600), f"{key} of {value}: {said}"
    for table in TABLES:
        for keys in (
            {"rope_scaling": table},
            {"rope_parameters": {"full_attention": table, "sliding_attention": table}},
        ):
            meaning_or_refusal(name, base_of(name) | keys)


@pytest.mark.parametrize("key", SWITCHES)
def test_a_switch_that_changes_the_mathematics_is_refused_by_name_in_every_family(key: str) -> None:
    for name in (name for name in FAMILIES if not _counts_experts(name, key)):
        with pytest.raises(SpecError, match=f"'{key}'.*requires {SWITCHES[key].feature}"):
            read_by_edge(name, base_of(name) | {key: not SWITCHES[key].runs})
        assert read_by_edge(name, base_of(name) | {key: SWITCHES[key].runs}) == read_by_edge(name, base_of(name))


def _counts_experts(name: str, key: str) -> bool:
    """Whether a switch is a name of the number of experts, and the family has experts."""
    return key in EXPERT_COUNTS and not EXPERT_COUNTS.isdisjoint(keys_of(name))


@pytest.mark.parametrize("name", [name for name in FAMILIES if not EXPERT_COUNTS.isdisjoint(keys_of(name))])
def test_a_mixture_reports_names_of_the_number_of_experts_that_its_class_does_not_read(name: str) -> None:
    """They change nothing there; those that it reads are numbers."""
    for key in EXPERT_COUNTS:
        keys = base_of(name) | {key: 3}
        if key in keys_of(name):
            assert FAMILIES[name].unread(config_of(keys)) == ()
            counted = {
                layer.ffn.n_experts for layer in read_by_edge(name, keys)[0].layers if isinstance(layer.ffn, MoE)
            }
            assert counted == {3}, f"{name}: {key}=3 gives {counted} experts"
        else:
            assert FAMILIES[name].unread(config_of(keys)) == (key,)
            assert read_by_edge(name, keys) == read_by_edge(name, base_of(name))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_switch_of_one_family_is_refused_by_name(name: str) -> None:
    for key, switch in FAMILIES[name].switches.items():
        with pytest.raises(SpecError, match=f"'{key}'.*requires {switch.feature}"):
            read_by_edge(name, base_of(name) | {key: not switch.runs})


@pytest.mark.parametrize("name", FAMILIES)
def test_keys_that_no_class_knows_mean_nothing(name: str) -> None:
    """Published configs are full of them."""
    strays = {
        "_attn_implementation_autoset": True, "is_llama_config": True, "rope_interleaved": False, "unsloth_version": "",
        "transformers.js_config": {"dtype": "q4"}, "quantization_config": None, "pretraining_tp": 2, "torch_dtype": "x",
        "auto_map": {"AutoModel": "x"}, "_name_or_path": "x", "use_mrope": False, "sliding_window_pattern_": 3,
    }  # fmt: skip
    assert read_by_edge(name, base_of(name) | strays) == read_by_edge(name, base_of(name))


def test_only_slips_of_the_keyboard_are_asked_about() -> None:
    """A name of another model of transformers is none."""
    for other in sorted(set(CONFIG_MAPPING) - set(FAMILIES) - set(WRAPPERS)):
        assert "did you mean" not in _refusal(other), f"'{other}' is a model of its own: {_refusal(other)}"
    for typed in ("llamma", "lama", "Llama", "llmaa", "gpt-neox", "GPTNeoX", "qwen-2", "gemma3-text"):
        assert "did you mean" in _refusal(typed), f"'{typed}' is meant to be a family"


def _refusal(model_type: object) -> str:
    with pytest.raises(SpecError) as refused:
        family_of(config_of({"model_type": model_type}))
    return str(refused.value)


@pytest.mark.parametrize("model_type", [None, 3, [], {}, "", "llava", "lfm2", "x" * 10_000, "\x1b]52;c;x\x07"])
def test_a_model_type_that_is_none_of_ours_is_refused_in_one_line(model_type: object) -> None:
    said = _refusal(model_type)
    assert "did you mean" not in said and "\x1b" not in said and "\n" not in said and len(said) < 600


@pytest.mark.parametrize(
    ("model_type", "keys", "part"),
    [
        ("mamba", {}, "state-space layers"),
        ("mamba2", {}, "state-space layers"),
        ("falcon_h1", {}, "state-space layers"),
        ("granitemoehybrid", {"num_local_experts": 8}, "state-space layers"),
        ("nemotron_h", {}, "state-space layers"),
        ("jamba", {"num_experts": 16}, "state-space layers"),
        ("zamba2", {}, "state-space layers"),
        ("bamba", {}, "state-space layers"),
        ("a_new_hybrid", {"mamba_d_state": 128}, "state-space layers"),
        ("lfm2", {}, "short convolutions"),
        ("lfm2_moe", {"num_experts": 32}, "short convolutions"),
        ("qwen3_next", {"num_experts": 512}, "gated delta nets"),
        ("qwen3_5", {"text_config": {}}, "gated delta nets"),
        ("a_new_qwen", {"text_config": {"linear_num_value_heads": 32}}, "gated delta nets"),
        ("recurrent_gemma", {}, "recurrent states"),
        ("rwkv", {}, "recurrent states"),
        ("deepseek_v2", {"n_routed_experts": 64}, "latent attention"),
        ("deepseek_v3", {"n_routed_experts": 256}, "latent attention"),
        ("kimi_k2", {}, "latent attention"),
        ("minicpm3", {}, "latent attention"),
        ("glm4_moe_lite", {"n_routed_experts": 64}, "latent attention"),
        ("a_new_deepseek", {"kv_lora_rank": 512, "n_routed_experts": 64}, "latent attention"),
        ("gemma3n", {}, "per-layer embeddings"),
        ("gemma4", {}, "per-layer embeddings"),
        ("gemma5", {"text_config": {"hidden_size_per_layer_input": 256}}, "per-layer embeddings"),
        ("mpt", {}, "ALiBi positions"),
        ("t5", {}, "an encoder and cross-attention"),
    ],
)
def test_a_model_with_a_part_that_edge_lacks_is_refused_by_the_part(model_type: str, keys: Keys, part: str) -> None:
    with pytest.raises(SpecError, match=f"model_type '{model_type}' requires .*{part}.*which Edge does not support"):
        family_of(config_of({"model_type": model_type, **keys}))


def test_a_part_is_named_only_for_models_that_edge_does_not_run() -> None:
    assert not set(PARTS) & {*FAMILIES, *WRAPPERS}
