"""A round measures what it says, on every engine, and leaves the engine as it was."""

import numpy as np
import pytest

from edge.profile.rounds import Workload, example_ids, run_round
from edge.session import Model
from edge.watch import Watch
from models.errors import MisuseError
from tests.edge.laws.test_every_engine import tiny_model
from tests.tiny import TINY_SPECS

ENGINES = ("torch", "onnx", "mlx")
NAME = "llama-shared-heads-tied"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("depth", [0, 5])
def test_a_round_keeps_every_interval(engine: str, depth: int) -> None:
    with tiny_model(NAME, engine) as model:
        ids = example_ids(model.spec, 20)
        for _ in range(2):
            found = run_round(model, ids, Workload(depth, prompt=4, tokens=6))
            assert len(found.inter_token_ms) == 6 and found.prefill_ms > 0
            assert all(wait > 0 for wait in found.inter_token_ms)
            assert model.with_engine(lambda opened: opened.fed) == depth, "the cache is not at its depth again"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_round_leaves_no_trace_in_the_cache(engine: str) -> None:
    """The tokens before its depth are still those that were fed."""
    with tiny_model(NAME, engine) as model:
        ids = example_ids(model.spec, 20)
        run_round(model, ids, Workload(5, prompt=4, tokens=6))
        after = model.with_engine(lambda opened: opened.feed(np.array(ids[5:6]), Watch.nothing()).logits[-1])
        assert np.allclose(after, model.logits(ids[:6])[-1], rtol=0, atol=1e-4)


@pytest.mark.parametrize("workload", [Workload(-1, 4, 4), Workload(0, 0, 4), Workload(0, 4, 0), Workload(10, 9_999, 4)])
def test_what_the_context_does_not_hold_is_refused(workload: Workload) -> None:
    with tiny_model(NAME, "torch") as model, pytest.raises(MisuseError, match="round"):
        run_round(model, example_ids(model.spec, 20), workload)


def test_example_ids_are_in_the_vocabulary_and_not_one_token() -> None:
    for spec in TINY_SPECS.values():
        ids = example_ids(spec, 50)
        assert len(set(ids)) > 5 and all(0 <= id < spec.vocab_size for id in ids)


def test_work_on_the_engine_runs_on_its_thread() -> None:
    from threading import get_ident

    with tiny_model(NAME, "torch") as model:
        assert isinstance(model, Model)
        assert model.with_engine(lambda _: get_ident()) != get_ident()
