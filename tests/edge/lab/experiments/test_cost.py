"""S3: every part is counted once, shares are of the layers, and the verdict follows from the timing."""

from collections.abc import Callable
from math import prod

import pytest

from edge.lab.context import LabContext
from edge.lab.effect import Verdict
from edge.lab.experiments.cost import (
    Split,
    active_parameters,
    measure,
    parameters,
    share_bounds,
    split,
    timed_tokens,
    work,
)
from edge.profile.work import work_of
from edge.timing import SublayerTiming
from models.parameters import parameter_count
from models.spec import MoE
from tests.edge.lab.contexts import tiny_lab, zoo_lab
from tests.tiny import TINY_SPECS

NAME = "neox-full-rotary-relu"


@pytest.mark.parametrize("name", TINY_SPECS)
def test_every_parameter_is_counted_once(name: str) -> None:
    spec = TINY_SPECS[name]
    found = parameters(spec)
    assert found.layers + found.outside == parameter_count(spec), f"{name}: some are missing or counted twice"
    assert found.ffn_share + found.attention_share == pytest.approx(1)


def test_a_layer_by_hand() -> None:
    """d_model 32, d_ff 128, biases and a LayerNorm of two vectors in each sublayer; three layers; a tied head."""
    found = parameters(TINY_SPECS[NAME])
    assert found.ffn == 3 * (2 * 32 * 128 + 128 + 32 + 2 * 32)
    assert found.attention == 3 * (4 * 32 * 32 + 4 * 32 + 2 * 32)
    assert found.outside == 128 * 32 + 2 * 32


def test_two_thirds_of_a_bundled_model_are_its_ffns() -> None:
    """8 d_model² against 4 d_model², but for biases and norms."""
    with zoo_lab(tokens=20) as lab:
        assert parameters(lab.spec).ffn_share == pytest.approx(2 / 3, abs=0.001)
        decode, prefill = (work(lab, tokens, depth, lambda w: w.flops) for tokens, depth in ((1, 0), (2, 0)))
    assert decode.ffn_share == pytest.approx(2 / 3, abs=0.001), "at depth 0 there are hardly any scores"
    assert prefill.ffn == 2 * decode.ffn, "two tokens are not twice the work of one"


@pytest.mark.parametrize("name", TINY_SPECS)
def test_all_work_is_somewhere(name: str) -> None:
    with tiny_lab(name) as lab:
        found = work(lab, 3, 5, lambda w: w.touched_bytes)
        stored = lambda _, shape: 4.0 * prod(shape)  # noqa: E731
        every = work_of(lab.spec, stored, 4, 3, 5)
    assert found.layers + found.outside == pytest.approx(sum(part.touched_bytes for part in every.values()))


def test_scopes_of_clocks_and_names_of_parameters_add_up_alike() -> None:
    found = split({"embed": 1.0, "layers.0.attn": 2.0, "layers.11.ffn": 3.0, "layers.11.ffn.up.bias": 4.0, "head": 5.0})
    assert found == Split(attention=2.0, ffn=7.0, outside=6.0)
    assert split({"layers.0.attn_sum.weight": 1.0, "layers.0.ffn_sum.bias": 3.0}).ffn_share == 0.75
    with pytest.raises(KeyError):
        split({"layers.0.cross.weight": 1.0})  # a part that is in no group must not vanish


def clocks(attention_ns: float, ffn_ns: float, total_ns: float) -> Callable[..., SublayerTiming]:
    """An engine whose passes take the given times."""

    def timing(ids: list[int], *, tokens: int, repeats: int) -> SublayerTiming:
        measured = {"embed": 5.0, "head": 5.0}
        for layer in range(3):
            measured |= {f"layers.{layer}.attn": attention_ns, f"layers.{layer}.ffn": ffn_ns}
        return SublayerTiming(
            engine="torch",
            tokens=tokens,
            depth=len(ids) - tokens,
            repeats=repeats,
            threads=1,
            method="by hand",
            total_ns=total_ns,
            measured_ns=measured,
        )

    return timing


def found_with(lab: LabContext, timing: Callable[..., SublayerTiming | None]) -> tuple[Verdict, dict[str, float], str]:
    lab.model.time_sublayers = timing  # type: ignore[method-assign]
    finding = measure(lab)
    return finding.verdict, {number.key: number.value for number in finding.numbers}, finding.summary


