"""The laws of every engine and every kind of decoder."""

from collections.abc import Iterator

import numpy as np
import pytest

from edge.laws.case import Case
from edge.laws.run_laws import law_2, law_7, law_8
from edge.laws.trace_laws import law_3
from edge.sampling import Sampling
from edge.session import Model
from edge.trace import Trace
from edge.watch import Watch
from models.sites import sites_of
from tests.edge.laws.assertions import CLOSE, ENGINES, PROMPT, check, check_law_1, check_law_6, off_by, tiny_model
from tests.tiny import TINY_SPECS


def watched_run(model: Model, watch: Watch) -> Trace:
    return model.run(ids=PROMPT, max_new_tokens=6, watch=watch, stop_tokens=())


@pytest.fixture(params=TINY_SPECS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=ENGINES)
def model(request: pytest.FixtureRequest, name: str) -> Iterator[Model]:
    with tiny_model(name, request.param) as opened:
        yield opened


def test_law_1_the_map_on_screen_is_the_one_the_engine_used(model: Model) -> None:
    check_law_1(watched_run(model, Watch.all()), model.checkpoint)


def test_law_2_watching_changes_nothing(model: Model) -> None:
    check(law_2(Case(model, PROMPT)), model.engine)
    assert watched_run(model, Watch.nothing()).sites == {}, "a run that watches nothing recorded something"


def test_law_3_sublayers_add_up_to_the_residual_stream(model: Model) -> None:
    check(law_3(watched_run(model, Watch.all()), model.checkpoint, CLOSE), model.engine)


@pytest.mark.parametrize("engine", ["onnx", "mlx"])
def test_law_5_every_site_agrees_with_torch(name: str, engine: str) -> None:
    with tiny_model(name, "torch") as reference:
        want = watched_run(reference, Watch.all())
    with tiny_model(name, engine) as model:
        got = watched_run(model, Watch.all())
    assert got.tokens == want.tokens, f"{engine} generates other tokens than torch"
    for site in sites_of(want.spec):
        assert got.site(site).shape == want.site(site).shape, f"{engine}: {site} has another shape than in torch"
        worst = off_by(got.site(site), want.site(site))
        row = int(np.abs(got.site(site) - want.site(site)).reshape(want.n_fed, -1).max(axis=1).argmax())
        assert worst < CLOSE, f"{engine} leaves torch first at {site}, token {row}: off by {worst:.2g}"


def test_law_6_an_ffn_works_on_each_position_alone(model: Model) -> None:
    check_law_6(model, PROMPT)


def test_law_7_shares_and_gap_sum_to_the_total(model: Model) -> None:
    check(law_7(Case(model, PROMPT)), model.engine)


def test_law_8_decoding_with_the_cache_equals_the_full_pass(model: Model) -> None:
    check(law_8(Case(model, PROMPT)), model.engine)


def test_a_prompt_fed_in_chunks_equals_one_pass(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = watched_run(model, Watch.all())
    monkeypatch.setattr("edge.generate.CHUNK", 3)
    chunked = watched_run(model, Watch.all())
    for site in sites_of(model.spec):
        worst = off_by(chunked.site(site), whole.site(site))
        assert worst < CLOSE, f"{model.engine}: chunks change {site} by {worst:.2g}"


@pytest.mark.parametrize("engine", ENGINES)
def test_equal_seeds_draw_equal_tokens(engine: str) -> None:
    sampling = Sampling(temperature=0.9, top_k=40, top_p=0.95)
    with tiny_model("neox-full-rotary-relu", engine) as model:
        runs = [model.run(ids=PROMPT, max_new_tokens=12, sampling=sampling, seed=s).tokens for s in (5, 5, 6)]
    assert runs[0] == runs[1], f"{engine}: the same seed drew other tokens"
    assert runs[0] != runs[2], f"{engine}: another seed drew the same tokens"
