"""In which precisions weights run that are stored quantized."""

from dataclasses import replace

import pytest

from export.quantizing import as_quantized, stored_precision
from models.checkpoint import Checkpoint
from models.errors import MisuseError
from models.precision import FP32, Grouped, Mixed, Scheme, Zero, precision_of
from models.quantized_file import matrices
from tests.mixed import Q6_K, mixed_checkpoint
from tests.quantized_matrices import quantized_checkpoint, random_matrix
from tests.tiny import tiny_checkpoint

OFFSET4 = Scheme(4, 32, Zero.OFFSET)


def stored(scheme: Scheme) -> Checkpoint:
    """A checkpoint with all matrices in one scheme; its values do not matter."""
    held = tiny_checkpoint("llama-shared-heads-tied")
    schemes = {name: scheme for name in matrices(held.spec)}
    columns = {name: held.weights[name].shape for name in schemes}
    return quantized_checkpoint(
        held.spec, held.weights, {name: random_matrix(scheme, *columns[name], 0) for name in schemes}
    )


def test_weights_in_one_scheme_are_written_as_it_and_others_as_mixed() -> None:
    assert stored_precision(tiny_checkpoint("llama-shared-heads-tied")) is None
    assert stored_precision(stored(Q6_K)) == Grouped(Q6_K) and str(Grouped(Q6_K)) == "int6-g16-sym"
    assert stored_precision(mixed_checkpoint()) == Mixed()


@pytest.mark.parametrize("accuracy", [0, 1, 4])
def test_products_with_stored_weights_have_any_accuracy(accuracy: int) -> None:
    option = "" if accuracy == 4 else f"-acc{accuracy}"
    for scheme, word in ((OFFSET4, "int4"), (Q6_K, "int6-g16-sym"), (replace(OFFSET4, ordered=True), "int4")):
        assert as_quantized(stored(scheme), precision_of(word + option)) == Grouped(scheme, accuracy)
    assert as_quantized(mixed_checkpoint(), precision_of(f"mixed{option}")) == Mixed(accuracy)


def test_float32_stands_for_the_stored_precision() -> None:
    assert as_quantized(mixed_checkpoint(), FP32) == Mixed() and as_quantized(stored(Q6_K), FP32) == Grouped(Q6_K)


@pytest.mark.parametrize("asked", ["int8", "int4-sym", "int4-g64", "mixed", "fp16", "int5-acc0"])
def test_stored_weights_cannot_become_others(asked: str) -> None:
    with pytest.raises(MisuseError, match=f"are stored as int4, not {asked}; use int4"):
        as_quantized(stored(OFFSET4), precision_of(asked))
    if asked != "mixed":
        with pytest.raises(MisuseError, match=f"are stored as mixed, not {asked}; use mixed"):
            as_quantized(mixed_checkpoint(), precision_of(asked))
