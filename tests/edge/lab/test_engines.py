"""Every number of the lab is the same on every engine, but for times."""

import pytest

import edge
from edge.lab.context import LabContext
from edge.lab.contrast import contrast
from edge.lab.effect import Verdict, verdict_of
from edge.lab.registry import EXPERIMENTS
from edge.lab.run import LabRecord, lab_record, run_all
from tests.bench.lab import TIMED, difference

AGREE = 1e-3
"""Largest difference, relative where a number is above 1."""


FEWER = {
    "context.MAX_KNOWN_FACTS": 4,
    "experiments.head_types.SEQUENCES": 3,
    "experiments.head_ablation.SEQUENCES": 1,
    "experiments.head_ablation.MAX_ABLATED": 12,
    "experiments.head_ablation.RANDOM_SETS": 2,
    "experiments.distance.SEQUENCES": 3,
    "experiments.distance.DISTANCES": 4,
    "experiments.sublayer_ablation.READ_WINDOWS": 1,
    "experiments.sublayer_ablation.SEQUENCES": 1,
    "experiments.position_wise.SAMPLES": 3,
    "experiments.layer_predictions.TOKENS": 64,
    "experiments.cost.CALLS": 3,
    "experiments.cost.REPEATS": 2,
}
"""Samples of each experiment: a number of few is the same on every engine as one of many, and MLX on the reference
BLAS, which a bare machine has, takes 5 ms per token. Four facts are too few to be traced: `make lab` does that, too."""


def lab_on(engine: str) -> LabRecord:
    with pytest.MonkeyPatch.context() as patch:
        for name, number in FEWER.items():
            patch.setattr(f"edge.lab.{name}", number)
        return whole_lab_on(engine)


def whole_lab_on(engine: str) -> LabRecord:
    with edge.load("fable-relu", engine, threads=1) as model:
        lab = LabContext(model, tokens=600)
        return lab_record(lab, run_all(lab, EXPERIMENTS))


@pytest.fixture(scope="module")
def on_onnx() -> LabRecord:
    return lab_on("onnx")


@pytest.mark.parametrize("engine", ["torch", "mlx"])
def test_numbers_and_verdicts_agree(engine: str, on_onnx: LabRecord) -> None:
    found = lab_on(engine)
    assert found.engine == engine and [one.key for one in found.results] == [one.key for one in on_onnx.results]
    for one, other in zip(on_onnx.results, found.results, strict=True):
        for number, theirs in zip(one.finding.numbers, other.finding.numbers, strict=True):
            assert number.key == theirs.key
            if number.key not in TIMED:
                worst = difference(number, theirs)
                assert worst < AGREE, f"{one.key}.{number.key} is {theirs.value:g} on {engine}, off by {worst:.2g}"
        if one.key != "S3":  # whose verdict is of times
            assert one.finding.verdict is other.finding.verdict, f"{one.key} has another verdict on {engine}"


def test_the_rank_of_heads_by_score_and_by_cost_is_reported(on_onnx: LabRecord) -> None:
    correlation = on_onnx.number("A2.induction_ablation_rank_correlation")
    assert -1 <= correlation <= 1, "the lab does not say whether induction heads are those that copying needs"


def test_every_verdict_follows_from_its_effects(on_onnx: LabRecord) -> None:
    for tried in on_onnx.results:
        finding = tried.finding
        assert finding.verdict is verdict_of(finding.effects), f"{tried.key} says {finding.verdict}"
        assert finding.effects or finding.verdict is Verdict.NOT_APPLICABLE, f"{tried.key} has a verdict of nothing"
        for effect in finding.effects:
            reported = f"{tried.key}.{effect.key}"
            assert effect.is_measured, f"{reported} has no interval: {effect.sentence}"
            assert effect.low <= effect.value <= effect.high, f"{reported} is outside its interval"
            assert effect.threshold_reason and (effect.sample_unit or effect.sample is None), (
                f"{reported} says not what its threshold is"
            )
            assert effect.sentence in finding.reason or effect.verdict is not finding.verdict, (
                f"{reported} decides unsaid"
            )


def test_every_number_of_the_summary_is_found(on_onnx: LabRecord) -> None:
    for aspect in contrast(on_onnx):
        missing = aspect.attention.count("–") + aspect.ffn.count("–")
        traced = aspect.name == "what it learns"
        assert missing == (2 if traced else 0), f"'{aspect.name}' shows {aspect.attention} and {aspect.ffn}"
