"""Copying is trained before text: one head is given, the other is learned, and the FFN has no part in it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from edge.attention_pattern import attention_pattern
from models.decoder import Decoder
from models.kernels import FullPass
from models.spec import Activation
from models.training.copying import BATCH, LENGTH, learn_to_copy
from models.training.corpus import Corpus
from models.training.induction import induction_scores
from models.training.recipe import FABLE, Recipe
from models.training.train import new_decoder, read_log
from tests.models.runs import TINY, run

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = replace(TINY, d_model=64, n_heads=4, length=LENGTH, peak_rate=3e-3, warmup=50, copy_steps=400)


def pattern_of(decoder: Decoder, ids: np.ndarray, head: int) -> np.ndarray:
    """The attention of one head of the first layer."""
    seen: dict[str, np.ndarray] = {}

    def see(site: str, value: torch.Tensor) -> torch.Tensor:
        seen[site] = value.detach().numpy()
        return value

    kernels = FullPass(len(ids))
    with torch.no_grad():
        decoder(torch.from_numpy(ids), kernels.positions, kernels, see)
    query, key = (seen[f"layers.0.attn.{side}"][:, head] for side in ("query", "key"))
    kind = decoder.spec.layers[0].attention
    return attention_pattern(query, key, kind.scale, kind.window)


def test_some_heads_begin_by_looking_one_token_back() -> None:
    """Those the recipe counts, whatever the tokens are; the others look everywhere."""
    decoder, random = new_decoder(replace(FABLE, n_layers=1)), np.random.default_rng(0)
    ids = random.integers(0, FABLE.vocab_size, 100)
    back = [float(np.diag(pattern_of(decoder, ids, head), -1).mean()) for head in range(FABLE.n_heads)]
    given, others = back[: FABLE.looking_back], back[FABLE.looking_back :]
    assert min(given) > 0.8, f"heads that should look back give {min(given):.2f} of their attention to it"
    assert max(others) < 0.1, f"another head gives {max(others):.2f} of its attention to the token before"


def losses_of(recipe: Recipe, corpus: Corpus) -> tuple[list[float], Decoder]:
    decoder = new_decoder(recipe)
    return list(learn_to_copy(recipe, decoder, corpus.train, compiled=False)), decoder


def test_both_models_learn_to_copy_without_their_ffn(corpus: Corpus) -> None:
    """The activation has no part in it: the same losses, and FFN weights that no update touched."""
    (relu, decoder), (gelu, _) = (
        losses_of(replace(TINY, activation=kind), corpus) for kind in (Activation.RELU, Activation.GELU)
    )
    assert relu == gelu and len(relu) == TINY.copy_steps, f"the twins cost {relu} and {gelu}"
    fresh = new_decoder(TINY).state_dict()
    for name, weight in decoder.state_dict().items():
        if ".ffn." in name:
            assert torch.equal(weight, fresh[name]), f"{name} changed though no FFN was run"


def test_a_head_that_copies_forms(corpus: Corpus) -> None:
    """In the second layer, after 400 updates of a small decoder; the loss of repeats falls with it."""
    losses, decoder = losses_of(SMALL, corpus)
    first, second = induction_scores(decoder, SMALL.seed).max(axis=1)
    assert second > 0.2, f"the best head of the second layer scores {second:.2f}, of the first {first:.2f}"
    assert np.mean(losses[-20:]) < 0.5 * losses[0], f"the loss went from {losses[0]:.2f} to {losses[-1]:.2f} only"


def test_a_log_has_the_loss_of_copying(corpus: Corpus, tmp_path) -> None:
    run(corpus, tmp_path, stop_at=1)
    reported = [line for line in read_log(tmp_path) if line["kind"] == "copying"]
    assert [line["updates"] for line in reported] == [1, 2, 3], (
        f"updates {[line['updates'] for line in reported]} were logged"
    )
    assert reported[-1]["tokens"] == 3 * BATCH * LENGTH and all(line["step"] == 0 for line in reported)