def test_time_is_shared_as_clocks_say() -> None:
    with tiny_lab(NAME) as lab:
        verdict, found, expected_message = found_with(lab, clocks(10.0, 30.0, 130.0))
    assert verdict is Verdict.SUPPORTED
    assert found["ffn_time_share"] == pytest.approx(0.75) and found["attention_time_share"] == pytest.approx(0.25)
    assert found["ffn_prefill_time_share"] == pytest.approx(0.75)
    assert found["coverage"] == pytest.approx(1) and found["time_ms"] == pytest.approx(130e-6)
    assert "75.0% of the time" in expected_message and "coverage 100%" in expected_message


def test_shares_stay_where_clocks_slow_a_pass_down() -> None:
    with tiny_lab(NAME) as lab:
        finding_of = found_with(lab, clocks(10.0, 30.0, 65.0))[1]
        assert finding_of["coverage"] == pytest.approx(2.0) and finding_of["ffn_time_share"] == pytest.approx(0.75)
        bars = measure(lab).curves[0].series
    assert sum(sum(series.values) for series in bars) == pytest.approx(120 / 130 * 65e-6), "bars exceed the pass"


def test_most_of_the_parameters_is_not_most_of_the_time() -> None:
    with tiny_lab(NAME) as lab:
        verdict, found, _ = found_with(lab, clocks(30.0, 10.0, 130.0))
    assert found["ffn_parameter_share"] > 0.6 and verdict is Verdict.NOT_SUPPORTED


@pytest.mark.parametrize("total_ns", [260.0, 65.0])
def test_a_share_that_timing_cannot_determine_is_inconclusive(total_ns: float) -> None:
    """Half of the pass was not timed, or timing doubled it: all of that may belong to FFNs, or to attention."""
    with tiny_lab(NAME) as lab:
        verdict, found, _ = found_with(lab, clocks(10.0, 30.0, total_ns))
    assert found["ffn_time_share"] == pytest.approx(0.75) and verdict is Verdict.INCONCLUSIVE


def test_bounds_of_a_share_by_hand() -> None:
    def bounds(attention_ns: float, ffn_ns: float, total_ns: float) -> tuple[float, float]:
        return share_bounds(clocks(attention_ns, ffn_ns, total_ns)([0], tokens=1, repeats=1))

    assert bounds(10.0, 30.0, 130.0) == pytest.approx((0.75, 0.75))
    assert bounds(10.0, 30.0, 160.0) == pytest.approx((90 / 150, 120 / 150)), "30 ns were not seen"
    assert bounds(10.0, 30.0, 110.0) == pytest.approx((70 / 100, 90 / 100)), "20 ns are of the clocks"


def test_a_stopped_timing_is_no_finding() -> None:
    with tiny_lab(NAME) as lab:
        assert found_with(lab, lambda *_, **__: None)[0] is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize("name", TINY_SPECS)
def test_timed_passes_fit_the_context(name: str) -> None:
    with tiny_lab(name, tokens=200) as lab:
        depth, tokens = timed_tokens(lab)
        assert depth + 1 <= lab.spec.context and tokens <= lab.spec.context
    with tiny_lab(name, tokens=10) as short:
        assert timed_tokens(short) == (9, 10)


def test_a_bundled_model_is_timed_on_both_kinds_of_pass() -> None:
    with zoo_lab(tokens=140) as lab:
        finding = measure(lab)
    found = {number.key: number.value for number in finding.numbers}
    for kind in ("", "prefill_"):
        assert found[f"ffn_{kind}time_share"] + found[f"attention_{kind}time_share"] == pytest.approx(1)
    assert [len(curve.x) for curve in finding.curves] == [6, 6]
    assert all(value > 0 for curve in finding.curves for series in curve.series for value in series.values)


@pytest.mark.parametrize("name", TINY_SPECS)
def test_a_token_uses_all_parameters_but_the_experts_that_it_does_not_choose(name: str) -> None:
    spec = TINY_SPECS[name]
    idle = 0
    for kind in (layer.ffn for layer in spec.layers):
        if isinstance(kind, MoE):
            stacks = [one for one in kind.parameters(spec.d_model) if one.name.startswith("experts.")]
            idle += sum(prod(one.shape) // kind.n_experts * (kind.n_experts - kind.top_k) for one in stacks)
    total, active = parameters(spec), active_parameters(spec)
    assert active.ffn == pytest.approx(total.ffn - idle)
    assert (active.attention, active.outside) == (total.attention, total.outside)
