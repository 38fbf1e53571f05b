"""R1: experts that the token decides, the position, or nothing; and models that cannot be tested."""

import numpy as np
import pytest

from edge.lab.claim import Finding
from edge.lab.effect import Verdict
from edge.lab.experiments.experts import (
    COMPARED,
    EXPERIMENT,
    Passage,
    agreement,
    effects,
    examples,
    interval,
    layer_of,
)
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
    text = some_text()
    found = agreement(text, [layer_of(text, chosen, MIXTURE)], text.windows)
    return dict(zip(COMPARED, found.tolist(), strict=True))


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
    text, random = some_text(), np.random.default_rng(2)
    chosen = np.array([[0, 1 + random.integers(0, EXPERTS - 1)] for _ in range(WINDOWS * WIDTH)])
    layer = layer_of(text, chosen, MIXTURE)
    assert all(example.expert != 0 for example in examples(text, layer)), "all tokens choose expert 0"
    found = interval(text, [layer], 0)
    assert Finding("", effects(found)).verdict is Verdict.NOT_SUPPORTED, f"agreement {found}"


def test_tokens_with_the_same_next_token_are_compared_only_if_they_differ() -> None:
    """Text in which a token has always the same next token; the token decides the experts."""
    text = some_text()
    cyclic = Passage(text.position % 5, (text.position + 1) % 5, text.position, text.window)
    found = agreement(cyclic, [layer_of(cyclic, table(5)[cyclic.token], MIXTURE)], cyclic.windows)
    assert found[0] == pytest.approx(1) and np.isnan(found[1])


def test_layers_with_one_choice_for_all_tokens_count_as_no_agreement() -> None:
    """They have no choices to agree on; the other layers count in full."""
    text = some_text()
    same = layer_of(text, np.tile([1, 2], (WINDOWS * WIDTH, 1)), MIXTURE)
    decided = layer_of(text, table(30)[text.token], MIXTURE)
    assert np.isnan(agreement(text, [same], text.windows)).all()
    assert agreement(text, [same, decided], text.windows)[0] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("windows", [3, 8])
def test_the_interval_covers_random_choices(windows: int) -> None:
    """In 95 of 100 texts by design; at least 85 of 100 are within chance."""
    text, covered = some_text(), 0
    rows = text.window < windows
    part = Passage(*(column[rows] for column in (text.token, text.next_token, text.position, text.window)))
    for seed in range(100):
        scores = np.random.default_rng([7, seed]).random((rows.sum(), EXPERTS))
        found = interval(part, [layer_of(part, np.sort(scores.argsort(axis=1)[:, :2]), MIXTURE)], 0)
        covered += found.low <= 0 <= found.high
    assert covered >= 85, f"the interval holds the true value in {covered} of 100 texts"


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
        assert "3 windows" in EXPERIMENT.measure(lab).reason
