"""The whole comparison: runs the same measurements on every variant, and compares them with the reference's."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from edge import __version__
from edge.compare.estimate import Losses, perplexity
from edge.compare.greedy_decoding import GreedyTokens, first_divergent_token, generate_greedily
from edge.compare.predictions import joined, prediction_difference
from edge.compare.recordings import Recorded, Recordings, compare_activations, compare_predictions
from edge.compare.result import ComparedVariant, Comparison, TextUsed, VariantResult
from edge.compare.routing import is_router_near_tie, routing_differences
from edge.compare.sites import first_divergent_site
from edge.compare.speed import Speed, default_workload, measure_speed, memory_of
from edge.compare.tokenized_text import LONGEST_WINDOW, TokenizedText, windows
from edge.compare.tolerances import tolerance_of
from edge.compare.variants import OpenVariant
from edge.engines.choice import engine_of
from edge.measure.registry import SHARE_MEASURES
from edge.profile.memory import Memory
from edge.session import Model
from models.progress import Progress

PROMPT, NEW_TOKENS = 32, 64
"""Prompt length and number of generated tokens of greedy decoding, if the context allows."""


@dataclass(frozen=True)
class VariantDescription:
    """Name, engine, threads and versions of a variant."""

    model: str
    engine: str
    threads: int
    versions: dict[str, str]


@dataclass(frozen=True)
class VariantMeasurements:
    """All measurements of one variant."""

    description: VariantDescription
    speed: Speed
    memory: Memory
    seen: Recorded
    greedy: GreedyTokens


def compare(
    members: Sequence[OpenVariant], passage: TokenizedText, *, rounds: int, tolerance: float | None, progress: Progress
) -> Comparison:
    """Compares every member with the first.

    Args:
        rounds: Timing rounds, interleaved between variants.
        tolerance: Largest relative error of a site that counts as equal; None for the tolerance of the precisions.
    """
    context = min(member.spec.context for member in members)
    shown = list(windows(passage.ids, min(LONGEST_WINDOW, context)))
    first = shown[0].ids
    remotes = [member.remote for member in members]
    description = [one.call(_describe) for one in remotes]
    progress(f"timing {rounds} rounds of each variant, interleaved, after a warm-up round")
    workload = default_workload([member.spec for member in members])
    speeds = measure_speed(remotes, workload, rounds)
    memory = [memory_of(one, workload) for one in remotes]  # before activations are recorded, which needs more memory
    with TemporaryDirectory(prefix="edge-compare-") as folder:
        recordings = Recordings(Path(folder))
        seen = compare_activations(members, first, recordings, progress)
        compare_predictions(members, shown, seen, recordings, progress)
    prompt = first[: min(PROMPT, context - 1)]
    tokens = min(NEW_TOKENS, context - len(prompt))
    progress(f"greedy decoding of {tokens} tokens after the first {len(prompt)}")
    greedy = [one.call(generate_greedily, prompt, tokens) for one in remotes]
    measured = [VariantMeasurements(*own) for own in zip(description, speeds, memory, seen, greedy, strict=True)]
    used = TextUsed(passage.source, len(passage.ids), len(first), len(prompt), tokens)
    return _put_together(members, measured, used, remotes[0].call(_pieces, first), tolerance)


def _describe(model: Model) -> VariantDescription:
    return VariantDescription(model.name, model.engine, model.threads, {"edge": __version__, **model.versions})


def _pieces(model: Model, ids: tuple[int, ...]) -> tuple[str, ...]:
    """Token ids as labels."""
    return tuple(model.tokenizer.piece(id) if model.tokenizer else f"<{id}>" for id in ids)


def _put_together(
    members: Sequence[OpenVariant],
    measured: Sequence[VariantMeasurements],
    text: TextUsed,
    pieces: tuple[str, ...],
    tolerance: float | None,
) -> Comparison:
    scores = [joined(own.seen.scores) for own in measured[1:]]
    costs = [scores[0].reference_loss_nats, *(own.loss_nats for own in scores)]
    subjects = [_subject(member.name, own, cost) for member, own, cost in zip(members, measured, costs, strict=True)]
    variants = []
    for subject, own, score in zip(subjects[1:], measured[1:], scores, strict=True):
        own_tolerance = (
            tolerance_of(engine_of(measured[0].description.engine), engine_of(own.description.engine))
            if tolerance is None
            else tolerance
        )
        place = first_divergent_site(own.seen.errors, own_tolerance, pieces)
        variants.append(
            ComparedVariant(
                **vars(subject),
                predictions=prediction_difference(score),
                tolerance=own_tolerance,
                sites={site: float(off.max()) for site, off in own.seen.errors.items()},
                first_divergent_site=place,
                first_divergent_token=first_divergent_token(own.greedy, measured[0].greedy),
                heads=tuple(own.seen.heads),
                routing=routing_differences(own.seen.routing),
                router_near_tie=is_router_near_tie(place, own.seen.routing),
            )
        )
    return Comparison(subjects[0], tuple(variants), text, tolerance)


def _subject(name: str, own: VariantMeasurements, costs: Losses) -> VariantResult:
    by_measure = zip(*own.seen.sparsity, strict=True) if own.seen.sparsity else [()] * len(SHARE_MEASURES)
    return VariantResult(
        name=name,
        model=own.description.model,
        engine=own.description.engine,
        threads=own.description.threads,
        versions=own.description.versions,
        perplexity=perplexity(costs),
        sparsity={measure.key: tuple(shares) for measure, shares in zip(SHARE_MEASURES, by_measure, strict=True)},
        speed=own.speed,
        memory=own.memory,
    )
