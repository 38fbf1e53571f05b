"""Perplexity and divergence against `transformers`, which computes them from the same files in its own way."""

import numpy as np
import pytest
import torch
import transformers
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from edge.compare.result import Comparison
from edge.compare.tokenized_text import TokenizedText, tokenize_text
from models.checkpoint import open_checkpoint
from models.tokenizer import open_tokenizer
from models.zoo import zoo_folder
from tests.edge.compare.in_process import compared

CONTEXT = 512


def truth(name: str, ids: list[int]) -> torch.Tensor:
    """Logits in float32 at every position but the last, each window with an empty context."""
    model = transformers.AutoModelForCausalLM.from_pretrained(zoo_folder(name), dtype=torch.float32).eval()
    with torch.no_grad():
        shown = [ids[start : start + CONTEXT] for start in range(0, len(ids) - 1, CONTEXT)]
        return torch.cat([model(torch.tensor([window])).logits[0] for window in shown])[: len(ids) - 1].double()


@pytest.fixture(scope="module", params=[("fable-relu", "fable-gelu"), ("fable-gelu", "fable-relu")], ids=" ".join)
def bundled(request: pytest.FixtureRequest) -> tuple[Comparison, list[torch.Tensor], list[int]]:
    folders = [zoo_folder(name) for name in request.param]
    assert folders[0] is not None and folders[1] is not None
    tokenizer = open_tokenizer(folders[0])
    assert tokenizer is not None
    passage = tokenize_text(tokenizer, None, 10_000)
    ids = (passage.ids + passage.ids)[:700]
    checkpoints = [open_checkpoint(folder) for folder in folders if folder is not None]
    found = compared([(checkpoint, "onnx") for checkpoint in checkpoints], TokenizedText("twice", ids))
    return found, [truth(name, list(ids)) for name in request.param], list(ids)


def test_perplexity_is_that_of_transformers(bundled: tuple[Comparison, list[torch.Tensor], list[int]]) -> None:
    found, logits, ids = bundled
    targets = torch.tensor(ids[1:])
    costs = [cross_entropy(own, targets, reduction="none") for own in logits]
    values = [float(own.mean().exp()) for own in costs]
    assert len(targets) > CONTEXT, "the text has one window only"
    assert found.reference.perplexity.value == pytest.approx(values[0], rel=1e-5, abs=1e-3)
    assert found.variants[0].perplexity.value == pytest.approx(values[1], rel=1e-5, abs=1e-3)
    assert found.reference.perplexity.error == pytest.approx(values[0] * float(costs[0].std()) / len(costs[0]) ** 0.5)
    assert found.variants[0].predictions.perplexity_difference.value == pytest.approx(values[1] - values[0], abs=1e-3)


def test_divergence_is_that_of_transformers(bundled: tuple[Comparison, list[torch.Tensor], list[int]]) -> None:
    found, (reference, other), _ = bundled
    each = kl_div(log_softmax(other, -1), log_softmax(reference, -1), reduction="none", log_target=True).sum(-1)
    same = found.variants[0].predictions
    got = (same.kl_mean_nats, same.kl_median_nats, same.kl_p99_nats, same.kl_max_nats)
    want = (each.mean().item(), np.median(each), np.quantile(each, 0.99), each.max().item())
    assert got == pytest.approx(want, abs=1e-3), f"KL is {got}, transformers has {want}"
    agree = (other.argmax(-1) == reference.argmax(-1)).double().mean().item()
    assert same.top1_agreement == pytest.approx(agree, abs=2e-3)
    assert same.max_logit_difference == pytest.approx((other - reference).abs().max().item(), abs=1e-3)
