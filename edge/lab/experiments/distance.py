"""A3: how far back heads look, and how far back a token can stand to be copied."""

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
"""Random tokens of the list that is repeated, as Olsson et al. 2022 take."""

FURTHEST_TOKENS = 256
"""How far back the list begins at most."""

DISTANCES = 4
SEQUENCES = 8

FAR_KEEPS = 0.5
"""Of what is copied from near; no paper sets it: half is where one would say that distance does not matter most."""

COPIES = 0.1
"""Of the list's tokens, predicted from far beyond those that are with no earlier copy; our own choice."""


@dataclass(frozen=True)
class Copied:
    """How well the list's tokens after the first are predicted when it comes again, prompt by prompt.

    Attributes:
        shares: Those that are the likeliest token.
        probabilities: Their mean probability.
    """

    shares: Float64[np.ndarray, " prompt"]
    probabilities: Float64[np.ndarray, " prompt"]

    @property
    def share(self) -> float:
        """The mean over prompts."""
        return float(self.shares.mean())


@dataclass(frozen=True)
class Layout:
    """How a prompt is made: a list, random filler before and between, and the list again, always at the same place."""

    list_tokens: int
    distances: tuple[int, ...]

    @property
    def tokens(self) -> int:
        return self.distances[-1] + self.list_tokens


