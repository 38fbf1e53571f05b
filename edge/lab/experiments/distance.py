"""A3: the attention distance of heads, and the distance over which tokens are copied."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from edge.compare.estimate import token_losses_nats
from edge.lab.claim import Curve, Experiment, Finding, Number, Series, not_applicable
from edge.lab.context import LabContext
from edge.lab.effect import Effect, effect_of
from edge.lab.experiments.pattern_scores import MAX_WINDOWS, over_tokens, passage_scores
from edge.lab.experiments.patterns import head_grid
from edge.lab.passes import Prompt, fed_tokens
from edge.lab.prompts import SEED
from edge.lab.sample import jackknife, mean_interval, ratio
from edge.repeated_tokens import repeated_tokens

LIST_TOKENS = 25
"""Length of the repeated list of random tokens (Olsson et al. 2022)."""

FURTHEST_TOKENS = 256
"""Largest distance between the two copies of the list, in tokens."""

DISTANCES = 4
SEQUENCES = 8

FAR_KEEPS = 0.5
"""Accuracy at the largest distance, relative to the shortest distance; our own choice, no paper sets it."""

COPIES = 0.1
"""Accuracy at the largest distance, minus that without an earlier copy; our own choice, no paper sets it."""


@dataclass(frozen=True)
class CopyAccuracy:
    """How well the tokens of the second copy, without its first token, are predicted in each prompt.

    Attributes:
        shares: Share of tokens that are the top-1 prediction.
        probabilities: Mean probability of the tokens.
    """

    shares: Float64[np.ndarray, " prompt"]
    probabilities: Float64[np.ndarray, " prompt"]

    @property
    def share(self) -> float:
        """The mean over prompts."""
        return float(self.shares.mean())


@dataclass(frozen=True)
class Layout:
    """The layout of a prompt: random filler, a list, random filler, and the list again at a fixed position."""

    list_tokens: int
    distances: tuple[int, ...]

    @property
    def tokens(self) -> int:
        return self.distances[-1] + self.list_tokens


def layout_of(lab: LabContext) -> Layout | None:
    """Distances from the list's length up to the context; None if the context has no room for two copies."""
    room = lab.spec.context - len(lab.start_tokens)
    listed = min(LIST_TOKENS, room // 4, lab.spec.vocab_size // 4)
    if listed < 2:
        return None
    furthest = max(min(FURTHEST_TOKENS, room - listed), listed)
    return Layout(listed, tuple(int(step) for step in np.geomspace(listed, furthest, DISTANCES).round()))


def prompt(lab: LabContext, layout: Layout, number: int, distance: int | None) -> list[int]:
    """One prompt; without an earlier copy if `distance` is None. Only the position of the first copy changes."""
    random = np.random.default_rng([SEED, number])
    sampled = repeated_tokens(lab.spec.vocab_size, random, tokens=lab.spec.vocab_size, times=1)
    listed, others = sampled[: layout.list_tokens], sampled[layout.list_tokens :]
    ids: Int64[np.ndarray, " token"] = random.choice(others, layout.tokens)
    ids[-len(listed) :] = listed
    if distance is not None:
        start = layout.tokens - len(listed) - distance
        ids[start : start + len(listed)] = listed
    return [*lab.start_tokens, *(int(id) for id in ids)]


def prompts_of(lab: LabContext, layout: Layout, number: int) -> list[Prompt]:
    """The prompts without an earlier copy and with a copy at each distance; they share prefixes."""
    distances = (None, *layout.distances)
    return [Prompt(tuple(prompt(lab, layout, number, one)), rows=layout.list_tokens) for one in distances]


def copy_accuracies(lab: LabContext, layout: Layout) -> list[CopyAccuracy]:
    """Without an earlier copy, then at each distance, over all prompts."""
    found = np.array([_read(lab, prompts_of(lab, layout, number)) for number in range(SEQUENCES)], np.float64)
    return [CopyAccuracy(*one) for one in np.moveaxis(found, 0, 2)]


def _read(lab: LabContext, prompts: list[Prompt]) -> list[tuple[float, float]]:
    """The share of correct top-1 tokens and the mean probability, for each prompt; all end with the same list."""
    truth = np.array(prompts[0].ids[-prompts[0].rows + 1 :])

    def read(logits: Float32[np.ndarray, "row vocab"]) -> tuple[float, float]:
        correct = float(np.mean(logits[:-1].argmax(axis=-1) == truth))
        return correct, float(np.exp(-token_losses_nats(logits[:-1], truth)).mean())

    return lab.read_logits(prompts, read)


def effects(none: CopyAccuracy, near: CopyAccuracy, far: CopyAccuracy) -> tuple[Effect, ...]:
    """Copying at the largest distance, compared with no earlier copy and with the shortest distance."""
    return (
        effect_of(
            mean_interval(far.shares - none.shares),
            key="copied_far",
            label="repeated tokens predicted at the largest distance, minus those without an earlier copy",
            unit="share_difference",
            threshold=COPIES,
            threshold_reason=f"our own choice; without an earlier copy {none.share:.1%} of tokens are predicted",
            sample_unit="prompts",
        ),
        effect_of(
            jackknife(np.stack([far.shares, near.shares], axis=1), ratio),
            key="far_over_near",
            label="repeated tokens predicted at the largest distance, relative to the shortest distance",
            unit="share",
            threshold=FAR_KEEPS,
            threshold_reason="half; our own choice, no paper sets it",
            sample_unit="prompts",
        ),
    )


def _predicted(distances: Sequence[int], curve: Sequence[CopyAccuracy], chance: CopyAccuracy) -> Curve:
    """The share of repeated tokens that are predicted at each distance, and without an earlier copy."""
    return Curve(
        "repeated tokens predicted",
        "distance, tokens",
        tuple(str(distance) for distance in distances),
        "share",
        (
            Series("top-1 token", tuple(point.share for point in curve)),
            Series("probability", tuple(float(point.probabilities.mean()) for point in curve)),
            Series("top-1 token, no earlier copy", (chance.share,) * len(curve)),
        ),
    )


def measure(lab: LabContext) -> Finding:
    layout = layout_of(lab)
    if layout is None:
        return not_applicable("the context is too short for two copies of a list of two tokens")
    scores = lab.cached(passage_scores)
    distance, uniform, first, uniform_first = (
        over_tokens(score)
        for score in (scores.heads.distance, scores.uniform.distance, scores.heads.first, scores.uniform.first)
    )
    chance, *curve = copy_accuracies(lab, layout)
    near, far = curve[0], curve[-1]
    layer = int(distance.max(axis=1).argmax())
    mean, longest = float(distance.mean()), float(distance.max())
    return Finding(
        f"The mean attention distance of heads is {mean:.0f} tokens (uniform attention: {uniform.mean():.0f}); the "
        f"largest of a head is {longest:.0f} tokens. The first token gets {first.mean():.0%} of all attention. At a "
        f"distance of {layout.distances[0]} tokens, {near.share:.0%} of repeated random tokens are predicted; at "
        f"{layout.distances[-1]} tokens {far.share:.0%}; without an earlier copy {chance.share:.1%}.",
        effects(chance, near, far),
        (
            Number("mean_distance_tokens", "mean attention distance", mean, "tokens", float(uniform.mean())),
            Number(
                "longest_mean_distance_tokens",
                "mean attention distance, head with the largest",
                longest,
                "tokens",
                float(uniform[layer]),
            ),
            Number(
                "first_token_share",
                "attention to the first token",
                float(first.mean()),
                "share",
                float(uniform_first.mean()),
            ),
            Number(
                "copied_share_near", "repeated tokens predicted, shortest distance", near.share, "share", chance.share
            ),
            Number("copied_share_far", "repeated tokens predicted, largest distance", far.share, "share", chance.share),
            Number("far_tokens", "largest distance", float(layout.distances[-1]), "tokens"),
        ),
        curves=(_predicted(layout.distances, curve, chance),),
        grids=(head_grid("mean attention distance", "tokens", distance),),
    )


def cost_tokens(lab: LabContext) -> int:
    layout = layout_of(lab)
    return sum(fed_tokens(prompts_of(lab, layout, number)) for number in range(SEQUENCES)) if layout else 0


EXPERIMENT = Experiment(
    key="A3",
    title="Attention works over long distances",
    question="How far back do heads attend, and over which distance can the model copy a token?",
    method=f"Attention distance: mean of `Σ_j p_ij (i - j)` over at most {MAX_WINDOWS} windows of the passage. "
    f"Baseline: uniform attention over all visible keys. Copying: a list of {LIST_TOKENS} random tokens is repeated at "
    f"a fixed position. Its first copy begins up to {FURTHEST_TOKENS} tokens earlier, at several distances; the other "
    "tokens are random filler. Accuracy is the share of the repeated tokens, without the first, that are the top-1 "
    "prediction. Baseline: no earlier copy.",
    rule=f"At the largest distance that fits the context, at most {FURTHEST_TOKENS} tokens, the accuracy exceeds the "
    f"baseline by more than {100 * COPIES:.0f} percentage points. It is more than {FAR_KEEPS:.0%} of the accuracy at "
    "the shortest distance.",
    source="Vig and Belinkov 2019, arXiv 1906.04284 (distance); Olsson et al. 2022, arXiv 2209.11895 (repeats)",
    cost_tokens=cost_tokens,
    measure=measure,
)
