"""A run whose numbers stop being finite ends in one message: where that began, and what runs instead."""

from dataclasses import replace

import numpy as np
import pytest

from edge.edits import Noise, ScaleHead, ScaleNeuron
from edge.finite_checks import LARGEST_HALF
from edge.sampling import Sampling
from edge.session import Model
from edge.watch import Watch
from models.errors import EdgeError, MisuseError
from tests.tiny import TINY_SPECS, FakeCheckpoint, tiny_weights

SPEC = TINY_SPECS["neox-full-rotary-relu"]
IDS = [3, 1, 4, 1, 5, 9, 2, 6]


def wide() -> dict[str, np.ndarray]:
    """Weights that float16 holds; what layer 1 adds with them it does not."""
    weights = tiny_weights(SPEC, 0)
    weights["layers.1.ffn.down.weight"] *= np.float32(1e5)
    return weights


def damaged() -> dict[str, np.ndarray]:
    """Weights with one NaN, in the row of token 4 of the embedding, which is also the head."""
    weights = tiny_weights(SPEC, 0)
    weights["embed.weight"][4, 0] = np.nan
    return weights


def opened(weights: dict[str, np.ndarray], engine: str) -> Model:
    return Model(FakeCheckpoint(SPEC, weights, name="wide"), engine, None, lambda _: None)


@pytest.fixture(scope="module")
def overflow() -> int:
    """The first token at which layer 1 adds more than float16 holds."""
    with opened(wide(), "torch") as model:
        seen = model.run(ids=IDS, max_new_tokens=0, watch=Watch(parts=("ffn.output",)))
    beyond = (np.abs(seen.site("layers.1.ffn.output")) > LARGEST_HALF).any(axis=1)
    assert beyond.any() and np.isfinite(wide()["layers.1.ffn.down.weight"].astype(np.float16)).all()
    return int(beyond.argmax())


@pytest.mark.parametrize("engine", ["torch", "mlx"])
@pytest.mark.parametrize("watch", [Watch.nothing(), Watch.all(), Watch(parts=("ffn.neurons",))], ids=["", "all", "few"])
def test_float16_that_overflows_is_reported_by_site_layer_and_token(engine: str, watch: Watch, overflow: int) -> None:
    with opened(wide(), f"{engine}:fp16") as model:
        for sampling in (Sampling.greedy(), Sampling(temperature=1.0)):
            with pytest.raises(EdgeError) as refused:
                model.run(ids=IDS, max_new_tokens=4, watch=watch, sampling=sampling)
            assert f"from layers.1.ffn.output, token {overflow} on" in str(refused.value)
            assert f"run on {engine} or {engine}:bf16" in str(refused.value)
        with pytest.raises(EdgeError, match=r"layers\.1\.ffn\.output"):
            model.logits(IDS)
    with opened(wide(), f"{engine}:bf16") as model:
        assert np.isfinite(model.logits(IDS)).all(), "the way out that the message names is none"


@pytest.mark.parametrize("engine", ["torch", "onnx", "mlx"])
def test_a_damaged_weight_is_located(engine: str) -> None:
    with opened(damaged(), engine) as model:
        with pytest.raises(EdgeError, match=r"from layers\.0\.input, token 2 on; the weights may be damaged"):
            model.run(ids=IDS, max_new_tokens=4)
        with pytest.raises(EdgeError, match=r"from logits, token 1 on"):
            model.run(ids=IDS[:2], max_new_tokens=4)
        with pytest.raises(EdgeError, match=r"from logits, token 0 on"):
            model.logits(IDS[:2])


def test_what_starts_while_tokens_are_generated_is_reported_with_its_own_token() -> None:
    weights = tiny_weights(SPEC, 0)
    drawing = Sampling(temperature=9.0)
    with opened(weights, "torch") as model:
        made = model.run(ids=IDS, max_new_tokens=6, sampling=drawing).generated
    later = next(place for place, id in enumerate(made) if id not in IDS)
    weights |= {"head.weight": weights["embed.weight"].copy()}
    weights["embed.weight"][made[later], 0] = np.inf
    untied = FakeCheckpoint(replace(SPEC, tied=False), weights, name="wide")
    reported = rf"from layers\.0\.input, token {len(IDS) + later} on"
    with Model(untied, "torch", None, lambda _: None) as model, pytest.raises(EdgeError, match=reported):
        model.run(ids=IDS, max_new_tokens=6, sampling=drawing)


def test_values_that_float16_cannot_keep_are_reported_as_such() -> None:
    few = Watch(parts=("ffn.output",), half=True)
    with opened(wide(), "torch") as model:
        with pytest.raises(EdgeError, match=r"layers\.1\.ffn\.output has numbers above 65,504, the float16 maximum"):
            model.run(ids=IDS, max_new_tokens=2, watch=few)
        assert model.run(ids=IDS, max_new_tokens=2, watch=replace(few, half=False)).generated


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), -float("inf"), 1e39])
def test_edits_by_what_is_no_number_are_refused(factor: float) -> None:
    with opened(tiny_weights(SPEC, 0), "torch") as model:
        for edit in (ScaleHead(0, 0, factor), ScaleNeuron(0, 0, factor), Noise((0,), factor)):
            with pytest.raises(MisuseError, match=r"must be finite|0 or more"):
                model.run(ids=IDS, max_new_tokens=0, edits=(edit,))
        with pytest.raises(EdgeError, match="run without the edits, or with smaller ones"):
            model.run(ids=IDS, max_new_tokens=0, edits=(ScaleNeuron(0, 3, 3e38), ScaleNeuron(0, 3, 3e38)))


@pytest.mark.parametrize("logit", [float("nan"), float("inf")])
def test_no_token_is_drawn_from_logits_that_are_not_finite(logit: float) -> None:
    with pytest.raises(EdgeError, match="logits are not all finite"):
        Sampling(temperature=1.0).sample(np.array([0.5, logit], np.float32), np.random.default_rng(0))


def test_the_lowest_temperature_takes_the_most_probable() -> None:
    assert Sampling(temperature=1e-310).sample(np.array([0.5, 50.0, 1.0], np.float32), np.random.default_rng(0)) == 1
