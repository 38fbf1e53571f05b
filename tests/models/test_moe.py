"""Experts in torch: what they write and its gradient are those of the sum over experts, for any number of tokens."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.moe import Experts
from models.spec import Activation, Gated, MoE, TopFirst

N_EXPERTS, D_MODEL, NEURONS = 5, 6, 4


def experts(seed: int, bias: bool, top_k: int) -> Experts:
    kind = MoE(n_experts=N_EXPERTS, top_k=top_k, expert=Gated(Activation.SILU, NEURONS, bias=bias), router=TopFirst())
    made, random = Experts(kind, D_MODEL, 0).double(), torch.Generator().manual_seed(seed)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, generator=random)
    return made


def by_the_formula(made: Experts, x: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    """`Σ_e given_e · expert_e(x)` over all experts, chosen or not."""
    output = torch.zeros_like(x)
    for expert in range(N_EXPERTS):
        first, last = (
            (stack.weight[expert], 0 if stack.bias is None else stack.bias[expert]) for stack in (made.first, made.last)
        )
        neurons = made.activations(x @ first[0].T + first[1])
        output = output + given[:, expert, None] * (neurons @ last[0].T + last[1])
    return output


def unseen(_: str, value: torch.Tensor, rows: torch.Tensor | None = None) -> torch.Tensor:
    """A probe that changes nothing."""
    return value


@settings(max_examples=30)
@given(st.integers(0, 2**16), st.integers(1, 9), st.integers(1, N_EXPERTS), st.booleans())
def test_experts_write_the_sum_over_experts_and_have_its_gradient(
    seed: int, tokens: int, top_k: int, bias: bool
) -> None:
    made, random = experts(seed, bias, top_k), torch.Generator().manual_seed(seed)
    x = torch.randn(tokens, D_MODEL, generator=random, dtype=torch.float64).requires_grad_()
    scores = torch.randn(tokens, N_EXPERTS, generator=random, dtype=torch.float64)
    chosen = scores.topk(top_k, dim=-1).indices.sort(dim=-1).values
    weights = torch.zeros_like(scores).scatter(-1, chosen, scores.gather(-1, chosen))
    found, wanted = made.one_by_one(x, weights, chosen, unseen), by_the_formula(made, x, weights)
    torch.testing.assert_close(found, wanted)
    of = (x, *made.parameters())
    gradients, right = (torch.autograd.grad(output.square().sum(), of) for output in (found, wanted))
    for one, other in zip(gradients, right, strict=True):
        torch.testing.assert_close(one, other)


def test_no_tokens_give_no_output() -> None:
    made, none = experts(0, bias=True, top_k=2), torch.zeros(0, D_MODEL, dtype=torch.float64)
    chosen = torch.zeros(0, 2, dtype=torch.int64)
    assert made.one_by_one(none, torch.zeros(0, N_EXPERTS), chosen, unseen).shape == (0, D_MODEL)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_stays_half_precision(kind: torch.dtype) -> None:
    made = experts(0, bias=True, top_k=2).to(kind)
    x, chosen = torch.randn(3, D_MODEL).to(kind), torch.tensor([[0, 1], [1, 4], [0, 4]])
    weights = torch.zeros(3, N_EXPERTS).scatter(-1, chosen, 0.5)
    with torch.no_grad():
        assert made.one_by_one(x, weights, chosen, unseen).dtype is kind
