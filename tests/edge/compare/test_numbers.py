"""Every number of a comparison against its definition, computed another way."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.compare.estimate import perplexity, perplexity_difference, token_losses_nats
from edge.compare.greedy_decoding import GreedyTokens, first_divergent_token
from edge.compare.predictions import NEAR_TIE_NATS, margins_nats, prediction_difference, score
from edge.compare.sites import first_divergent_site, token_errors
from edge.compare.speed import Speed, default_workload
from edge.compare.tokenized_text import TokenizedText, text_of_ids, tokenize_text, windows
from edge.compare.tolerances import TOLERANCES, tolerance_of
from edge.engines.choice import engine_of
from edge.measure.divergence import jensen_shannon_bits
from edge.profile.rounds import Round
from models.errors import MisuseError
from models.sample_text import SAMPLE_TEXT
from models.tokenizer import open_tokenizer
from tests.tiny import TINY_SPECS

random = np.random.default_rng(7)
REFERENCE = random.normal(0, 3, (150, 40)).astype(np.float32)
OTHER = REFERENCE + random.normal(0, 0.3, (150, 40)).astype(np.float32)
TARGETS = random.integers(0, 40, 150)


def probabilities(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits.astype(np.float64))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def test_sameness_is_what_its_definitions_say() -> None:
    same = prediction_difference(score(REFERENCE, OTHER, TARGETS))
    p, q = probabilities(REFERENCE), probabilities(OTHER)
    kl = (p * np.log(p / q)).sum(axis=-1)
    found = (same.kl_mean_nats, same.kl_median_nats, same.kl_p99_nats, same.kl_max_nats)
    assert found == pytest.approx((kl.mean(), np.median(kl), np.percentile(kl, 99), kl.max()), rel=1e-9)
    flipped = p.argmax(axis=-1) != q.argmax(axis=-1)
    assert same.positions == 150 and same.flips == flipped.sum() > 0
    assert same.top1_agreement == pytest.approx(1 - flipped.mean())
    assert same.max_logit_difference == pytest.approx(np.abs(OTHER - REFERENCE).max(), rel=1e-6)


def test_near_ties_are_distinguished_from_other_flips() -> None:
    reference = np.array([[0, 1, 1 + 0.9 * NEAR_TIE_NATS], [0, 1, 1 + 1.1 * NEAR_TIE_NATS], [0, 1, 3]], np.float32)
    other = np.array([[0, 2, 1], [0, 2, 1], [0, 1, 3]], np.float32)
    same = prediction_difference(score(reference, other, np.array([0, 1, 2])))
    assert (same.flips, same.near_tie_flips) == (2, 1)
    assert margins_nats(reference) == pytest.approx([0.9 * NEAR_TIE_NATS, 1.1 * NEAR_TIE_NATS, 2], rel=1e-5)


def test_perplexity_and_its_errors() -> None:
    """The delta method agrees with resampling the text's positions."""
    own, other = token_losses_nats(OTHER, TARGETS), token_losses_nats(REFERENCE, TARGETS)
    assert own == pytest.approx(-np.log(probabilities(OTHER)[np.arange(150), TARGETS]), rel=1e-9)
    value, difference = perplexity(own / 4), perplexity_difference(own / 4, other / 4)
    assert value.value == pytest.approx(np.exp(own.mean() / 4))
    assert difference.value == pytest.approx(np.exp(own.mean() / 4) - np.exp(other.mean() / 4))
    drawn = random.integers(0, 150, (4_000, 150))
    resampled, paired = np.exp(own[drawn].mean(axis=1) / 4), np.exp(other[drawn].mean(axis=1) / 4)
    assert value.error == pytest.approx(resampled.std(), rel=0.1)
    assert difference.error == pytest.approx((resampled - paired).std(), rel=0.1)
    assert difference.error < value.error / 3, "pairing did not make the difference sharper"


