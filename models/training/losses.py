"""The losses of training: cross-entropy, and the balance of the experts of a mixture."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from models.decoder import Decoder
from models.sites import SCORES
from models.training.batches import UNSCORED
from models.training.kernels import BlockPass
from models.training.recipe import Recipe

Loss = Callable[[Tensor, Tensor], Tensor]


def summed_loss(decoder: Decoder, bfloat16: bool) -> Loss:
    """A function from ids and targets to the summed loss, in nats."""
    kernels = BlockPass(decoder.spec.context)

    def loss(ids: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits = decoder(ids, kernels.positions, kernels)
        return _nats(logits, targets)

    return loss


def balanced_loss(decoder: Decoder, recipe: Recipe) -> Loss:
    """The same plus the load-balancing loss of all mixtures, times the scored tokens.

    `n_experts · Σ_e load_e · mean probability_e`, averaged over layers, with the share of all choices as load: 1 if it
    is even (Fedus et al. 2022, eq. 4).
    """
    kernels = BlockPass(decoder.spec.context)

    def loss(ids: Tensor, targets: Tensor) -> Tensor:
        balances: list[Tensor] = []

        def see(site: str, value: Tensor, rows: Tensor | None = None) -> Tensor:
            if site.endswith(SCORES):
                balances.append(_balance(value.float(), recipe.top_k))
            return value

        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
            logits = decoder(ids, kernels.positions, kernels, see)
        return _nats(logits, targets) + recipe.balance * (targets != UNSCORED).sum() * torch.stack(balances).mean()

    return loss


def _nats(logits: Float[Tensor, "*batch vocab"], targets: Int[Tensor, "*batch"]) -> Float[Tensor, ""]:
    return F.cross_entropy(logits.float().flatten(0, -2), targets.flatten(), ignore_index=UNSCORED, reduction="sum")


def _balance(scores: Float[Tensor, "token expert"], top_k: int) -> Float[Tensor, ""]:
    chosen = torch.zeros_like(scores).scatter(-1, scores.topk(top_k, dim=-1).indices, 1.0)
    return scores.shape[-1] * (chosen.mean(dim=0) / top_k * torch.softmax(scores, dim=-1).mean(dim=0)).sum()
