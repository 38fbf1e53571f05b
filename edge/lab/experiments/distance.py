"""A3: how far back heads look, and how far back a token can stand to be copied."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from edge.compare.estimate import costs_nats
from edge.lab.claim import Curve, Experiment, Finding, Number, Series, Verdict, not_applicable
from edge.lab.experiments.patterns import even_pattern, head_grid, layer_patterns
from edge.lab.prompts import SEED
from edge.lab.subject import Subject
from edge.measure.attention import first_token_share, mean_distance
from edge.probes import repeated_tokens

LIST_TOKENS = 25
"""Random tokens of the list that is repeated, as Olsson et al. 2022 take."""

FURTHEST_TOKENS = 256
"""How far back the list begins at most."""

DISTANCES = 6
SEQUENCES = 8

FAR_KEEPS = 0.5
"""Of what is copied from near; no paper sets it: half is where one would say that distance does not matter most."""

COPIES = 2.0
"""Times what is foretold without an earlier copy, below which a model cannot be said to copy."""


@dataclass(frozen=True)
class Copied:
    """How well the list's tokens after the first are foretold when it comes again.

    Attributes:
        share: Those that are the likeliest token.
        error: Its standard error, prompts being the sample.
        probability: Their mean probability.
    """

    share: float
    error: float
    probability: float


@dataclass(frozen=True)
class Layout:
    """How a prompt is made: a list, random filler before and between, and the list again, always at the same place."""

    list_tokens: int
    distances: tuple[int, ...]

    @property
    def tokens(self) -> int:
        return self.distances[-1] + self.list_tokens


def layout_of(subject: Subject) -> Layout | None:
    """Distances from the list's length to as far as the context; None where there is no room for two tokens."""
    room = subject.spec.context - len(subject.begin)
    listed = min(LIST_TOKENS, room // 4, subject.spec.vocab_size // 4)
    if listed < 2:
        return None
    furthest = max(min(FURTHEST_TOKENS, room - listed), listed)
    return Layout(listed, tuple(int(step) for step in np.geomspace(listed, furthest, DISTANCES).round()))


def prompt(subject: Subject, layout: Layout, number: int, distance: int | None) -> list[int]:
    """One prompt; with None the list comes for the first time, after filler alone. Only the first copy moves."""
    random = np.random.default_rng([SEED, number])
    drawn = repeated_tokens(subject.spec.vocab_size, random, tokens=subject.spec.vocab_size, times=1)
    listed, others = drawn[: layout.list_tokens], drawn[layout.list_tokens :]
    ids: Int64[np.ndarray, " token"] = random.choice(others, layout.tokens)
    ids[-len(listed) :] = listed
    if distance is not None:
        start = layout.tokens - len(listed) - distance
        ids[start : start + len(listed)] = listed
    return [*subject.begin, *(int(id) for id in ids)]


def copied(subject: Subject, layout: Layout, distance: int | None) -> Copied:
    """Over all prompts of one distance."""
    right, probabilities = [], []
    for number in range(SEQUENCES):
        ids = prompt(subject, layout, number, distance)
        truth = np.array(ids[-layout.list_tokens + 1 :])
        logits = subject.logits(ids)[-layout.list_tokens : -1]
        right.append(np.mean(logits.argmax(axis=-1) == truth))
        probabilities.append(np.exp(-costs_nats(logits, truth)).mean())
    error = float(np.std(right, ddof=1) / np.sqrt(SEQUENCES))
    return Copied(float(np.mean(right)), error, float(np.mean(probabilities)))


def looked_back(subject: Subject) -> Iterator[tuple[Float64[np.ndarray, " head"], float, float, float]]:
    """Of each layer: mean distance of each head, that of even attention, and the first token's share of both."""
    for layer, kind in enumerate(subject.spec.layers):
        rows = [(layer_patterns(trace, layer), even_pattern(trace.n_fed, kind.reach)) for trace in subject.traces]
        far = np.concatenate([mean_distance(own) for own, _ in rows], axis=-1).mean(axis=-1, dtype=np.float64)
        even = np.concatenate([mean_distance(look) for _, look in rows]).mean(dtype=np.float64)
        first = np.concatenate([first_token_share(own) for own, _ in rows], axis=-1).mean(dtype=np.float64)
        even_first = np.concatenate([first_token_share(look) for _, look in rows]).mean(dtype=np.float64)
        yield far, float(even), float(first), float(even_first)


def measure(subject: Subject) -> Finding:
    layout = layout_of(subject)
    if layout is None:
        return not_applicable("a list of two tokens and its repeat do not fit the context; a longer one is needed")
    far, even, first, even_first = (np.array(column) for column in zip(*looked_back(subject), strict=True))
    curve = [copied(subject, layout, distance) for distance in layout.distances]
    chance, near, away = copied(subject, layout, None), curve[0], curve[-1]
    layer = int(far.max(axis=1).argmax())
    mean, longest = float(far.mean()), float(far.max())
    can_copy = near.share > COPIES * chance.share
    holds = can_copy and away.share > COPIES * chance.share and away.share >= FAR_KEEPS * near.share
    return Finding(
        Verdict.HOLDS if holds else Verdict.FAILS,
        f"Heads look {mean:.0f} tokens back on average ({even.mean():.0f} if they looked evenly), the furthest "
        f"{longest:.0f}; {first.mean():.0%} of all attention goes to the first token. Of random tokens that come again "
        f"{near.share:.0%} are foretold from {layout.distances[0]} tokens back and {away.share:.0%} ± "
        f"{away.error:.0%} from {layout.distances[-1]} ({chance.share:.1%} with no earlier copy).",
        (
            Number("mean_distance_tokens", "how far back heads look", mean, "tokens", float(even.mean())),
            Number(
                "longest_mean_distance_tokens", "the head that looks furthest", longest, "tokens", float(even[layer])
            ),
            Number(
                "first_token_share", "attention to the first", float(first.mean()), "share", float(even_first.mean())
            ),
            Number(
                "copied_share_near", "repeated tokens foretold, the list just before", near.share, "share", chance.share
            ),
            Number("copied_share_far", "the same from as far as was tried", away.share, "share", chance.share),
            Number("far_tokens", "how far that is", float(layout.distances[-1]), "tokens"),
        ),
        curves=(
            Curve(
                "repeated tokens foretold",
                "tokens back",
                tuple(str(distance) for distance in layout.distances),
                "share",
                (
                    Series("likeliest token", tuple(point.share for point in curve)),
                    Series("probability", tuple(point.probability for point in curve)),
                    Series("no earlier copy", (chance.share,) * len(curve)),
                ),
            ),
        ),
        grids=(head_grid("mean distance", "tokens", far),),
    )


def cost_tokens(subject: Subject) -> int:
    layout = layout_of(subject)
    each = len(subject.begin) + layout.tokens if layout else 0
    return SEQUENCES * (DISTANCES + 1) * each


EXPERIMENT = Experiment(
    key="A3",
    claim="attention reaches far",
    asks="How far back do heads look, and from how far back can a token be copied?",
    how="Mean of `Σ_j p_ij (i - j)` over the passage, beside that of a head that looks evenly at all it sees. And: a "
    f"list of {LIST_TOKENS} random tokens comes again, at the same place of every prompt, its first copy beginning at "
    f"several distances back, at most {FURTHEST_TOKENS}, with random filler around: the share of its tokens after the "
    "first that are the likeliest one. The baseline has no first copy.",
    rule=f"from as far back as the context allows, at most {FURTHEST_TOKENS} tokens, at least {FAR_KEEPS:.0%} as many "
    f"tokens are foretold as from just before, and more than {COPIES:.0f} times as many as with no earlier copy",
    source="Vig and Belinkov 2019, arXiv 1906.04284 (distance); Olsson et al. 2022, arXiv 2209.11895 (repeats)",
    cost_tokens=cost_tokens,
    measure=measure,
)