@given(st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_jensen_shannon_is_a_bounded_symmetric_distance(keys: int, seed: int) -> None:
    p, q, r = np.random.default_rng(seed).dirichlet(np.full(keys, 0.3), 3)[:, None, :]
    one, middle = jensen_shannon_bits(p, q), (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = [np.nansum(x * np.log2(x / middle)) for x in (p, q)]
    assert one == pytest.approx(sum(terms) / 2, abs=1e-6)
    assert one == pytest.approx(jensen_shannon_bits(q, p)) and 0 <= one <= 1
    difference = [float(np.sqrt(jensen_shannon_bits(*pair)[0])) for pair in ((p, r), (r, q))]
    assert np.sqrt(one) <= sum(difference) + 1e-4, "its root is a metric, and no way round is shorter (Endres 2003)"


def test_jensen_shannon_has_its_ends() -> None:
    assert jensen_shannon_bits(np.array([[1.0, 0], [0.5, 0.5]]), np.array([[0, 1.0], [0.5, 0.5]])).tolist() == [1, 0]


def test_errors_are_relative_to_the_largest_value_of_the_site() -> None:
    reference = random.normal(0, 1, (200, 3, 4)).astype(np.float32)
    off = reference.copy()
    off[137, 2, 1] += 0.5
    errors = token_errors(off, reference)
    assert errors.argmax() == 137 and errors.max() == pytest.approx(0.5 / np.abs(reference).max(), rel=1e-5)
    assert np.count_nonzero(errors) == 1


def test_the_first_site_beyond_the_tolerance_is_the_first_computed_not_the_worst() -> None:
    errors = {"layers.0.input": np.array([0, 1e-6]), "layers.0.attn.key": np.array([0, 1e-3]), "logits": np.ones(2)}
    at = first_divergent_site(errors, 1e-4, ("a", "b"))
    assert at is not None and (at.site, at.layer, at.token, at.piece) == ("layers.0.attn.key", 0, 1, "b")
    at = first_divergent_site(errors, 0.5, ("a", "b"))
    assert at is not None and (at.site, at.layer, at.token) == ("logits", None, 0)
    assert first_divergent_site(errors, 1.0, ("a", "b")) is None


def test_what_overflows_is_beyond_every_tolerance() -> None:
    broken = OTHER.copy()
    broken[9] = np.inf
    same = prediction_difference(score(REFERENCE, broken, TARGETS))
    assert np.isnan(same.kl_mean_nats) and np.isnan(same.perplexity_difference.value)
    broken[9] = np.nan
    at = first_divergent_site({"logits": token_errors(broken, REFERENCE)}, 100.0, tuple("x" * 150))
    assert at is not None and at.token == 9


@pytest.mark.parametrize(
    ("reference", "variant", "kind"),
    [
        ("torch", "onnx", "fp32"),
        ("torch", "torch:fp16", "fp16"),
        ("torch:bf16", "torch:fp16", "bf16"),
        ("torch", "torch:int8", "int8"),
        ("torch", "onnx:int4", "int4"),
        ("onnx:int8", "onnx:int4", "int4"),
        ("torch:int4", "mlx:int4", "fp32"),
        ("torch:int4", "onnx:int4", "int8"),
        ("torch:int4", "onnx:int4-acc0", "fp32"),
        ("torch:int4", "torch:int4-sym", "int4"),
        ("torch:mixed", "mlx:mixed", "fp32"),
        ("torch:mixed", "onnx:mixed-acc0", "fp32"),
        ("torch:mixed", "onnx:mixed", "int8"),
        ("torch:int6-g16-sym", "onnx:int6-g16-sym", "int8"),
        ("torch", "torch:int5", "int4"),
        ("torch", "torch:mixed", "int4"),
    ],
)
def test_the_tolerance_is_of_what_the_two_round(reference: str, variant: str, kind: str) -> None:
    assert tolerance_of(engine_of(reference), engine_of(variant)) == TOLERANCES[kind]


def test_choices_part_where_they_first_differ() -> None:
    reference = GreedyTokens((1, 2, 3), ("a", "b", "c"), (0.5, 0.02, 0.7))
    at = first_divergent_token(GreedyTokens((1, 9, 3), ("a", "x", "c"), (0.1, 0.1, 0.1)), reference)
    assert at is not None and (at.position, at.piece, at.reference_piece) == (1, "x", "b")
    assert at.margin_nats == 0.02 and at.is_near_tie
    assert first_divergent_token(reference, reference) is None


def test_speed_is_of_all_rounds() -> None:
    workload = default_workload([TINY_SPECS["neox-full-rotary-relu"]])
    rounds = (Round(3.0, (1.0, 2.0, 3.0), None), Round(5.0, (4.0, 5.0, 60.0), None), Round(4.0, (7.0, 8.0, 9.0), None))
    speed = Speed(workload, rounds)
    assert (speed.prefill_ms, speed.decode_ms) == (4, 5)
    assert speed.decode_p90_ms == pytest.approx(np.percentile([1, 2, 3, 4, 5, 60, 7, 8, 9], 90))
    assert speed.spread == (8 - 2) / 5, "the medians of rounds are 2, 5 and 8"
    assert workload.length <= 64, "a round does not fit the context"


@given(st.lists(st.integers(0, 9), min_size=3, max_size=60), st.integers(1, 20))
def test_windows_predict_every_token_but_the_first_once(ids: list[int], width: int) -> None:
    cut = list(windows(ids, width))
    assert [target for window in cut for target in window.targets] == ids[1:]
    assert [id for window in cut for id in window.ids] == ids[:-1]
    assert all(len(window.ids) == len(window.targets) <= width for window in cut)
    assert all(before.targets[-1] == after.ids[0] for before, after in pairwise(cut))


def test_passages(byte_llama: Path, tmp_path: Path) -> None:
    tokenizer, file = open_tokenizer(byte_llama), tmp_path / "text.txt"
    file.write_text("Ünd so weiter", encoding="utf8")
    assert tokenize_text(tokenizer, file, 5) == TokenizedText("text.txt", tuple("Ünd so".encode()[:5]))
    own = tokenize_text(tokenizer, None, 10_000)
    assert own.source == "built in" and bytes(own.ids).decode() == SAMPLE_TEXT
    with pytest.raises(MisuseError, match=r"no tokenizer\.json"):
        tokenize_text(None, None, 9)
    with pytest.raises(MisuseError, match="from 0 to 8"):
        text_of_ids([1, 2, 9], 9, 9)
    with pytest.raises(MisuseError, match="the minimum is 3"):
        text_of_ids([1, 2], 9, 9)
