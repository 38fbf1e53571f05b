"""R1: experts that the token decides, the position, or nothing; and models that cannot be tested."""

import numpy as np
import pytest

from edge.lab.claim import Finding
from edge.lab.effect import Verdict
from edge.lab.experiments.experts import COMPARED, EXPERIMENT, Passage, by_window, effects, layer_of
from models.parameters import parameter_shapes
from models.spec import Activation, Gated, MoE, TopFirst
from tests.edge.lab.contexts import tiny_lab
from tests.tiny import TINY_SPECS

WINDOWS, WIDTH, EXPERTS = 8, 60, 8
MIXTURE = MoE(n_experts=EXPERTS, top_k=2, expert=Gated(Activation.RELU, 4, bias=False), router=TopFirst())


def some_text() -> Passage:
    tokens = np.random.default_rng(0).integers(0, 30, WINDOWS * WIDTH + 1)
    window, position = np.divmod(np.arange(WINDOWS * WIDTH), WIDTH)
    return Passage(tokens[:-1], tokens[1:], position, window)


def table(rows: int) -> np.ndarray:
    """Two experts for each row."""
    random = np.random.default_rng(1)
    return np.array([np.sort(random.choice(EXPERTS, 2, replace=False)) for _ in range(rows)])


def means(chosen: np.ndarray) -> dict[str, float]:
    found = by_window(some_text(), [layer_of(some_text(), chosen, MIXTURE)])
    return dict(zip(COMPARED, found.mean(axis=1).tolist(), strict=True))


def test_experts_that_the_token_decides_agree_on_it_and_on_nothing_else() -> None:
    found = means(table(30)[some_text().token])
    assert found["token"] == pytest.approx(1, abs=1e-6)
    for other in ("next_token", "position", "neighbor"):
        assert abs(found[other]) < 0.1, f"{other}: {found[other]}"


def test_experts_that_the_position_decides_agree_at_it_and_on_nothing_else() -> None:
    found = means(table(WIDTH)[some_text().position])
    assert found["position"] == pytest.approx(1, abs=1e-6)
    for other in ("token", "next_token", "neighbor"):
        assert abs(found[other]) < 0.1, f"{other}: {found[other]}"


def test_one_busy_expert_is_not_a_specialized_one() -> None:
    random = np.random.default_rng(2)
    chosen = np.array([[0, 1 + random.integers(0, EXPERTS - 1)] for _ in range(WINDOWS * WIDTH)])
    layer = layer_of(some_text(), chosen, MIXTURE)
    assert layer.busiest == 0.5 and layer.most is not None and layer.most[1:] == (0, 1.0)
    row = by_window(some_text(), [layer])[0]
    assert Finding("", effects(row)).verdict is Verdict.NOT_SUPPORTED, f"agreement {row}"


def test_experts_that_are_the_same_everywhere_cannot_be_tested() -> None:
    layer = layer_of(some_text(), np.tile([1, 2], (WINDOWS * WIDTH, 1)), MIXTURE)
    assert np.isnan(layer.agreement).all()
    assert Finding("", effects(by_window(some_text(), [layer])[0])).verdict is Verdict.INCONCLUSIVE


def test_a_router_that_reads_the_token_alone_is_specialized() -> None:
    name = "clamped-experts-sinks-odd-sizes"
    shapes = parameter_shapes(TINY_SPECS[name])
    ablated = {part: np.zeros(shape, np.float32) for part, shape in shapes.items() if ".attn.out." in part}
    with tiny_lab(name, ablated, tokens=600) as lab:
        finding = EXPERIMENT.measure(lab)
    found = {number.key: number.value for number in finding.numbers}
    assert found["token_agreement"] == pytest.approx(1, abs=1e-5), finding.summary
    assert finding.verdict is Verdict.SUPPORTED
    assert [series.name for series in finding.curves[0].series] == list(COMPARED.values())


def test_dense_layers_are_left_out_and_dense_models_are_not_tested() -> None:
    with tiny_lab("experts-in-groups-shared-and-a-dense-layer", tokens=300) as lab:
        finding = EXPERIMENT.measure(lab)
        assert finding.curves[0].x == ("0", "2"), "layer 1 is dense"
    with tiny_lab("neox-full-rotary-relu") as lab:
        assert EXPERIMENT.measure(lab).verdict is Verdict.NOT_APPLICABLE
    with tiny_lab("clamped-experts-sinks-odd-sizes", tokens=20) as lab:
        assert "two windows" in EXPERIMENT.measure(lab).reason
