"""Prepares a decoder for induction before it is trained on text: previous-token heads, and training on repeats.

Induction needs two heads: a previous-token head, and an induction head in a later layer that compares the output of the
first with its own token. Each is useless without the other, so training on text alone forms them only after billions of
tokens (Olsson et al. 2022). Here previous-token heads are initialized, and induction heads are trained on repeated
tokens without FFNs.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int, UInt16
from torch import Tensor
from torch.nn import functional as F

from models.decoder import Attention, Block, Decoder
from models.kernels import FullPass, blind, rotate
from models.spec import Rotary
from models.training.batches import UNSCORED, Batch, noise_batch
from models.training.recipe import Recipe

LAYERS = 2
"""Number of first layers whose attention is trained to copy."""

BATCH, LENGTH = 32, 64
"""Sequences per step and tokens per sequence: many short lists."""

_FAST_PAIRS, _STRENGTH = 4, 4.0
"""Rotary features with the highest frequencies distinguish neighboring tokens.

Biases of this size give 0.9 of the attention to one token.
"""


def look_back(decoder: Decoder, heads: int) -> None:
    """Makes `heads` heads of the first layer previous-token heads, through their biases.

    The product of the rotated biases is largest where the key is one token before the query.
    """
    block = decoder.layers[0]
    assert isinstance(block, Block)
    attention = block.attn
    assert isinstance(attention, Attention)
    position, head_dim = attention.kind.position, attention.kind.head_dim
    assert isinstance(position, Rotary)
    query = torch.zeros(position.features)
    query.view(2, -1)[:, :_FAST_PAIRS] = _STRENGTH
    key = rotate(query[None, None], torch.tensor([1]), position).flatten()
    with torch.no_grad():
        for head in range(heads):
            rows = slice(head * head_dim, (head + 1) * head_dim)
            for side, bias in ((attention.query, query), (attention.key, key)):
                side.bias[rows] = bias
                side.weight[rows] *= 0.1


def learn_to_copy(
    recipe: Recipe, decoder: Decoder, text: UInt16[np.ndarray, " all"], compiled: bool
) -> Iterator[float]:
    """Trains the embedding, the attention of the first layers and the head on repeated random tokens.

    Yields the loss of every step, in nats per token. Batches depend on the recipe's seed only.
    """
    parameters = [weight for name, weight in decoder.named_parameters() if "ffn" not in name]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.peak_rate, betas=recipe.betas, weight_decay=0.0, fused=True)
    kernels = FullPass(LENGTH)

    def mean_loss(ids: Int[Tensor, "batch token"], targets: Int[Tensor, "batch token"]) -> Float[Tensor, ""]:
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
            x = decoder.embed(ids, kernels.positions)
            for block in decoder.layers[:LAYERS]:
                assert isinstance(block, Block)
                x = x + block.attn(x, kernels, blind)
            logits = decoder.logits(x)
        return F.cross_entropy(logits.float().flatten(0, -2), targets.flatten(), ignore_index=UNSCORED)

    loss_of = torch.compile(mean_loss) if compiled else mean_loss
    for step in range(recipe.copy_steps):
        batch = _lists(recipe, text, step)
        for group in optimizer.param_groups:
            group["lr"] = recipe.peak_rate * min(1.0, (step + 1) / (recipe.warmup + 1))
        loss = loss_of(torch.from_numpy(batch.ids), torch.from_numpy(batch.targets))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield loss.item()


def _lists(recipe: Recipe, text: UInt16[np.ndarray, " all"], step: int) -> Batch:
    return noise_batch(replace(recipe, batch=BATCH, length=LENGTH), text, np.random.default_rng([recipe.seed, step, 1]))
