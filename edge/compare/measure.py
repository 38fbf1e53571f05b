"""The whole comparison: asks every variant the same things, and puts the answers beside the reference's."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from edge import __version__
from edge.compare.estimate import Costs, perplexity
from edge.compare.gather import Recordings, Seen, look_inside, read
from edge.compare.greedy import Choices, choose, parting
from edge.compare.members import Member
from edge.compare.pace import Pace, memory_of, take_paces, usual_course
from edge.compare.result import Compared, Comparison, Subject, TextUsed
from edge.compare.sameness import joined, sameness_of
from edge.compare.sites import departure
from edge.compare.tokenized_text import LONGEST_WINDOW, TokenizedText, windows
from edge.compare.tolerances import tolerance_of
from edge.engines.choice import engine_of
from edge.measure.registry import SHARES
from edge.profile.memory import Memory
from edge.session import Model
from models.progress import Progress

PROMPT, NEW_TOKENS = 32, 64
"""Tokens of the text after which variants choose their own, and how many they choose, where the context allows."""


@dataclass(frozen=True)
class Told:
    """What a variant says of itself."""

    model: str
    engine: str
    threads: int
    versions: dict[str, str]


@dataclass(frozen=True)
class Answers:
    """Everything that one variant answered."""

    told: Told
    pace: Pace
    memory: Memory
    seen: Seen
    choices: Choices


def compare(
    members: Sequence[Member], passage: TokenizedText, *, rounds: int, tolerance: float | None, progress: Progress
) -> Comparison:
    """Compares every member with the first.

    Args:
        rounds: Of the clock, each variant in turn.
        tolerance: Relative error up to which a site counts as the same; by precision where None.
    """
    context = min(member.spec.context for member in members)
    shown = list(windows(passage.ids, min(LONGEST_WINDOW, context)))
    first = shown[0].ids
    asked = [member.asked for member in members]
    told = [one.call(_tell) for one in asked]
    progress(f"timing {rounds} rounds of each variant in turn, after one that warms up")
    course = usual_course([member.spec for member in members])
    paces = take_paces(asked, course, rounds)
    memories = [memory_of(one, course) for one in asked]  # before anything is watched, which takes more
    with TemporaryDirectory(prefix="edge-compare-") as folder:
        recordings = Recordings(Path(folder))
        seen = look_inside(members, first, recordings, progress)
        read(members, shown, seen, recordings, progress)
    prompt = first[: min(PROMPT, context - 1)]
    tokens = min(NEW_TOKENS, context - len(prompt))
    progress(f"choosing {tokens} tokens after the first {len(prompt)}")
    choices = [one.call(choose, prompt, tokens) for one in asked]
    answers = [Answers(*own) for own in zip(told, paces, memories, seen, choices, strict=True)]
    used = TextUsed(passage.source, len(passage.ids), len(first), len(prompt), tokens)
    return _put_together(members, answers, used, asked[0].call(_pieces, first), tolerance)


def _tell(model: Model) -> Told:
    return Told(model.name, model.engine, model.threads, {"edge": __version__, **model.versions})


def _pieces(model: Model, ids: tuple[int, ...]) -> tuple[str, ...]:
    """Tokens as labels."""
    return tuple(model.tokenizer.piece(id) if model.tokenizer else f"<{id}>" for id in ids)


def _put_together(
    members: Sequence[Member],
    answers: Sequence[Answers],
    text: TextUsed,
    pieces: tuple[str, ...],
    tolerance: float | None,
) -> Comparison:
    scores = [joined(own.seen.scores) for own in answers[1:]]
    costs = [scores[0].reference_cost_nats, *(own.cost_nats for own in scores)]
    subjects = [_subject(member.name, own, cost) for member, own, cost in zip(members, answers, costs, strict=True)]
    variants = []
    for subject, own, score in zip(subjects[1:], answers[1:], scores, strict=True):
        own_tolerance = (
            tolerance_of(engine_of(answers[0].told.engine), engine_of(own.told.engine))
            if tolerance is None
            else tolerance
        )
        variants.append(
            Compared(
                **vars(subject),
                sameness=sameness_of(score),
                tolerance=own_tolerance,
                sites={site: float(off.max()) for site, off in own.seen.errors.items()},
                departure=departure(own.seen.errors, own_tolerance, pieces),
                parting=parting(own.choices, answers[0].choices),
                heads=tuple(own.seen.heads),
            )
        )
    return Comparison(subjects[0], tuple(variants), text, tolerance)


def _subject(name: str, own: Answers, costs: Costs) -> Subject:
    by_measure = zip(*own.seen.sparsity, strict=True)
    return Subject(
        name=name,
        model=own.told.model,
        engine=own.told.engine,
        threads=own.told.threads,
        versions=own.told.versions,
        perplexity=perplexity(costs),
        sparsity={measure.key: tuple(shares) for measure, shares in zip(SHARES, by_measure, strict=True)},
        pace=own.pace,
        memory=own.memory,
    )
