"""What a checked law reports: its worst number where it passes; where it fails, by how much and where."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edge.compare.result import Comparison
from edge.laws.case import LONGEST, Case
from edge.laws.registry import LAWS, Law, law_5
from edge.laws.run_laws import law_2, law_6, law_7, law_8
from edge.laws.trace_laws import law_1, law_3, law_4
from edge.readout import open_readout
from edge.session import Model
from edge.trace import Trace
from edge.watch import Watch
from tests.edge.compare.in_process import DEEP, checkpoint_of, compared
from tests.edge.laws.assertions import CLOSE, PROMPT, tiny_model

NAME = "neox-full-rotary-relu"


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with tiny_model(NAME, "torch") as opened:
        yield opened


@pytest.fixture(scope="module")
def trace(model: Model) -> Trace:
    return model.run(ids=PROMPT, max_new_tokens=0, watch=Watch.all())


def moved(trace: Trace, site: str, token: int, by: float) -> Trace:
    """The trace of an engine that is wrong at one place."""
    value = trace.site(site).copy()
    value[token].flat[0] += by
    return replace(trace, sites=trace.sites | {site: value})


def test_every_law_of_the_design_can_be_checked() -> None:
    assert [law.number for law in LAWS] == list(range(1, 9))
    assert [law.number for law in LAWS if law.check is None] == [5], "only the law of engines needs another engine"


@pytest.mark.parametrize("law", [law for law in LAWS if law.check], ids=lambda law: law.number)
def test_a_law_that_passes_reports_its_worst_number(model: Model, law: Law) -> None:
    assert law.check is not None
    found = law.check(Case(model, PROMPT))
    assert (found.number, found.statement, found.passed) == (law.number, law.statement, True), found
    assert 0 <= found.worst <= found.tolerance and found.where and found.tokens >= len(PROMPT)


def test_a_map_that_the_engine_did_not_use_is_named(model: Model, trace: Trace) -> None:
    found = law_1(moved(trace, "layers.1.attn.output", 4, 9.0), model.checkpoint, CLOSE)
    assert found.passed is False and found.worst > 0.1
    assert found.where == "layers.1.attn.output, token 4 '<26>'"


def test_the_first_place_is_named_though_another_is_worse(model: Model, trace: Trace) -> None:
    wrong = moved(moved(trace, "layers.0.output", 3, 0.1), "layers.1.output", 0, 50.0)
    found = law_3(wrong, model.checkpoint, CLOSE)
    assert found.passed is False and found.where == "layers.0.output, token 3 '<59>'"
    assert found.worst > 0.5, "the worst number is of all places"


def test_a_logit_that_no_sublayer_made_is_named(model: Model, trace: Trace) -> None:
    found = law_4(moved(trace, "logits", 5, 3.0), open_readout(model.checkpoint), CLOSE, [(0, None)])
    assert found.passed is False and found.where == "logit of id 0 minus the mean of all logits, token 5 '<5>'"


def test_what_is_no_number_breaks_a_law(model: Model, trace: Trace) -> None:
    found = law_3(moved(trace, "layers.1.output", 2, math.nan), model.checkpoint, CLOSE)
    assert found.passed is False and math.isnan(found.worst)
    assert found.where == "layers.1.output, token 2 '<41>'"


def test_a_watched_run_that_chooses_otherwise_is_named(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    right = model.run

    def run(watch: Watch, **keywords: Any) -> Trace:
        made = right(watch=watch, **keywords)
        return replace(made, tokens=(*made.tokens[:-1], 1)) if watch.parts != () else made

    monkeypatch.setattr(model, "run", run)
    found = law_2(Case(model, PROMPT))
    assert found.passed is False and found.worst == math.inf and found.where.startswith("generated token 5: ")


def test_a_cache_that_loses_something_is_named(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    right = model.logits
    monkeypatch.setattr(model, "logits", lambda ids: right(ids) + np.eye(1, 128, 7, dtype=np.float32))
    found = law_8(Case(model, PROMPT))
    assert found.passed is False and found.where.startswith("logits with the cache, token 0")


def test_attention_that_does_not_notice_an_order_breaks_law_6(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    right = model.run

    def run(**keywords: Any) -> Trace:
        made = right(**keywords)
        return replace(made, sites={name: np.ones_like(value) for name, value in made.sites.items()})

    monkeypatch.setattr(model, "run", run)
    found = law_6(Case(model, PROMPT))
    assert found.passed is False and found.where.startswith("attention of layer 0 did not depend on the order")


def test_one_token_has_no_other_order(model: Model) -> None:
    found = law_6(Case(model, PROMPT[:1]))
    assert found.passed is None and math.isnan(found.worst) and "run a longer prompt" in found.where


def test_a_sublayer_that_was_not_timed_breaks_law_7(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    timing = model.time_sublayers(PROMPT, repeats=2)
    assert timing is not None
    some = {scope: took for scope, took in timing.measured_ns.items() if scope != "layers.1.ffn"}
    monkeypatch.setattr(model, "time_sublayers", lambda ids, **_: replace(timing, measured_ns=some))
    found = law_7(Case(model, PROMPT))
    assert found.passed is False and found.where.startswith("prefill: layers.1.ffn was not timed")


def test_a_law_ends_where_its_listener_raises(model: Model) -> None:
    class Enough(Exception):
        pass

    def progress(word: str) -> None:
        raise Enough

    with pytest.raises(Enough):
        LAWS[0].check(Case(model, PROMPT, progress))  # type: ignore[misc]


def test_a_long_text_is_cut(model: Model) -> None:
    context = model.spec.context
    assert len(Case(model, [1] * (context + 500)).ids) == min(LONGEST, context)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    broken = checkpoint_of(DEEP, "layers.3.ffn.down.weight", by=3.0)
    return compared([(checkpoint_of(DEEP), "torch"), (checkpoint_of(DEEP), "onnx"), (broken, "onnx")])


def test_law_5_is_of_a_comparison(comparison: Comparison) -> None:
    found = law_5(comparison)
    assert found.passed is False and found.worst > found.tolerance
    assert found.where.startswith("onnx differs from torch at layers.3.ffn.output, token ")
    alike = law_5(replace(comparison, variants=comparison.variants[:1]))
    assert alike.passed is True and alike.worst <= alike.tolerance == CLOSE and " at layers." in alike.where


def test_law_5_does_not_judge_other_weights() -> None:
    """A tolerance wide enough for quantization would call two models equal whose next tokens differ."""
    healthy = checkpoint_of(DEEP)
    found = law_5(compared([(healthy, "torch"), (healthy, "torch:int4")]))
    assert found.passed is None and math.isnan(found.worst)
    assert "torch:int4 has other weights than torch, top-1 agreement" in found.where
    beside = law_5(compared([(healthy, "torch"), (healthy, "onnx"), (healthy, "torch:int4")]))
    assert beside.passed is True and "onnx at " in beside.where and "not checked: torch:int4" in beside.where
    quantized = law_5(compared([(healthy, "torch:int4"), (healthy, "mlx:int4")]))
    assert quantized.passed is True, "the same codes are the same model"
