"""S1: the lens shows what the decoder itself predicts with later sublayers ablated."""

import numpy as np
import pytest

from edge.edits import Ablate
from edge.lab.context import LabContext
from edge.lab.effect import Verdict, verdict_of
from edge.lab.experiments import layer_predictions, lens
from edge.lab.experiments.layer_predictions import LayerPredictions, by_chance, predict_by_layer, sampled
from edge.lab.experiments.lens import effects, measure, numbers
from edge.measure.lens import Lens
from tests.edge.lab.contexts import tiny_lab, zoo_lab
from tests.tiny import TINY_SPECS, tiny_weights

NAME = "neox-full-rotary-relu"
SUMS_STAY = [name for name, spec in TINY_SPECS.items() if not any(layer.norms_sum for layer in spec.layers)]


@pytest.fixture(autouse=True)
def few_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each token needs a pass."""
    monkeypatch.setattr(layer_predictions, "TOKENS", 40)


def answers(lab: LabContext, *inactive: str) -> np.ndarray:
    """What the decoder answers to the sampled tokens with some sublayers ablated."""
    reported = [lab.model.logits(list(ids), [Ablate(one) for one in inactive]).argmax(-1) for ids in lab.window_ids]
    return np.asarray(np.concatenate(reported)[sampled(lab)])


@pytest.mark.parametrize("name", SUMS_STAY)
def test_changes_are_those_that_ablating_the_last_layer_undoes(name: str) -> None:
    with tiny_lab(name) as lab:
        found, last = predict_by_layer(lab), f"layers.{lab.spec.n_layers - 1}"
        whole, half, none = (
            answers(lab),
            answers(lab, f"{last}.ffn"),
            answers(lab, f"{last}.attn", f"{last}.ffn"),
        )
    assert found.agreement[-1] == 1.0
    assert (found.top1[-1] == whole).all(), f"{name}: the lens ends with another answer than the decoder"
    assert (found.top1[-2] == none).all(), f"{name}: the lens of the layer before differs"
    assert found.changes[-1, 0] == pytest.approx((none != half).mean()), f"{name}: attention"
    assert found.changes[-1, 1] == pytest.approx((half != whole).mean()), f"{name}: FFN"


def test_where_sums_are_normed_no_sublayer_is_said_to_change_an_answer() -> None:
    with tiny_lab("normed-sums-projected-embedding-tied") as lab:
        found = predict_by_layer(lab)
    assert np.isnan(found.changes).all()
    by_key = {number.key: number.value for number in numbers(found)}
    assert np.isnan(by_key["ffn_changes_share"]) and np.isfinite(by_key["lens_agreement_first"])


@pytest.mark.parametrize(("place", "part"), [(0, ".attn.out."), (1, ".ffn.down.")])
def test_what_writes_nothing_changes_nothing(place: int, part: str) -> None:
    changed = {key: 0 * value for key, value in tiny_weights(TINY_SPECS[NAME], 0).items() if part in key}
    with tiny_lab(NAME, changed) as lab:
        found = predict_by_layer(lab)
    assert not found.changes[:, place].any() and not found.norm_ratios[:, place].any()
    assert found.changes[:, 1 - place].all() and found.norm_ratios[:, 1 - place].all(), (
        "the other one does nothing either"
    )


def test_without_attention_every_answer_is_local() -> None:
    changed = {key: 0 * value for key, value in tiny_weights(TINY_SPECS[NAME], 0).items() if ".attn.out." in key}
    with tiny_lab(NAME, changed) as deaf, tiny_lab(NAME) as hearing:
        assert predict_by_layer(deaf).local[-1] == 1.0, (
            "two tokens gave another answer than the text that nothing reads"
        )
        assert predict_by_layer(hearing).local[-1] < 1.0, "the text before makes no difference"


def test_the_text_follows_as_often_as_the_decoder_is_right() -> None:
    with zoo_lab(tokens=100) as lab:
        found, tokens = predict_by_layer(lab), sampled(lab)
        truth = np.array(lab.passage)[tokens + 1]
        assert found.following[-1] == pytest.approx((answers(lab) == truth).mean(), abs=1 / len(tokens))


def test_chance_by_hand() -> None:
    assert by_chance(np.array([1, 1, 2, 3]), np.array([1, 2, 2, 4])) == pytest.approx(0.5 * 0.25 + 0.25 * 0.5)
    assert by_chance(np.array([5, 5]), np.array([5, 5])) == 1.0
    assert by_chance(np.array([5, 5]), np.array([6, 7])) == 0.0


def test_tokens_are_spread_and_have_read_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with tiny_lab(NAME, tokens=400) as lab:
        firsts = np.cumsum([0, *(len(ids) for ids in lab.window_ids)])
        few = sampled(lab)
        monkeypatch.setattr(layer_predictions, "TOKENS", 256)
        every = sampled(lab)
    assert not np.isin(every, firsts).any(), "the first token of a window has read no other"
    assert len(every) == 256 and len(few) == 40 and (np.diff(few) > 0).all()
    assert few[0] == 1 and few[-1] == 398, "the sample leaves out an end of the passage"


def made(agreeing: list[int], local: list[float], tokens: int = 10) -> LayerPredictions:
    """Tokens of which each layer gives some the last one's answer, and to others the local one."""
    layers, tenth = len(agreeing), tokens // 10
    ids = np.array([[0] * right * tenth + [1] * (10 - right) * tenth for right in agreeing])[..., None]
    ones = np.ones((layers, tokens), np.float32)
    is_local = np.array([np.arange(tokens)[::-1] < share * tokens for share in local])
    found = Lens(ids=ids, probabilities=ones[..., None], rank=ids[..., 0], entropy_bits=ones, kl_to_final_bits=0 * ones)
    return LayerPredictions(found, is_local, np.zeros(layers), np.zeros((layers, 2)), np.zeros((layers, 2)))


