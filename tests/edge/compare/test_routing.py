"""Agreement of routing: counts of flips and near ties, what they must be, and a planted fault of a router."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.commands.compare import sections
from edge.commands.compare_tables import layer_tables
from edge.compare.predictions import NEAR_TIE_NATS
from edge.compare.result import Comparison, from_json, to_json
from edge.compare.routing import (
    TokenRouting,
    is_router_near_tie,
    margins,
    routing_difference,
    routing_differences,
    token_routing,
)
from edge.compare.sites import DivergentSite
from models.spec import Activation, Gated, Groups, MoE, Sigmoid, SoftmaxFirst, TopFirst
from tests.edge.compare.in_process import DEEP, checkpoint_of, compared
from tests.mixtures import mixture_spec

KIND = MoE(n_experts=4, top_k=2, expert=Gated(Activation.SILU, 8, False), router=TopFirst())
TIED, CLEAR = 0.9 * NEAR_TIE_NATS, 1.1 * NEAR_TIE_NATS


def best(scores: np.ndarray, k: int) -> np.ndarray:
    """The k highest scores of each token, experts in ascending order."""
    return np.sort(np.argsort(-scores, axis=-1)[:, :k], axis=-1)


sizes = st.integers(2, 9).flatmap(lambda experts: st.tuples(st.just(experts), st.integers(1, experts)))
seeds = st.integers(0, 2**32 - 1)


@given(sizes, st.integers(1, 20), seeds)
def test_a_variant_beside_itself_has_the_same_experts(size: tuple[int, int], tokens: int, seed: int) -> None:
    experts, k = size
    scores = np.random.default_rng(seed).normal(0, 1, (tokens, experts)).astype(np.float32)
    chosen = best(scores, k)
    found = routing_difference(
        token_routing(chosen, chosen, margins(replace(KIND, n_experts=experts, top_k=k), scores))
    )
    assert (found.same_experts, found.flips, found.near_tie_flips, found.overlap) == (1, 0, 0, 1)


@given(sizes, st.integers(1, 20), seeds, st.floats(0, 2))
def test_a_flip_needs_a_margin_of_at_most_two_changes_of_scores(
    size: tuple[int, int], tokens: int, seed: int, by: float
) -> None:
    experts, k = size
    random = np.random.default_rng(seed)
    reference = random.normal(0, 1, (tokens, experts)).astype(np.float32)
    scores = (reference + by * random.normal(0, 1, reference.shape)).astype(np.float32)
    margin = margins(replace(KIND, n_experts=experts, top_k=k), reference)
    assert margin is not None and (margin >= 0).all()
    same = token_routing(best(scores, k), best(reference, k), margin)
    change = np.abs(scores.astype(np.float64) - reference).max(axis=-1)
    assert (margin[same.flipped] <= 2 * change[same.flipped] + 1e-9).all()
    found, turned = (
        routing_difference(one) for one in (same, token_routing(best(reference, k), best(scores, k), margin))
    )
    assert found == turned, "which variant is the reference changes more than the margins"
    sets = [(set(own), set(other)) for own, other in zip(best(scores, k), best(reference, k), strict=True)]
    assert found.flips == sum(own != other for own, other in sets)
    assert found.same_experts == pytest.approx(1 - found.flips / tokens)
    assert found.overlap == pytest.approx(np.mean([len(own & other) / k for own, other in sets]))
    assert found.same_experts <= found.overlap and (found.near_tie_flips or 0) <= found.flips


def test_one_other_expert_is_one_flip() -> None:
    reference = np.array([[0, 1], [0, 1], [2, 3], [1, 2]])
    chosen = np.array([[0, 1], [0, 2], [0, 1], [2, 1]])
    found = routing_difference(token_routing(chosen, reference, np.array([0, TIED, CLEAR, 0])))
    assert (found.same_experts, found.flips, found.near_tie_flips) == (0.5, 2, 1), "an order of slots is no flip"
    assert found.overlap == (1 + 0.5 + 0 + 1) / 4
    assert routing_difference(token_routing(chosen, reference, None)).near_tie_flips is None


def test_margins_are_between_the_last_expert_and_the_next() -> None:
    scores = np.array([[5, 1, 3, 1 + TIED], [9, 9, 9, 9], [0, -1, np.nan, 2]], np.float32)
    margin = margins(KIND, scores)
    assert margin is not None and margin[:2] == pytest.approx([2 - TIED, 0])
    ones = margins(replace(KIND, top_k=4), scores)
    assert ones is not None and np.isinf(ones).all(), "where all experts are chosen, none can be exchanged"
    plain = Sigmoid(corrected=False, renormalized=True, eps=0.0)
    for router in (plain, SoftmaxFirst(renormalized=True)):
        assert margins(replace(KIND, router=router), scores) == pytest.approx(margin, nan_ok=True)
    assert margins(replace(KIND, router=replace(plain, corrected=True)), scores) is None
    assert margins(replace(KIND, groups=Groups(count=2, kept=1, best=1)), scores) is None


@pytest.mark.parametrize(
    ("site", "layer", "token", "expected"),
    [
        ("layers.1.ffn.router", 1, 0, True),
        ("layers.1.ffn.chosen", 1, 0, True),
        ("layers.1.ffn.neurons", 1, 0, True),
        ("layers.1.ffn.output", 1, 0, True),
        ("layers.1.ffn.router", 1, 1, False),
        ("layers.1.ffn.router", 1, 2, False),
        ("layers.1.ffn.scores", 1, 0, False),
        ("layers.1.ffn.shared.neurons", 1, 0, False),
        ("layers.0.ffn.neurons", 0, 0, False),
        ("logits", None, 0, False),
    ],
)
def test_a_place_is_a_near_tie_after_the_choice_alone(site: str, layer: int | None, token: int, expected: bool) -> None:
    """Token 0 flipped at a near tie, token 1 at a clear margin, token 2 is a near tie without a flip."""
    routing = [None, TokenRouting(np.array([0.5, 0.5, 1]), np.array([True, False, True]))]
    assert is_router_near_tie(DivergentSite(site, layer, token, "x", 1.0), routing) is expected
    unknown = [None, TokenRouting(np.array([0.5, 0.5, 1]), None)]
    assert not is_router_near_tie(DivergentSite(site, layer, token, "x", 1.0), unknown)
    assert not is_router_near_tie(None, routing)


def test_layers_without_a_mixture_have_no_routing() -> None:
    assert routing_differences([None, None]) == ()
    dense = compared([(checkpoint_of(DEEP), "torch")] * 2)
    record = to_json(dense)["variants"][0]
    assert "routing" not in record and "router_near_tie" not in record
    assert "experts" not in "\n".join(sections(dense, "text", 80))


@pytest.fixture(scope="module")
def mixture() -> Comparison:
    """A mixture in torch beside itself in ONNX, and beside one whose router of layer 2 scores expert 0 differently."""
    spec = mixture_spec()
    broken = checkpoint_of(spec, "layers.2.ffn.router.weight", by=3.0)
    return compared([(checkpoint_of(spec), "torch"), (checkpoint_of(spec), "onnx"), (broken, "torch")])


def test_a_fault_of_a_router_shows_in_its_layer(mixture: Comparison) -> None:
    sound, broken = mixture.variants
    assert [row is None for row in sound.routing] == [False, True, False]
    for row in (sound.routing[0], sound.routing[2], broken.routing[0]):
        assert row is not None and (row.same_experts, row.flips, row.near_tie_flips, row.overlap) == (1, 0, 0, 1)
    flipped = broken.routing[2]
    assert flipped is not None and flipped.flips > 0 and 0.5 <= flipped.overlap < 1, "one expert changes, or none"
    assert flipped.same_experts < 1 and flipped.near_tie_flips is not None
    assert broken.first_divergent_site is not None and broken.first_divergent_site.site == "layers.2.ffn.scores"
    assert not broken.router_near_tie and not sound.router_near_tie


def test_routing_survives_json(mixture: Comparison) -> None:
    first = replace(mixture.variants[1], router_near_tie=True)
    found = replace(mixture, variants=(mixture.variants[0], first))
    text = json.dumps(to_json(found), allow_nan=False)
    assert from_json(json.loads(text)) == found, "something was lost in JSON"
    row = json.loads(text)["variants"][1]["routing"]
    assert row[1] is None and list(row[2]) == ["same_experts", "flips", "near_tie_flips", "overlap"]


def test_routing_is_printed_by_layer(mixture: Comparison) -> None:
    (wide,) = layer_tables(mixture, mixture.variants[1], 300)
    narrow = layer_tables(mixture, mixture.variants[1], 80)
    flipped = mixture.variants[1].routing[2]
    assert flipped is not None and [len(one.columns) for one in narrow] == [9, 7, 3]
    assert narrow[2].records()[1:] == [
        {"layer": "1", "same_experts": None, "flips": None},
        {
            "layer": "2",
            "same_experts": wide.records()[2]["same_experts"],
            "flips": f"{flipped.flips} ({flipped.near_tie_flips})",
        },
    ]
    assert narrow[2].records()[0]["same_experts"] == "100%" and narrow[2].records()[0]["flips"] == "0"


def test_a_router_near_tie_is_named(mixture: Comparison) -> None:
    assert "near tie:" not in sections(mixture, "text", 80)[2]
    tied = replace(mixture, variants=(mixture.variants[0], replace(mixture.variants[1], router_near_tie=True)))
    shown = sections(tied, "text", 80)
    assert shown[2].splitlines()[-1] == "Router near tie at that token, which has other experts: torch"
    assert "same experts:" in shown[-1] and "flips (near ties):" in shown[-1]


def test_an_unknown_margin_is_printed(mixture: Comparison) -> None:
    row = mixture.variants[1].routing[2]
    assert row is not None
    one = replace(mixture.variants[1], routing=(None, None, replace(row, flips=3, near_tie_flips=None)))
    assert layer_tables(mixture, one, 80)[2].records()[2]["flips"] == "3 (unknown)"