def layout_of(lab: LabContext) -> Layout | None:
    """Distances from the list's length to as far as the context; None where there is no room for two tokens."""
    room = lab.spec.context - len(lab.start_tokens)
    listed = min(LIST_TOKENS, room // 4, lab.spec.vocab_size // 4)
    if listed < 2:
        return None
    furthest = max(min(FURTHEST_TOKENS, room - listed), listed)
    return Layout(listed, tuple(int(step) for step in np.geomspace(listed, furthest, DISTANCES).round()))


def prompt(lab: LabContext, layout: Layout, number: int, distance: int | None) -> list[int]:
    """One prompt; with None the list comes for the first time, after filler alone. Only the first copy moves."""
    random = np.random.default_rng([SEED, number])
    drawn = repeated_tokens(lab.spec.vocab_size, random, tokens=lab.spec.vocab_size, times=1)
    listed, others = drawn[: layout.list_tokens], drawn[layout.list_tokens :]
    ids: Int64[np.ndarray, " token"] = random.choice(others, layout.tokens)
    ids[-len(listed) :] = listed
    if distance is not None:
        start = layout.tokens - len(listed) - distance
        ids[start : start + len(listed)] = listed
    return [*lab.start_tokens, *(int(id) for id in ids)]


def asks(lab: LabContext, layout: Layout, number: int) -> list[Prompt]:
    """One prompt at every distance, the nearest copy first, and last without one: they share what stands before it."""
    distances = (None, *layout.distances)
    return [Prompt(tuple(prompt(lab, layout, number, one)), rows=layout.list_tokens) for one in distances]


def copied(lab: LabContext, layout: Layout) -> list[Copied]:
    """With no earlier copy, then at every distance, over all prompts."""
    found = np.array([_read(lab, asks(lab, layout, number)) for number in range(SEQUENCES)], np.float64)
    return [Copied(*one) for one in np.moveaxis(found, 0, 2)]


def _read(lab: LabContext, prompts: list[Prompt]) -> list[tuple[float, float]]:
    """The share of right answers and the mean probability, prompt by prompt, which all end with the same list."""
    truth = np.array(prompts[0].ids[-prompts[0].rows + 1 :])

    def read(logits: Float32[np.ndarray, "row vocab"]) -> tuple[float, float]:
        right = float(np.mean(logits[:-1].argmax(axis=-1) == truth))
        return right, float(np.exp(-token_losses_nats(logits[:-1], truth)).mean())

    return lab.read_logits(prompts, read)


def effects(none: Copied, near: Copied, away: Copied) -> tuple[Effect, ...]:
    """What copying from far adds to no copy at all, and what it keeps of copying from near."""
    return (
        effect_of(
            mean_interval(away.shares - none.shares),
            key="copied_far",
            label="tokens predicted from far, less those predicted with no earlier copy",
            unit="share",
            threshold=COPIES,
            threshold_reason=f"our own choice; with no earlier copy {none.share:.1%} are predicted",
            sample_unit="prompts",
        ),
        effect_of(
            jackknife(np.stack([away.shares, near.shares], axis=1), ratio),
            key="kept_from_near",
            label="tokens predicted from far, of those predicted from near",
            unit="share",
            threshold=FAR_KEEPS,
            threshold_reason="half; no paper sets it",
            sample_unit="prompts",
        ),
    )


def measure(lab: LabContext) -> Finding:
    layout = layout_of(lab)
    if layout is None:
        return not_applicable("a list of two tokens and its repeat do not fit the context; a longer one is needed")
    looks = lab.cached(passage_scores)
    far, even, first, even_first = (
        over_tokens(score) for score in (looks.heads.distance, looks.even.distance, looks.heads.first, looks.even.first)
    )
    chance, *curve = copied(lab, layout)
    near, away = curve[0], curve[-1]
    layer = int(far.max(axis=1).argmax())
    mean, longest = float(far.mean()), float(far.max())
    return Finding(
        f"Heads look {mean:.0f} tokens back on average ({even.mean():.0f} if they looked evenly), the furthest "
        f"{longest:.0f}; {first.mean():.0%} of all attention goes to the first token. Of random tokens that come again "
        f"{near.share:.0%} are predicted from {layout.distances[0]} tokens back and {away.share:.0%} from "
        f"{layout.distances[-1]} ({chance.share:.1%} with no earlier copy).",
        effects(chance, near, away),
        (
            Number("mean_distance_tokens", "how far back heads look", mean, "tokens", float(even.mean())),
            Number(
                "longest_mean_distance_tokens", "the head that looks furthest", longest, "tokens", float(even[layer])
            ),
            Number(
                "first_token_share", "attention to the first", float(first.mean()), "share", float(even_first.mean())
            ),
            Number(
                "copied_share_near",
                "repeated tokens predicted, the list just before",
                near.share,
                "share",
                chance.share,
            ),
            Number("copied_share_far", "the same from as far as was tried", away.share, "share", chance.share),
            Number("far_tokens", "how far that is", float(layout.distances[-1]), "tokens"),
        ),
        curves=(
            Curve(
                "repeated tokens predicted",
                "tokens back",
                tuple(str(distance) for distance in layout.distances),
                "share",
                (
                    Series("likeliest token", tuple(point.share for point in curve)),
                    Series("probability", tuple(float(point.probabilities.mean()) for point in curve)),
                    Series("no earlier copy", (chance.share,) * len(curve)),
                ),
            ),
        ),
        grids=(head_grid("mean distance", "tokens", far),),
    )


def cost_tokens(lab: LabContext) -> int:
    layout = layout_of(lab)
    return sum(fed_tokens(asks(lab, layout, number)) for number in range(SEQUENCES)) if layout else 0


EXPERIMENT = Experiment(
    key="A3",
    title="attention reaches far",
    question="How far back do heads look, and from how far back can a token be copied?",
    method=f"Mean of `Σ_j p_ij (i - j)` over {MAX_WINDOWS} windows of the passage at most, beside that of a head that "
    f"looks evenly at all it sees. And: a list of {LIST_TOKENS} random tokens comes again, at the same place of every "
    f"prompt, its first copy beginning at several distances back, at most {FURTHEST_TOKENS}, with random filler "
    "around: the share of its tokens after the first that are the likeliest one. The baseline has no first copy.",
    rule=f"from as far back as the context allows, at most {FURTHEST_TOKENS} tokens, more than {COPIES:.0%} of tokens "
    f"are predicted beyond those with no earlier copy, and more than {FAR_KEEPS:.0%} of those from just before",
    source="Vig and Belinkov 2019, arXiv 1906.04284 (distance); Olsson et al. 2022, arXiv 2209.11895 (repeats)",
    cost_tokens=cost_tokens,
    measure=measure,
)