def test_the_verdict_asks_for_growth_and_a_local_beginning() -> None:
    def verdict(agreeing: list[int], local: list[float], tokens: int = 200) -> Verdict:
        return verdict_of(effects(made(agreeing, local, tokens)))

    assert verdict([2, 5, 10], [0.4, 0.3, 0.2]) is Verdict.SUPPORTED
    assert verdict([2, 5, 10], [0.4, 0.3, 0.2], tokens=10) is Verdict.INCONCLUSIVE, "ten tokens cannot tell 2 from 4"
    assert verdict([4, 6, 10], [0.1, 0.3, 0.2]) is Verdict.NOT_SUPPORTED, "it begins with the last layer's answers"
    assert verdict([5, 2, 10], [0.9, 0.3, 0.2]) is Verdict.NOT_SUPPORTED, "the middle knows less than the beginning"
    assert verdict([2, 10, 10], [0.4, 0.3, 0.2]) is Verdict.INCONCLUSIVE, "nothing is left to the upper half"


def test_numbers_of_the_middle_are_of_the_last_layer_of_the_lower_half() -> None:
    found = {number.key: number for number in numbers(made([2, 3, 5, 6, 8, 10], [0.4] * 6))}
    assert found["lens_agreement_first"].value == 0.2 and found["lens_agreement_middle"].value == 0.5
    assert found["lens_agreement_first"].baseline == pytest.approx(0.2), "the last layer always answers 0"
    assert found["convergence_layer"].value == pytest.approx((2 * 0 + 1 + 2 * 2 + 3 + 2 * 4 + 2 * 5) / 10)
    assert found["local_agreement_first"].value == 0.4


def test_a_stack_of_two_layers_has_no_middle() -> None:
    with tiny_lab("gpt2-learned-positions-tied") as lab:
        assert measure(lab).verdict is Verdict.NOT_APPLICABLE


def test_all_passes_are_known_before() -> None:
    with tiny_lab(NAME) as lab:
        assert lab.traces
        expected, before = lens.EXPERIMENT.cost_tokens(lab), lab.tokens_fed
        finding = measure(lab)
    assert lab.tokens_fed - before == expected
    assert finding.verdict is not Verdict.NOT_APPLICABLE and len(finding.curves[0].x) == 3
