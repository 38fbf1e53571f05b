"""Each family, as `transformers` writes it, gives the logits that `transformers` gives, on every engine."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import edge
from edge.readout import open_readout
from models.checkpoint import open_checkpoint
from models.errors import CheckpointError, SpecError
from models.families.registry import FAMILIES
from models.parameters import parameter_count
from models.spec import Full, LinearScaling, Llama3Scaling, Rotary, Sliding
from tests.edge.laws.assertions import check_law_1, check_law_4, check_law_6
from tests.reference import REFERENCES, reference_logits, write_reference

IDS = [3, 1, 41, 59, 26, 5, 35, 89, 79, 32, 38, 46, 26, 43]


def _exported() -> set[str]:
    """The last config of each family, and the first if it has experts: the export takes longer than all else here."""
    by_family: dict[str, list[str]] = {}
    for name, make in REFERENCES.items():
        by_family.setdefault(make().model_type, []).append(name)
    last = {names[-1] for names in by_family.values()}
    return last | {names[0] for names in by_family.values() if hasattr(REFERENCES[names[0]](), "num_experts_per_tok")}


_ON_ENGINES = [
    (name, engine)
    for exported in [_exported()]
    for name in REFERENCES
    for engine in ("torch", "onnx", "mlx")
    if engine != "onnx" or name in exported
]


@pytest.mark.parametrize(("name", "engine"), _ON_ENGINES)
def test_logits_agree_with_transformers(
    name: str, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read at once, in chunks, and token by token; and laws 1, 4 and 6 hold."""
    want = reference_logits(write_reference(REFERENCES[name](), tmp_path), IDS)
    with edge.load(tmp_path, engine=engine) as model:
        got = {"at once": model.logits(IDS)}
        monkeypatch.setattr("edge.generate.CHUNK", 5)
        got["in chunks"] = model.logits(IDS)
        monkeypatch.setattr("edge.generate.CHUNK", 1)
        got["token by token"] = model.logits(IDS)
        monkeypatch.undo()
        trace = model.run(ids=IDS, max_new_tokens=0, watch=edge.Watch.all())
        check_law_1(trace, model.checkpoint)
        if not any(layer.norms_sum for layer in model.spec.layers):
            check_law_4(trace, open_readout(model.checkpoint))
        check_law_6(model, IDS)
    for way, logits in got.items():
        worst = float(np.abs(logits - want).max())
        assert worst < 2e-4, f"{name} on {engine}, {way}, leaves transformers by {worst:.2g}"


def test_every_family_is_held_against_three_configs() -> None:
    counted = Counter(REFERENCES[name]().model_type for name in REFERENCES)
    assert set(counted) == set(FAMILIES), f"families without a reference: {set(FAMILIES) - set(counted)}"
    assert min(counted.values()) >= 3, f"too few configs: {counted}"


def test_shards_read_like_one_file(tmp_path: Path) -> None:
    config = REFERENCES["llama-grouped-tied"]()
    want = reference_logits(write_reference(config, tmp_path, max_shard_size="20KB"), IDS)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1, "the reference was not sharded, so this shows nothing"
    with edge.load(tmp_path, engine="torch") as model:
        assert np.abs(model.logits(IDS) - want).max() < 2e-4, "a sharded checkpoint gives other logits"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_checkpoints_are_read(dtype: str, tmp_path: Path) -> None:
    import torch

    model = write_reference(REFERENCES["gpt2-tied"](), tmp_path).to(getattr(torch, dtype))
    model.save_pretrained(tmp_path)
    want = reference_logits(model.float(), IDS)
    with edge.load(tmp_path, engine="torch") as loaded:
        worst = float(np.abs(loaded.logits(IDS) - want).max())
    assert worst < 2e-4, f"weights stored as {dtype} give logits off by {worst:.2g}"


def test_folding_multipliers_rounds_nothing(tmp_path: Path) -> None:
    """Half-precision weights are multiplied in float32; their size on disk is reported as it is."""
    import torch

    model = write_reference(REFERENCES["granite-multipliers-tied"](), tmp_path).to(torch.bfloat16)
    model.save_pretrained(tmp_path)
    want = reference_logits(model.float(), IDS)
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.stored_bytes == 2 * parameter_count(checkpoint.spec)
    with edge.load(tmp_path, engine="torch") as loaded:
        worst = float(np.abs(loaded.logits(IDS) - want).max())
    assert worst < 2e-4, f"folded multipliers give logits off by {worst:.2g}"


def test_older_gemma3_configs_state_two_flat_bases(tmp_path: Path) -> None:
    folder = _rewritten(
        tmp_path, "gemma3-two-bases", rope_parameters=None, layer_types=None, sliding_window_pattern=2,
        rope_theta=5e5, rope_local_base_freq=2e3, rope_scaling={"rope_type": "linear", "factor": 8.0},
    )  # fmt: skip
    near, far = (open_checkpoint(folder).spec.layers[layer].attention for layer in (0, 1))
    assert near.position == Rotary(base=2e3, features=16) and near.window == Sliding(4)
    assert far.position == Rotary(base=5e5, features=16, scaling=LinearScaling(8.0)) and far.window == Full()


