"""What a comparison must find: nothing between equals, a planted fault where it is, and nothing lost on the way."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import edge.compare.sites
from edge.compare.result import Comparison, from_json, to_json
from edge.compare.sites import first_divergent_site, trace_errors, watches
from edge.compare.tokenized_text import TokenizedText
from edge.compare.tolerances import TOLERANCES
from edge.session import Model
from edge.trace import Trace
from edge.watch import Watch
from models.errors import EdgeError
from models.sites import parts_of
from models.spec import DecoderSpec, MoE
from tests.edge.compare.in_process import DEEP, IDS, checkpoint_of, compared
from tests.tiny import TINY_SPECS

ENGINES = ("torch", "onnx", "mlx")


@pytest.fixture(scope="module")
def faulty() -> Comparison:
    """A healthy model in torch beside itself in ONNX, and beside one with a fault in layer 3 in ONNX and in MLX."""
    broken = checkpoint_of(DEEP, "layers.3.ffn.down.weight", by=3.0)
    return compared([(checkpoint_of(DEEP), "torch"), (checkpoint_of(DEEP), "onnx"), (broken, "onnx"), (broken, "mlx")])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_variant_beside_itself_differs_in_nothing(engine: str) -> None:
    found = compared([(checkpoint_of(DEEP), engine)] * 2).variants[0]
    same = found.predictions
    assert same.kl_max_nats == same.max_logit_difference == 0, f"{engine} has other logits than itself"
    assert same.top1_agreement == 1 and same.flips == same.near_tie_flips == 0
    assert same.perplexity_difference.value == same.perplexity_difference.error == 0
    assert found.first_divergent_site is None and set(found.sites.values()) == {0.0}, f"{engine} leaves itself"
    assert found.first_divergent_token is None, f"{engine} chooses other tokens than itself"
    assert all(row is not None and max(row) < 1e-12 for row in found.heads), f"{engine} looks elsewhere than itself"


@pytest.mark.parametrize("engine", ["onnx", "mlx"])
def test_engines_stay_within_the_tolerance_of_float32(engine: str) -> None:
    found = compared([(checkpoint_of(DEEP), "torch"), (checkpoint_of(DEEP), engine)]).variants[0]
    assert found.tolerance == TOLERANCES["fp32"]
    assert found.first_divergent_site is None, f"{engine} leaves torch at {found.first_divergent_site}"
    assert len(found.sites) == DEEP.n_layers * len(parts_of(DEEP)) + 1, "a site was left out"
    assert found.predictions.kl_max_nats < 1e-9 and found.predictions.top1_agreement == 1


def seen(spec: DecoderSpec, perturbed: str | None = None, engine: str = "torch") -> Trace:
    with Model(checkpoint_of(spec, perturbed), engine, None, lambda _: None) as model:
        return model.run(ids=list(IDS), max_new_tokens=0, watch=Watch.all())


@pytest.fixture(scope="module")
def healthy() -> Trace:
    return seen(DEEP)


@pytest.mark.parametrize(("parameter", "site"), [("up", "neurons"), ("down", "output")])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_planted_fault_is_named(engine: str, parameter: str, site: str, healthy: Trace) -> None:
    """One weight of layer 3's FFN is off in one engine's copy: that is where the two part first."""
    errors = trace_errors(seen(DEEP, f"layers.3.ffn.{parameter}.weight", engine), healthy)
    at = first_divergent_site(errors, TOLERANCES["fp32"], healthy.pieces)
    assert at is not None, f"a fault in {engine}'s {parameter} matrix was not found"
    assert (at.site, at.layer) == (f"layers.3.ffn.{site}", 3), f"the fault is named {at}"
    assert at.relative_error == errors[at.site].max() > TOLERANCES["fp32"] and at.piece == f"<{IDS[at.token]}>"
    before = list(errors)[: list(errors).index(at.site)]
    assert len(before) >= 3 * len(parts_of(DEEP)) + 5 and all(
        errors[name].max() <= TOLERANCES["fp32"] for name in before
    )
    assert errors["logits"].max() > TOLERANCES["fp32"], "the fault did not reach the logits"


@pytest.mark.parametrize("name", TINY_SPECS)
def test_a_fault_is_named_in_every_kind_of_decoder(name: str) -> None:
    spec = TINY_SPECS[name]
    sound, last = seen(spec), spec.n_layers - 1
    down = "ffn.experts.down" if isinstance(spec.layers[last].ffn, MoE) else "ffn.down"
    for parameter, site in (("attn.value", "attn.value"), ("attn.out", "attn.output"), (down, "ffn.output")):
        errors = trace_errors(seen(spec, f"layers.{last}.{parameter}.weight"), sound)
        at = first_divergent_site(errors, TOLERANCES["fp32"], sound.pieces)
        assert at is not None and at.site == f"layers.{last}.{site}", f"a fault in {parameter} is named {at}"


def test_a_fault_shows_in_every_number(faulty: Comparison) -> None:
    healthy, in_onnx, in_mlx = faulty.variants
    assert healthy.first_divergent_site is None and healthy.first_divergent_token is None
    for found in (in_onnx, in_mlx):
        assert found.first_divergent_site is not None and found.first_divergent_site.site == "layers.3.ffn.output"
        assert found.predictions.kl_mean_nats > 1e-4 > healthy.predictions.kl_mean_nats
        heads = [row for row in found.heads if row is not None]
        assert len(heads) == 5 and max(heads[3]) < 1e-9 < max(heads[4]), "heads differ only after the fault"
        assert found.sparsity["exact_zero_share"][:4] == pytest.approx(
            faulty.reference.sparsity["exact_zero_share"][:4], abs=1e-3
        )
    assert in_onnx.predictions.kl_mean_nats == pytest.approx(in_mlx.predictions.kl_mean_nats, rel=1e-3)


def test_the_worst_of_a_layer_is_of_its_own_sites(faulty: Comparison) -> None:
    one = faulty.variants[1]
    by_layer = [one.worst_of_layer(layer) for layer in range(6)]
    largest = max(by_layer[:5])
    assert largest == max(error for site, error in one.sites.items() if site != "logits")
    assert math.isnan(by_layer[5]), "a layer that is not there has an error"
    lost = replace(one, sites=one.sites | {"layers.1.output": math.nan})
    assert lost.worst_of_layer(1) == math.inf, "a site that is no number is not beyond every tolerance"


def test_a_comparison_survives_json(faulty: Comparison) -> None:
    text = json.dumps(to_json(faulty), allow_nan=False)
    record = json.loads(text)
    assert from_json(record) == faulty, "something was lost in JSON"
    assert list(record) == ["format", "kind", "reference", "variants", "text", "tolerance"]
    assert record["variants"][1]["first_divergent_site"]["site"] == "layers.3.ffn.output"
    speed = record["reference"]["speed"]
    kept = [interval for one in speed["rounds"] for interval in one["inter_token_ms"]]
    assert speed["decode_ms"] == np.median(kept) and speed["decode_p90_ms"] == pytest.approx(np.quantile(kept, 0.9))


def test_what_is_no_number_survives_json(faulty: Comparison) -> None:
    one = faulty.variants[1]
    overflown = replace(
        one, sites=one.sites | {"logits": float("nan")}, predictions=replace(one.predictions, kl_max_nats=np.inf)
    )
    record = to_json(replace(faulty, variants=(overflown,)))
    assert (
        record["variants"][0]["sites"]["logits"] is None and record["variants"][0]["predictions"]["kl_max_nats"] is None
    )
    again = from_json(json.loads(json.dumps(record, allow_nan=False)))
    assert to_json(again) == record and again.variants[0].worst_site == "logits"


@pytest.mark.parametrize(
    ("change", "message"),
    [({"kind": "profile"}, "write it again"), ({"format": 2}, "write it again"), ({"text": {}}, "damaged")],
)
def test_other_json_is_refused(faulty: Comparison, change: dict[str, object], message: str) -> None:
    with pytest.raises(EdgeError, match=message):
        from_json(to_json(faulty) | change)


def test_blocks_of_layers_change_nothing(faulty: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge.compare.sites, "BLOCK_BYTES", 1)
    assert [watch.layers for watch in watches(DEEP, len(IDS))] == [(0,), (1,), (2,), (3,), (4,)]
    broken = checkpoint_of(DEEP, "layers.3.ffn.down.weight", by=3.0)
    found = compared([(checkpoint_of(DEEP), "torch"), (broken, "onnx")]).variants[0]
    assert list(found.sites) == list(faulty.variants[1].sites), "sites come in another order"
    assert found.sites == pytest.approx(faulty.variants[1].sites, rel=1e-2, abs=1e-6)
    assert found.first_divergent_site is not None and found.first_divergent_site.site == "layers.3.ffn.output"


def test_models_of_other_sizes_are_compared_where_shapes_are_equal() -> None:
    wide = replace(DEEP.layers[0], ffn=replace(DEEP.layers[0].ffn, d_ff=96))
    other = replace(DEEP, layers=(DEEP.layers[0], wide, DEEP.layers[0]))
    shallow, deep = (checkpoint_of(other), "torch"), (checkpoint_of(DEEP), "torch")
    found = compared([deep, shallow]).variants[0]
    assert "layers.0.ffn.neurons" in found.sites and "layers.1.ffn.neurons" not in found.sites
    assert not any(site.startswith("layers.3") for site in found.sites)
    assert found.heads[2] is not None and found.heads[3:] == (None, None) and len(found.sparsity["top_p_sparsity"]) == 3
    turned = compared([shallow, deep]).variants[0]
    assert turned.sites.keys() == found.sites.keys() and len(turned.sparsity["top_p_sparsity"]) == 5
    assert turned.first_divergent_site is not None and turned.first_divergent_site.site == "layers.1.ffn.output"


def test_nothing_recorded_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    compared([(checkpoint_of(DEEP), "torch")] * 2, TokenizedText("ids", IDS[:4]))
    assert not list(tmp_path.iterdir()), "recordings stay on disk"
