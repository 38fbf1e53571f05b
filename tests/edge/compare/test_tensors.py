"""What quantizing each matrix costs: alone, and added one after another."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edge
from edge.compare import tensors
from edge.compare.predictions import joined, prediction_difference, score
from edge.compare.tensors import Group, groups_of, measure_tensors, price_of
from edge.compare.tokenized_text import TokenizedText, windows
from edge.session import Model
from export.quantizing import prepare_quantized
from models.checkpoint import Checkpoint, open_checkpoint
from models.errors import MisuseError
from models.precision import Scheme, Zero
from models.zoo import zoo_folder
from tests.tiny import tiny_checkpoint

TEXT = TokenizedText("ids", tuple(np.random.default_rng(0).integers(0, 500, 40).tolist()))


def quiet(_: str) -> None:
    """Progress that is not read."""


@pytest.fixture(scope="module")
def pair() -> tuple[Checkpoint, Checkpoint]:
    """A bundled model, and the same in 4 bits."""
    folder = zoo_folder("fable-relu")
    assert folder is not None
    first = open_checkpoint(folder)
    return first, prepare_quantized(first, Scheme(4, 32, Zero.WHOLE), quiet)


def _measured(first: Checkpoint, second: Checkpoint, *, by_kind: bool = True) -> tensors.TensorCosts:
    return measure_tensors(first, second, "torch", TEXT, by_kind=by_kind, threads=1, progress=quiet)


def test_the_total_of_all_groups_is_the_difference_of_the_whole_model(pair: tuple[Checkpoint, Checkpoint]) -> None:
    found = _measured(*pair)
    logits = []
    for checkpoint in pair:
        with Model(checkpoint, "torch", 1, quiet) as model:
            logits.append([model.logits(list(window.ids)) for window in windows(TEXT.ids, 512)])
    scores = [
        score(one, other, np.array(window.targets))
        for one, other, window in zip(*logits, windows(TEXT.ids, 512), strict=True)
    ]
    whole = prediction_difference(joined(scores))
    assert found.steps[-1].total.kl_mean_nats == pytest.approx(whole.kl_mean_nats, rel=1e-6)
    saved_bytes = sum(step.group.saved_bytes for step in found.steps)
    assert found.steps[-1].total_bytes == pair[0].stored_bytes - saved_bytes


def test_groups_are_in_the_order_of_their_price(pair: tuple[Checkpoint, Checkpoint]) -> None:
    prices = [step.price for step in _measured(*pair).steps]
    assert prices == sorted(prices) and prices[0] > 0


def test_the_first_group_alone_is_the_first_total(pair: tuple[Checkpoint, Checkpoint]) -> None:
    first = _measured(*pair).steps[0]
    assert first.alone == first.total


def test_an_interrupted_run_continues_where_it_was(
    pair: tuple[Checkpoint, Checkpoint], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path))
    opened: list[str] = []
    original = tensors.Model

    class Stopping(original):  # type: ignore[valid-type,misc]
        def __init__(self, *arguments: object) -> None:
            opened.append("model")
            if len(opened) == 4:
                raise KeyboardInterrupt
            super().__init__(*arguments)

    monkeypatch.setattr(tensors, "Model", Stopping)
    with pytest.raises(KeyboardInterrupt):
        _measured(*pair)
    monkeypatch.undo()
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path))
    said: list[str] = []
    measure_tensors(*pair, "torch", TEXT, by_kind=True, threads=1, progress=said.append)
    assert not any("group 1 of" in line or "group 2 of" in line for line in said), "two groups were measured before"
    assert any("group 3 of" in line for line in said)


def test_every_matrix_is_in_one_group(pair: tuple[Checkpoint, Checkpoint]) -> None:
    alone, together = (groups_of(*pair, by_kind=by_kind) for by_kind in (False, True))
    for groups in (alone, together):
        names = [name for group in groups for name in group.parameters]
        assert len(names) == len(set(names)) and set(names) == set(pair[1].quantized)
    assert len(together) < len(alone) and sum(group.saved_bytes for group in alone) == sum(
        group.saved_bytes for group in together
    )


def test_two_models_are_refused(pair: tuple[Checkpoint, Checkpoint]) -> None:
    other = tiny_checkpoint("llama-shared-heads-tied")
    with pytest.raises(MisuseError, match=r"not one model in two precisions: 'embed\.weight'"):
        groups_of(pair[0], other, by_kind=False)
    with pytest.raises(MisuseError, match="the same weights"):
        groups_of(pair[0], pair[0], by_kind=False)


@given(kl=st.floats(0, 10), saved=st.integers(-(10**6), 10**9))
@settings(max_examples=50)
def test_a_group_that_saves_nothing_comes_last(kl: float, saved: int) -> None:
    difference = _difference(kl)
    price = price_of(difference, Group("g", ("g.weight",), ("int4",), saved))
    assert (price == float("inf")) == (saved <= 0)


def _difference(kl: float) -> edge.compare.predictions.PredictionDifference:
    from edge.compare.estimate import Estimate
    from edge.compare.predictions import PredictionDifference

    return PredictionDifference(
        positions=1,
        max_logit_difference=0.0,
        kl_mean_nats=kl,
        kl_median_nats=kl,
        kl_p99_nats=kl,
        kl_max_nats=kl,
        top1_agreement=1.0,
        flips=0,
        near_tie_flips=0,
        perplexity_difference=Estimate(0.0, 0.0),
    )