def test_checkpoint_of_the_bare_decoder_is_read(tmp_path: Path) -> None:
    """OpenAI's own GPT-2 files leave `transformer.` off every name."""
    model = write_reference(REFERENCES["gpt2-tied"](), tmp_path)
    want = reference_logits(model, IDS)
    model.transformer.save_pretrained(tmp_path)
    with edge.load(tmp_path, engine="torch") as loaded:
        assert np.abs(loaded.logits(IDS) - want).max() < 2e-4, "names without the prefix give other logits"


def _rewritten(tmp_path: Path, name: str, **keys: object) -> Path:
    """A reference checkpoint whose config says `keys` instead; a key given as None is left out."""
    write_reference(REFERENCES[name](), tmp_path)
    file = tmp_path / "config.json"
    merged = json.loads(file.read_text()) | keys
    file.write_text(json.dumps({key: value for key, value in merged.items() if value is not None}))
    return tmp_path


def test_older_configs_state_the_rotary_base_flat(tmp_path: Path) -> None:
    folder = _rewritten(tmp_path, "llama-grouped-tied", rope_parameters=None, rope_theta=12345.0)
    position = open_checkpoint(folder).spec.layers[0].attention.position
    assert position == Rotary(base=12345.0, features=8)


def test_older_neox_configs_state_the_rotary_share_flat(tmp_path: Path) -> None:
    folder = _rewritten(
        tmp_path, "neox-partial-rotary-parallel", rope_parameters=None, rotary_pct=0.5, rotary_emb_base=77.0
    )
    assert open_checkpoint(folder).spec.layers[0].attention.position == Rotary(base=77.0, features=8)


def test_older_configs_state_a_scaling_beside_the_base(tmp_path: Path) -> None:
    scaling = {
        "type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 24,
    }  # fmt: skip
    folder = _rewritten(tmp_path, "llama-grouped-tied", rope_parameters=None, rope_theta=100.0, rope_scaling=scaling)
    want = Rotary(base=100.0, features=8, scaling=Llama3Scaling(factor=8.0, low=1.0, high=4.0, original=24))
    assert open_checkpoint(folder).spec.layers[0].attention.position == want


def test_longrope_stays_within_the_context_its_short_factors_are_for(tmp_path: Path) -> None:
    write_reference(REFERENCES["phi3-longrope"](), tmp_path)
    with edge.load(tmp_path, engine="torch") as model:
        assert model.spec.context == 32, "beyond it, keys in the cache would have turned otherwise"
        with pytest.raises(edge.EdgeError, match=r"33 tokens.*LongRoPE rotates all tokens.*by other angles"):
            model.logits([1] * 33)


@pytest.mark.parametrize(
    ("name", "keys", "expected_message"),
    [
        ("llama-grouped-tied", {"rope_parameters": {"rope_type": "ntk", "rope_theta": 1e4}}, "rope scaling 'ntk'"),
        ("llama-grouped-tied", {"rope_parameters": None, "rope_scaling": {"type": "linear"}}, "has no 'factor'"),
        (
            "qwen2-tied",
            {"layer_types": ["full_attention", "chunked"]},
            "'layer_types' is ['full_attention', 'chunked']",
        ),
        ("smollm3-layers-without-positions", {"no_rope_layers": [1]}, "'no_rope_layers' is [1]"),
        (
            "phi3-longrope",
            {"rope_parameters": {"rope_type": "longrope", "short_factor": [1.0]}},
            "1 scaling factors; 16 features need 8",
        ),
        ("llama-grouped-tied", {"hidden_act": "mish"}, "'hidden_act' is 'mish'"),
        ("llama-grouped-tied", {"hidden_size": "big"}, "'hidden_size' is 'big'"),
        ("llama-grouped-tied", {"num_key_value_heads": 3}, "cannot share 3 key/value heads"),
        ("llama-grouped-tied", {"model_type": "llamma"}, "did you mean 'llama'?"),
        ("llama-grouped-tied", {"model_type": "deepseek_v3", "n_routed_experts": 8}, "latent attention"),
        ("llama-grouped-tied", {"model_type": "phimoe", "num_local_experts": 8}, "chooses experts one after another"),
        ("llama-grouped-tied", {"num_local_experts": 8}, "requires mixture-of-experts FFNs"),
        ("llama-grouped-tied", {"model_type": "bloom"}, "requires ALiBi positions"),
        ("gemma-wide-embedding", {"use_bidirectional_attention": True}, "attention to later tokens"),
        ("gpt2-tied", {"add_cross_attention": True}, "cross-attention"),
        ("gpt2-tied", {"scale_attn_weights": False}, "scores without a scale"),
    ],
)
def test_configs_that_edge_cannot_run_are_refused_by_name(
    name: str, keys: dict[str, object], expected_message: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError) as refused:
        open_checkpoint(_rewritten(tmp_path, name, **keys))
    assert expected_message in str(refused.value)


def test_a_size_that_is_left_out_is_named_with_its_default(tmp_path: Path) -> None:
    """Transformers means 32 layers by leaving the number out; the file holds 3."""
    with pytest.raises(CheckpointError, match=r"no 'layers\.3\..*num_hidden_layers=32 by default"):
        open_checkpoint(_rewritten(tmp_path, "llama-grouped-tied", num_hidden_layers=None))
