"""Laws of direct attribution: parts sum to the whole, for every norm and every way to cut the residual stream."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.measure.attribution import direct_logit_attribution, write_norms
from edge.readout import LinearReadout, NormWeights, Readout, open_output_projection, open_readout
from models.checkpoint import Checkpoint
from models.errors import MisuseError
from models.precision import Scheme, Zero
from models.quantized_file import open_quantized, write_quantized
from models.spec import LayerNorm, NoCap, NoNorm, Norm, RMSNorm, SoftCap
from tests.tiny import TINY_SPECS, tiny_checkpoint

few = settings(max_examples=50)
seeds = st.integers(0, 2**16)
norms = st.sampled_from([RMSNorm(1e-5), LayerNorm(1e-5), NoNorm()])


def some_readout(seed: int, kind: Norm | NoNorm, *, project: bool = False, limit: float | None = None) -> Readout:
    """From 6 features, over 4 if they are projected back, to 7 ids."""
    rng = np.random.default_rng(seed)
    shift = rng.standard_normal(6, np.float32) if isinstance(kind, LayerNorm) else np.zeros(6, np.float32)
    gain = np.ones(6, np.float32) if isinstance(kind, NoNorm) else rng.standard_normal(6, np.float32)
    return Readout(
        norm=NormWeights(kind, gain, shift),
        project=rng.standard_normal((4, 6), np.float32) if project else None,
        weight=rng.standard_normal((7, 4 if project else 6), np.float32),
        bias=rng.standard_normal(7, np.float32),
        cap=NoCap() if limit is None else SoftCap(limit),
    )


def test_a_part_counts_by_what_the_head_reads_of_it() -> None:
    """`c · γ · (W_U[target] - W_U[baseline]) / rms(x)`, by hand: rms of (3, 4, 0, 0) is 2.5."""
    gain = np.array([1, 2, 1, 1], np.float32)
    norm = NormWeights(RMSNorm(0.0), gain, np.zeros(4, np.float32))
    read = Readout(norm, None, np.eye(4, dtype=np.float32), np.zeros(4, np.float32), NoCap())
    parts = np.array([[[3, 0, 0, 0]], [[0, 4, 0, 0]]], np.float32)
    found = direct_logit_attribution(parts, read.frozen(parts.sum(0), target=1, baseline=0))
    assert found[:, 0] == pytest.approx([-3 / 2.5, 4 * 2 / 2.5])


def test_a_layer_norm_takes_the_mean_of_a_part_away() -> None:
    """A part that moves all features by the same amount changes no logit behind a LayerNorm."""
    read = some_readout(0, LayerNorm(1e-5))
    x = np.random.default_rng(1).standard_normal((3, 6), np.float32)
    even = np.full((1, 3, 6), 5, np.float32)
    assert np.abs(direct_logit_attribution(even, read.frozen(x, 2, 4))).max() < 1e-5


@few
@given(seed=seeds, kind=norms, project=st.booleans(), parts=st.integers(1, 5), baseline=st.sampled_from([None, 0, 6]))
def test_parts_and_biases_sum_to_the_difference(
    seed: int, kind: Norm | NoNorm, project: bool, parts: int, baseline: int | None
) -> None:
    read = some_readout(seed, kind, project=project, limit=2.0)
    components = np.random.default_rng(seed + 1).standard_normal((parts, 3, 6), np.float32)
    x = components.sum(axis=0)
    logits = read.uncapped_logits(x)
    want = logits[:, 3] - (logits.mean(-1) if baseline is None else logits[:, baseline])
    reading = read.frozen(x, 3, baseline)
    got = direct_logit_attribution(components, reading).sum(axis=0) + reading.constant
    worst = float(np.abs(got - want).max() / max(1.0, float(np.abs(logits).max())))
    assert worst < 5e-5, f"{parts} parts behind {kind} miss the difference of logits by {worst:.2g}"


@few
@given(seed=seeds, kind=norms, size=st.floats(-8, 8, width=32))
def test_an_attribution_is_linear_in_its_part(seed: int, kind: Norm | NoNorm, size: float) -> None:
    rng = np.random.default_rng(seed)
    x, one, other = rng.standard_normal((3, 1, 4, 6), np.float32)
    reading = some_readout(seed, kind).frozen(x[0], 1, 5)
    together = direct_logit_attribution(np.float32(size) * one + other, reading)
    difference = size * direct_logit_attribution(one, reading) + direct_logit_attribution(other, reading)
    assert np.allclose(together, difference, atol=1e-3), f"behind {kind}, a part counts by more than its size"


@few
@given(seed=seeds, kind=norms)
def test_to_turn_the_question_around_turns_the_sign(seed: int, kind: Norm | NoNorm) -> None:
    read, x = some_readout(seed, kind), np.random.default_rng(seed).standard_normal((4, 6), np.float32)
    for_one, for_other = read.frozen(x, 1, 5), read.frozen(x, 5, 1)
    assert np.allclose(for_one.direction, -for_other.direction) and np.allclose(for_one.constant, -for_other.constant)
    assert np.abs(read.frozen(x, 2, 2).direction).max() == 0, "an id has an advantage over itself"


def test_logits_are_bounded_where_the_head_bounds_them() -> None:
    read, x = some_readout(3, RMSNorm(1e-5), limit=2.0), 9 * np.ones((2, 6), np.float32)
    assert np.allclose(read.logits(x), 2 * np.tanh(read.uncapped_logits(x) / 2), atol=1e-6)
    assert np.abs(read.uncapped_logits(x)).max() > 2, "the example is too small to be bounded"


@pytest.mark.parametrize("outside", [-1, 7])
def test_ids_outside_the_vocabulary_are_refused(outside: int) -> None:
    read, x = some_readout(0, RMSNorm(1e-5)), np.ones((1, 6), np.float32)
    with pytest.raises(MisuseError, match="0 to 6"):
        read.frozen(x, outside)
    with pytest.raises(MisuseError, match="0 to 6"):
        read.frozen(x, 0, outside)


def test_a_layer_that_is_not_there_is_refused() -> None:
    with pytest.raises(MisuseError, match="layers 0 to 2"):
        open_output_projection(tiny_checkpoint("layers-that-differ"), 3, "attn")


@few
@given(seed=seeds, inner=norms)
def test_a_number_is_the_same_before_and_after_what_is_linear(seed: int, inner: Norm | NoNorm) -> None:
    """A matrix with its bias, then a norm, on the way to one number: what is read before both is what is read after."""
    rng = np.random.default_rng(seed)
    norm = some_readout(seed, inner).norm
    matrix, bias, parts = (rng.standard_normal(shape, np.float32) for shape in ((6, 3), (6,), (4, 3)))
    raw = parts @ matrix.T + bias
    after = LinearReadout(rng.standard_normal(6), np.abs(rng.standard_normal(4)) + 0.5, rng.standard_normal(4))
    want = norm(raw) @ after.direction / after.scale + after.constant
    before = after.before(norm, raw).before_matrix(matrix, bias)
    got = parts @ before.direction / before.scale + before.constant
    assert np.allclose(got, want, atol=1e-4), f"reading before a matrix and {inner} gives another number"


@few
@given(seed=seeds, size=st.floats(0, 100, width=32))
def test_a_write_norm_is_a_length(seed: int, size: float) -> None:
    writes = np.random.default_rng(seed).standard_normal((3, 4, 6), np.float32)
    turned = np.linalg.qr(np.random.default_rng(seed).standard_normal((6, 6)))[0].astype(np.float32)
    assert write_norms(np.array([[[3, 4]]], np.float32))[0, 0] == 5
    assert np.allclose(write_norms(np.float32(size) * writes), size * write_norms(writes), rtol=1e-4)
    assert np.allclose(write_norms(writes @ turned), write_norms(writes), rtol=1e-4), "turning changes a length"


@pytest.mark.parametrize("name", TINY_SPECS)
def test_quantized_weights_are_read_as_what_their_codes_stand_for(name: str, tmp_path: Path) -> None:
    dense, file = tiny_checkpoint(name), tmp_path / "model.safetensors"
    write_quantized(dense.spec, dense.weights, Scheme(8, 32, Zero.WHOLE), file, lambda _: None)
    quantized = Checkpoint(dense.source, dense.spec, *open_quantized(file, dense.spec))
    x = np.random.default_rng(0).standard_normal((3, dense.spec.d_model), np.float32)
    got, want = open_readout(quantized), open_readout(dense)
    head = "embed.weight" if dense.spec.tied else "head.weight"
    assert (got.weight == quantized.quantized[head].dense()).all(), "the head is not what its codes stand for"
    worst = float(np.abs(got.logits(x) - want.logits(x)).max() / np.abs(want.logits(x)).max())
    assert 0 < worst < 0.03, f"eight bits a weight move logits by {worst:.2g} of the largest"
