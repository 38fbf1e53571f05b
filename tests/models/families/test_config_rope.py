"""Every spelling of rotary positions gives the logits that transformers gives, or is refused where it fails."""

import pytest

from models.errors import SpecError
from models.families.registry import FAMILIES
from models.spec import NoScaling, Rotary, YarnScaling
from tests.models.families.configs import IDS, Keys, defaults_of, read_by_edge, read_by_transformers, run_of

TINY: Keys = {
    "vocab_size": 96, "hidden_size": 64, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 7,
}  # fmt: skip

LINEAR = {"rope_type": "linear", "factor": 4.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LONG = {"rope_type": "longrope", "short_factor": [1.0, 1.5], "long_factor": [2.0, 3.0]}
PLAIN = {"rope_type": "default", "rope_theta": 50.0}

FLAT: dict[str, Keys] = {
    "nothing stated": {},
    "a base beside": {"rope_theta": 50.0},
    "a base in the table and beside": {"rope_theta": 9.0, "rope_parameters": PLAIN},
    "a base of null": {"rope_theta": None},
    "a base of null beside a table with one": {"rope_theta": None, "rope_parameters": PLAIN},
    "a base of null in the table": {"rope_theta": 9.0, "rope_parameters": {"rope_type": "default", "rope_theta": None}},
    "older keys of null": {"rotary_emb_base": None, "rotary_pct": None, "partial_rotary_factor": None},
    "older keys of null beside a table with both": {
        "rotary_emb_base": None, "rotary_pct": None, "partial_rotary_factor": None,
        "rope_parameters": PLAIN | {"partial_rotary_factor": 0.5},
    },
    "both tables, linear by hand": {"rope_parameters": PLAIN, "rope_scaling": LINEAR},
    "both tables, yarn by hand": {"rope_parameters": PLAIN, "rope_scaling": YARN},
    "both tables and a base beside": {"rope_theta": 9.0, "rope_parameters": PLAIN, "rope_scaling": YARN},
    "both tables, none by hand": {"rope_parameters": PLAIN | LINEAR, "rope_scaling": {"rope_type": "default"}},
    "an empty table by hand": {"rope_parameters": PLAIN | LINEAR, "rope_scaling": {}},
    "null by hand": {"rope_parameters": PLAIN | LINEAR, "rope_scaling": None},
    "the older type": {"rope_theta": 50.0, "rope_scaling": {"type": "linear", "factor": 4.0}},
    "both types": {"rope_scaling": LINEAR | {"type": "yarn"}},
    "yarn without its original": {"rope_theta": 50.0, "rope_scaling": {"type": "yarn", "factor": 4.0}},
    "yarn with its original beside": {"rope_scaling": YARN, "original_max_position_embeddings": 8},
    "yarn by the two contexts": {"rope_theta": 50.0, "rope_scaling": YARN | {"factor": None}},
    "yarn without a factor": {"rope_scaling": {"type": "yarn", "original_max_position_embeddings": 16}},
    "yarn with an amplitude": {"rope_scaling": YARN | {"attention_factor": 1.5}},
    "yarn with an amplitude of null": {"rope_scaling": YARN | {"attention_factor": None}},
    "yarn with two scales": {"rope_scaling": YARN | {"mscale": 0.7, "mscale_all_dim": 1.3}},
    "yarn with one scale": {"rope_scaling": YARN | {"mscale": 0.7, "mscale_all_dim": 0}},
    "yarn with a ramp of its own": {"rope_theta": 50.0, "rope_scaling": YARN | {"beta_fast": 4, "beta_slow": 0.5}},
    "yarn with a ramp of nothing": {"rope_theta": 50.0, "rope_scaling": YARN | {"beta_fast": 0, "beta_slow": None}},
    "yarn with an unrounded ramp": {"rope_theta": 50.0, "rope_scaling": YARN | {"truncate": False}},
    "llama3 without its original": {"rope_theta": 50.0, "rope_scaling": LLAMA3},
    "llama3": {"rope_theta": 50.0, "rope_scaling": LLAMA3 | {"original_max_position_embeddings": 24}},
    "dynamic": {"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}},
    "longrope": {"rope_scaling": LONG | {"original_max_position_embeddings": 16}},
    "longrope without its original": {"rope_scaling": LONG},
    "longrope with its original beside": {"rope_scaling": LONG, "original_max_position_embeddings": 16},
    "longrope by a factor": {"rope_scaling": LONG | {"factor": 8.0, "original_max_position_embeddings": 16}},
    "a share in the table": {"rope_parameters": PLAIN | {"partial_rotary_factor": 0.5}},
    "a share beside": {"partial_rotary_factor": 0.5},
    "a share beside linear scaling": {"rope_scaling": LINEAR | {"partial_rotary_factor": 0.5}},
    "a share of one": {"rope_scaling": LINEAR | {"partial_rotary_factor": 1.0}},
    "no type": {"rope_scaling": {"factor": 4.0}},
    "a type of null": {"rope_scaling": {"rope_type": None, "factor": 4.0}},
}  # fmt: skip

FAR, NEAR = "full_attention", "sliding_attention"
TABLES = {FAR: {"rope_type": "default", "rope_theta": 900.0}, NEAR: {"rope_type": "default", "rope_theta": 9.0}}
PER_KIND: dict[str, Keys] = {
    "nothing stated": {},
    "two bases beside": {"rope_theta": 900.0, "rope_local_base_freq": 9.0},
    "two tables": {"rope_parameters": TABLES, "rope_theta": 5.0, "rope_local_base_freq": 6.0},
    "two bases of null beside two tables": {
        "rope_parameters": TABLES, "rope_theta": None, "rope_local_base_freq": None,
    },
    "a pattern of null": {"sliding_window_pattern": None},
    "a pattern of null beside the names": {"sliding_window_pattern": None, "layer_types": [FAR, NEAR]},
    "a table of far layers alone": {"rope_parameters": {FAR: TABLES[FAR] | LINEAR}, "rope_local_base_freq": 6.0},
    "a table of near layers alone": {"rope_parameters": {NEAR: TABLES[NEAR]}, "rope_theta": 5.0},
    "tables that scale both": {"rope_parameters": {FAR: YARN, NEAR: LINEAR}},
    "flat keys in the new table": {"rope_parameters": LINEAR | {"rope_theta": 5.0}},
    "a scaling by hand": {"rope_theta": 900.0, "rope_scaling": LINEAR},
    "a scaling by hand, of the older type": {"rope_scaling": {"type": "linear", "factor": 4.0}},
    "a scaling by hand beside the tables": {"rope_parameters": TABLES, "rope_scaling": YARN},
    "yarn without its original": {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
    "yarn with its original beside": {"rope_scaling": YARN, "original_max_position_embeddings": 8},
    "yarn, unrounded in the table": {"rope_theta": 50.0, "rope_scaling": YARN | {"truncate": False}},
    "yarn, unrounded beside the tables": {"rope_parameters": {FAR: YARN, NEAR: {}, "truncate": False}},
    "a share in the table": {"rope_parameters": {FAR: TABLES[FAR] | {"partial_rotary_factor": 0.5}}},
    "a share beside": {"partial_rotary_factor": 0.5},
}  # fmt: skip

FAMILIES_OF: dict[str, tuple[dict[str, Keys], Keys]] = {
    "llama": (FLAT, {"head_dim": 4}),
    "phi": (FLAT, {"partial_rotary_factor": 0.25}),
    "gpt_neox": (FLAT, {}),
    "phi3": (
        FLAT | {
            "its original beside": {"original_max_position_embeddings": 16, "rope_scaling": LONG},
            "called yarn": {"original_max_position_embeddings": 16, "rope_scaling": LONG | {"rope_type": "yarn"}},
        },
        {"partial_rotary_factor": 0.25},
    ),
    "olmo3": (PER_KIND, {"head_dim": 16, "sliding_window": 5, "layer_types": [NEAR, FAR]}),
    "hunyuan_v1_dense": (
        FLAT | {
            "an alpha": {"rope_scaling": {"rope_type": "dynamic", "alpha": 50.0, "factor": 1.0}, "rope_theta": 50.0},
            "an alpha, of the older type": {"rope_scaling": {"type": "dynamic", "alpha": 50.0, "factor": 1.0}},
            "an alpha without a factor": {"rope_scaling": {"rope_type": "dynamic", "alpha": 50.0}},
            "an alpha of nothing": {"rope_scaling": {"rope_type": "dynamic", "alpha": 0, "factor": 2.0}},
            "an alpha of another type": {"rope_scaling": LINEAR | {"alpha": 50.0}},
        },
        {"head_dim": 4},
    ),
    "ministral3": (
        FLAT | {
            "a scaling of queries by hand": {"rope_scaling": YARN | {"llama_4_scaling_beta": 0.7}},
            "a scaling of queries by the context beside": {
                "rope_scaling": YARN | {"llama_4_scaling_beta": 0.7}, "original_max_position_embeddings": 4,
            },
            "a scaling of queries by the whole context": {
                "rope_theta": 50.0, "max_position_embeddings": 5,
                "rope_scaling": {"type": "yarn", "factor": 4.0, "llama_4_scaling_beta": 0.7},
            },
            "a scaling of queries of 0": {"rope_scaling": YARN | {"llama_4_scaling_beta": 0}},
            "a scaling of queries without angles of its own": {
                "rope_parameters": PLAIN | {"llama_4_scaling_beta": 0.7, "original_max_position_embeddings": 6},
            },
            "a scaling of queries without a context": {"rope_parameters": PLAIN | {"llama_4_scaling_beta": 0.7}},
        },
        {"head_dim": 4},
    ),
    "gpt_oss": (
        FLAT | {
            "an empty table": {"rope_parameters": {}},
            "an empty table beside an empty one by hand": {"rope_parameters": {}, "rope_scaling": {}},
            "a base beside an empty table by hand": {"rope_theta": 50.0, "rope_scaling": {}},
            # with four features a share leaves one angle, which transformers uses for all
            "a share beside": {"partial_rotary_factor": 0.5, "head_dim": 8},
            "a share beside linear scaling": {"rope_scaling": LINEAR | {"partial_rotary_factor": 0.5}, "head_dim": 8},
        },
        {"head_dim": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 5},
    ),
    "gemma3_text": (PER_KIND, {"head_dim": 16, "sliding_window": 5, "sliding_window_pattern": 2}),
}  # fmt: skip
"""One family for each way of reading, with what makes four features of a head turn."""

CASES = [(name, case) for name, (cases, _) in FAMILIES_OF.items() for case in cases]


@pytest.mark.parametrize(("name", "case"), CASES, ids=[f"{name}: {case}" for name, case in CASES])
def test_every_spelling_of_rotary_positions_is_read_as_transformers_reads_it(name: str, case: str) -> None:
    cases, own = FAMILIES_OF[name]
    keys = TINY | own | cases[case]
    try:
        theirs = run_of(read_by_transformers(name, keys))
    except Exception:  # there are many kinds
        with pytest.raises(SpecError):
            read_by_edge(name, keys)
        return
    difference = theirs.difference(name, read_by_edge(name, keys))
    assert difference < 2e-4, f"leaves transformers by {difference:.2g}"


def test_the_context_under_yarn_is_the_scaled_one() -> None:
    """Whether the config states the context before scaling or after it."""
    for stated, original, scaled in ((32, 32, 128), (128, 32, 128), (200, 32, 200), (32, None, 128)):
        table = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": original}
        keys = TINY | {"max_position_embeddings": stated}
        keys["rope_scaling"] = {key: value for key, value in table.items() if value is not None}
        spec, _ = read_by_edge("llama", keys)
        assert spec.context == scaled, f"{stated} stated and {original} before scaling give {spec.context}"


def test_a_text_past_the_original_context_of_yarn_is_read_as_transformers_reads_it() -> None:
    ids = (IDS * 4)[:50]
    keys = TINY | {"max_position_embeddings": 16, "rope_scaling": YARN}
    difference = run_of(read_by_transformers("llama", keys), ids).difference("llama", read_by_edge("llama", keys))
    assert difference < 2e-4, f"leaves transformers by {difference:.2g}"


def test_a_scaling_by_hand_counts_alone() -> None:
    """The base in the other table is lost too, as it is in transformers."""
    spec, _ = read_by_edge("llama", TINY | {"rope_parameters": PLAIN, "rope_scaling": YARN})
    position = spec.layers[0].attention.position
    assert isinstance(position, Rotary) and isinstance(position.scaling, YarnScaling) and position.base == 10_000.0


def test_windows_of_gemma3_keep_their_own_angles() -> None:
    spec, _ = read_by_edge("gemma3_text", TINY | {"head_dim": 16, "sliding_window_pattern": 2, "rope_scaling": LINEAR})
    near, far = (attention.position for attention in spec.attentions)
    assert isinstance(near, Rotary) and isinstance(far, Rotary)
    assert near.scaling == NoScaling() != far.scaling


def test_every_rotary_family_starts_from_the_base_of_its_class() -> None:
    for name, family in FAMILIES.items():
        if "rope_theta" in family.defaults and "rope_parameters" in defaults_of(name):
            spelled = read_by_transformers(name, {}).rope_parameters
            theirs = spelled.get(FAR, spelled)["rope_theta"]
            positions = [one.position for one in read_by_edge(name, {})[0].attentions]
            ours = {position.base for position in positions if isinstance(position, Rotary)}
            assert theirs in ours, f"{name} turns by {theirs} where nothing is stated, not by {ours}"


def test_phi3_may_call_longrope_su() -> None:
    """As its first files do, which transformers no longer reads."""
    beside = TINY | {"original_max_position_embeddings": 16, "partial_rotary_factor": 0.25}
    first = read_by_edge("phi3", beside | {"rope_scaling": {**LONG, "rope_type": "su"}})
    assert first == read_by_edge("phi3", beside | {"rope_scaling": LONG})
