"""What exports are compared on, and the result of the comparison on a text."""

from pathlib import Path

import numpy as np
import pytest

from edge.export_summary import quantization_line
from export.check import quantization_cost
from export.comparison_ids import TOKENS, comparison_ids
from export.logit_difference import LogitDifference, compare_logits
from models.checkpoint import open_checkpoint
from models.sample_text import SAMPLE_TEXT
from models.tokenizer import open_tokenizer
from models.zoo import zoo_folder
from tests.tiny import tiny_checkpoint

ZOO = Path(str(zoo_folder("fable-relu")))


def test_an_export_is_compared_on_text_where_there_is_a_tokenizer() -> None:
    passage = comparison_ids(open_checkpoint(ZOO))
    tokenizer = open_tokenizer(ZOO)
    assert tokenizer is not None and passage.targets is not None
    text = tokenizer.encode(SAMPLE_TEXT)
    assert np.concatenate(passage.passes).tolist() == text[:TOKENS], "the passes are not the text from its beginning"
    assert np.concatenate(passage.targets).tolist() == text[1 : TOKENS + 1], "the targets are not what follows"


def test_without_a_tokenizer_it_is_compared_on_ids_and_has_no_perplexity() -> None:
    checkpoint = tiny_checkpoint("llama-one-kv-head-odd-sizes")
    passage = comparison_ids(checkpoint)
    assert passage.targets is None and len(passage.passes) >= 3
    cost = quantization_cost(checkpoint, checkpoint)
    assert cost.perplexity is None and "random ids" in quantization_line(cost)


@pytest.mark.parametrize("context", [2, 3, 8, 9, 10, 64])
def test_passes_fit_any_context(byte_llama: Path, context: int) -> None:
    from dataclasses import replace

    held = open_checkpoint(byte_llama)
    passage = comparison_ids(replace(held, spec=replace(held.spec, context=context)))
    assert all(2 <= len(ids) <= context for ids in passage.passes)


def test_perplexity_is_the_exponential_of_the_mean_cost() -> None:
    """Two positions of a coin: the true one said heads with 3/4, the other with 1/2; heads came both times."""
    true = np.log(np.array([[0.75, 0.25], [0.75, 0.25]], np.float32))
    other = np.log(np.array([[0.5, 0.5], [0.25, 0.75]], np.float32))
    found = compare_logits([other], [true], [np.zeros(2, np.int64)])
    assert found.reference_perplexity == pytest.approx(4 / 3)
    assert found.perplexity == pytest.approx(np.sqrt(8))
    assert compare_logits([other[1:]], [true], [np.zeros(2, np.int64)]).perplexity is None, (
        "one row of two is not the text"
    )


def test_a_large_loss_is_called_one() -> None:
    some = LogitDifference(
        1.0, 0.1, 0.2, top1_agreement=0.535, positions=254, perplexity=30.0, reference_perplexity=20.0
    )
    reported = quantization_line(some)
    assert "53.5% at 254 positions" in reported and "+50.0%" in reported and "large loss" in reported
    close = LogitDifference(
        1.0, 0.1, 0.2, top1_agreement=0.99, positions=254, perplexity=20.2, reference_perplexity=20.0
    )
    assert "large loss" not in quantization_line(close)
