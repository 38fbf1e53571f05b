"""Agreement of routing between two variants of a mixture of experts, for one layer: equal choices, flips, near ties."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int

from edge.compare.predictions import NEAR_TIE_NATS
from edge.compare.sites import DivergentSite
from edge.trace import Trace
from models.sites import CHOSEN, FFN_OUTPUT, NEURONS, OUTPUT, ROUTER, SCORES, layer_site
from models.spec import MoE, NoGroups, Sigmoid

AFTER_THE_CHOICE = (ROUTER, CHOSEN, NEURONS, FFN_OUTPUT, OUTPUT)
"""The sites of a layer that depend on which experts its router chooses."""


@dataclass(frozen=True)
class TokenRouting:
    """Routing of each token in one layer, compared with the reference's.

    Attributes:
        overlap: `|A ∩ B| / k`, A and B being the experts that the two choose, `k` of each.
        near_tie: Whether the reference's margin is below `NEAR_TIE_NATS`; None if margins are unknown.
    """

    overlap: Float64[np.ndarray, " token"]
    near_tie: Bool[np.ndarray, " token"] | None

    @property
    def flipped(self) -> Bool[np.ndarray, " token"]:
        """Whether the sets of experts differ."""
        return self.overlap < 1

    @property
    def near_tie_flips(self) -> Bool[np.ndarray, " token"] | None:
        """Whether they differ at a near tie; None if margins are unknown."""
        return None if self.near_tie is None else self.flipped & self.near_tie


@dataclass(frozen=True, kw_only=True)
class RoutingDifference:
    """Routing of one layer over all tokens, compared with the reference's.

    Attributes:
        same_experts: Share of tokens with the reference's set of experts: `mean(A == B)`.
        flips: Tokens with another set.
        near_tie_flips: Flips where the reference's margin is below `NEAR_TIE_NATS`; None if margins are unknown.
        overlap: Mean of `|A ∩ B| / k` over tokens.
    """

    same_experts: float
    flips: int
    near_tie_flips: int | None
    overlap: float


def margins(kind: MoE, scores: Float32[np.ndarray, "token expert"]) -> Float64[np.ndarray, " token"] | None:
    """`s_(k) - s_(k+1)` of each token: the k-th highest score, the last that is chosen, minus the next one.

    In nats: for a softmax router it is the difference of log-probabilities, for a sigmoid router that of log-odds.
    Infinite if every expert is chosen. None for a router with groups or a correction, which ranks by other numbers.

    A variant chooses other experts only if the margin is at most twice the largest change of a score: any two scores
    exchange their order only if both changes together exceed their distance. The change of scores thus does not
    distinguish flips from each other, and near ties are margins below a constant, `NEAR_TIE_NATS`.
    """
    if not isinstance(kind.groups, NoGroups) or (isinstance(kind.router, Sigmoid) and kind.router.corrected):
        return None
    if kind.top_k == kind.n_experts:
        return np.full(len(scores), np.inf)
    place = kind.n_experts - kind.top_k
    ranked = np.partition(scores.astype(np.float64), (place - 1, place), axis=-1)
    with np.errstate(invalid="ignore"):
        lead: Float64[np.ndarray, " token"] = ranked[:, place] - ranked[:, place - 1]
    return lead


def token_routing(
    chosen: Int[np.ndarray, "token slot"],
    reference: Int[np.ndarray, "token slot"],
    margin: Float64[np.ndarray, " token"] | None,
) -> TokenRouting:
    """Compares the experts that two variants choose, in any order; `margin` is the reference's."""
    shared = (chosen[:, :, None] == reference[:, None, :]).any(axis=-1)
    return TokenRouting(shared.mean(axis=-1), None if margin is None else margin < NEAR_TIE_NATS)


def layer_routing(seen: Trace, reference: Trace, layer: int) -> TokenRouting | None:
    """Compares the routing of one layer; None if it has no mixture of as many experts and slots in both."""
    kind = reference.spec.layers[layer].ffn
    if not isinstance(kind, MoE):
        return None
    choice, scores = layer_site(layer, CHOSEN), layer_site(layer, SCORES)
    for name in (choice, scores):
        if name not in reference.sites or name not in seen.sites:
            return None
        if seen.sites[name].shape != reference.sites[name].shape:
            return None
    own, other = (trace.site(choice).astype(np.int64) for trace in (seen, reference))
    return token_routing(own, other, margins(kind, reference.site(scores)))


def routing_difference(tokens: TokenRouting) -> RoutingDifference:
    """Summarizes the routing of a layer."""
    tied = tokens.near_tie_flips
    return RoutingDifference(
        same_experts=float((~tokens.flipped).mean()),
        flips=int(tokens.flipped.sum()),
        near_tie_flips=None if tied is None else int(tied.sum()),
        overlap=float(tokens.overlap.mean()),
    )


def routing_differences(layers: Sequence[TokenRouting | None]) -> tuple[RoutingDifference | None, ...]:
    """Summarizes each layer; empty if none has routing to compare."""
    if not any(layers):
        return ()
    return tuple(None if tokens is None else routing_difference(tokens) for tokens in layers)


def is_router_near_tie(at: DivergentSite | None, routing: Sequence[TokenRouting | None]) -> bool:
    """Whether `at` depends on the choice of its layer's router, which flipped at the token of `at` by a near tie."""
    if at is None or at.layer is None or at.layer >= len(routing):
        return False
    tokens = routing[at.layer]
    if tokens is None or tokens.near_tie_flips is None:
        return False
    follows = at.site in {layer_site(at.layer, part) for part in AFTER_THE_CHOICE}
    return follows and bool(tokens.near_tie_flips[at.token])
