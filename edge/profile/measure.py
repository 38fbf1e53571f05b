"""The measurement behind `edge profile`: variants in turns, each in a process of its own."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import prod

import numpy as np
import psutil

from edge import __version__
from edge.profile.forecast import forecast_bytes
from edge.profile.held import held_bytes
from edge.profile.machine import Sweep, Sweeper, open_sweeper, this_machine
from edge.profile.memory import Memory, measure_memory
from edge.profile.record import DepthProfile, FirstToken, PassProfile, Profile, VariantProfile
from edge.profile.rounds import Course, Round, example_ids, run_round
from edge.profile.sparse import SparsityProfile, gather_curve, skipped
from edge.profile.work import work_of
from edge.session import Model
from edge.time_sublayers import time_passes
from edge.timing import Grain, PassTimes
from edge.trace import Trace
from edge.variant import Variant, open_variant, prepare_variant
from edge.watch import Watch
from edge.worker_process import WorkerProcess
from models.checkpoint import Checkpoint, open_checkpoint
from models.errors import MisuseError
from models.parameters import parameter_shapes
from models.progress import Progress
from models.sample_text import SAMPLE_TEXT
from models.spec import DecoderSpec

SPARE = 0.8
"""The share of the free memory that variants may fill together; beyond it they run one after another."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is measured.

    Attributes:
        depths: Tokens in the cache; those are left out that the context does not hold.
        prompt: Tokens of a prompt; fewer where the context holds no more.
        tokens: Intervals between tokens in a round.
        rounds: Rounds of each variant at each depth.
        repeats: Instrumented passes of each kind.
    """

    depths: tuple[int, ...] = (0, 512, 2048)
    prompt: int = 256
    tokens: int = 32
    rounds: int = 5
    repeats: int = 20

    def courses(self, spec: DecoderSpec) -> tuple[Course, ...]:
        """One for each depth that leaves room for some tokens."""
        courses = []
        for depth in dict.fromkeys(self.depths):
            room = spec.context - depth
            if room > 1:
                courses.append(Course(depth, min(self.prompt, room), min(self.tokens, room - 1)))
        return tuple(courses)


@dataclass(frozen=True)
class Told:
    """What a variant says of itself once it is open."""

    engine: str
    threads: int
    versions: dict[str, str]
    method: str
    float_bytes: int


def tell_of(model: Model) -> Told:
    """Asked in the variant's process."""
    method = model.with_engine(lambda engine: engine.timing_method)
    return Told(model.engine, model.threads, model.versions, method, model.float_bytes)


def first_token(model: Model, ids: list[int]) -> FirstToken | None:
    """The text of `ids` as a prompt, to its first token; None without a tokenizer."""
    if model.tokenizer is None:
        return None
    trace = model.run(model.tokenizer.continuation([], ids), max_new_tokens=1, stop_tokens=())
    return FirstToken(
        prompt_tokens=trace.prompt_length, tokenize_ms=trace.timing.tokenize_ms, ttft_ms=trace.timing.ttft_ms
    )


def passes_of(model: Model, ids: list[int], course: Course, repeats: int) -> tuple[PassTimes, ...]:
    """A decode step and a prompt at the course's depth: from outside, with clocks inside, and without sublayers."""
    grains, found = (Grain.SUBLAYER, Grain.PART), []
    rounds = max(1, repeats // 3)  # each is several passes of two graphs
    for tokens in dict.fromkeys((1, course.prompt)):
        timed = tuple(ids[: course.depth + tokens])
        times = model.with_engine(lambda engine: time_passes(engine, timed, tokens, repeats, grains, lambda: False))  # noqa: B023
        assert times is not None, "nobody stops it"
        end = np.array(timed[course.depth :], np.int64)
        pairs = model.with_engine(lambda engine: engine.feed_without(end, rounds))  # noqa: B023
        found.append(replace(times, without=pairs))
    return tuple(found)


class Lane:
    """One variant while it is measured: its process, and what was found so far."""

    def __init__(self, process: WorkerProcess[Model], checkpoint: Checkpoint, foreseen_bytes: int) -> None:
        self.process, self.checkpoint, self.foreseen_bytes = process, checkpoint, foreseen_bytes
        self.told = process.call(tell_of)
        self.ids = example_ids(checkpoint.spec, checkpoint.spec.context)
        self.rounds: dict[int, list[Round]] = {}
        self.passes: dict[int, tuple[PassTimes, ...]] = {}
        self.first_tokens: list[FirstToken] = []
        self.memory: Memory | None = None

    def warm_up(self, course: Course) -> None:
        """A prompt and some tokens that are not kept: memory is touched, kernels are chosen."""
        self.process.call(run_round, self.ids, Course(course.depth, course.prompt, min(4, course.tokens)))

    def run_round(self, course: Course) -> None:
        self.rounds.setdefault(course.depth, []).append(self.process.call(run_round, self.ids, course))

    def run_text(self, course: Course) -> None:
        """A prompt of text, about as long as the course's."""
        if first := self.process.call(first_token, self.ids[: course.prompt // 2]):
            self.first_tokens.append(first)

    def look_inside(self, course: Course, repeats: int) -> None:
        self.passes[course.depth] = self.process.call(passes_of, self.ids, course, repeats)

    def weigh(self, courses: Sequence[Course]) -> None:
        """Asked before instruments are used: they take memory of their own."""
        self.memory = self.process.call(measure_memory, max(course.length for course in courses))

    def result(self, courses: Sequence[Course]) -> VariantProfile:
        told, memory = self.told, self.memory
        assert memory is not None
        return VariantProfile(
            engine=told.engine,
            threads=told.threads,
            versions=told.versions,
            method=told.method,
            memory=memory,
            forecast_bytes=self.foreseen_bytes,
            first_tokens=tuple(self.first_tokens),
            depths=tuple(self._at(course) for course in courses),
        )

    def _at(self, course: Course) -> DepthProfile:
        spec, held = self.checkpoint.spec, held_bytes(self.told.engine, self.checkpoint)
        passes = tuple(
            PassProfile(times=times, work=dict(work_of(spec, held, self.told.float_bytes, times.tokens, times.depth)))
            for times in self.passes[course.depth]
        )
        return DepthProfile(course=course, rounds=tuple(self.rounds[course.depth]), passes=passes)


def _forecast(variant: Variant, checkpoint: Checkpoint, courses: Sequence[Course]) -> int:
    return forecast_bytes(checkpoint, variant.engine, max(course.length for course in courses))


@contextmanager
def _open_lanes(
    variants: Sequence[tuple[Variant, int]], checkpoint: Checkpoint, progress: Progress
) -> Iterator[list[Lane]]:
    with ExitStack() as stack:
        lanes = []
        for variant, foreseen_bytes in variants:
            process = stack.enter_context(open_variant(variant, progress))
            lanes.append(Lane(process, checkpoint, foreseen_bytes))
        yield lanes


def _run_rounds(lanes: list[Lane], courses: Sequence[Course], rounds: int, progress: Progress) -> None:
    """Every lane in turns, the order turning round each time, so that the machine's moods fall on all alike."""
    for course in courses:
        for lane in lanes:
            lane.warm_up(course)
        for number in range(rounds):
            progress(f"depth {course.depth}: round {number + 1} of {rounds}")
            for lane in lanes if number % 2 == 0 else reversed(lanes):
                lane.run_round(course)
    for number in range(rounds):
        for lane in lanes if number % 2 == 0 else reversed(lanes):
            lane.run_text(courses[0])


def _measure_lanes(
    lanes: list[Lane], courses: Sequence[Course], plan: Plan, progress: Progress
) -> list[VariantProfile]:
    _run_rounds(lanes, courses, plan.rounds, progress)
    for lane in lanes:
        lane.weigh(courses)
    for course in courses:
        for lane in lanes:
            progress(f"depth {course.depth}: inside {lane.told.engine}")
            lane.look_inside(course, plan.repeats)
    return [lane.result(courses) for lane in lanes]


def measure(variants: Sequence[Variant], plan: Plan, progress: Progress, sparsity: bool = False) -> Profile:
    """Profiles variants of one model; with `sparsity`, also what silent neurons would save in the first of them.

    Raises:
        MisuseError: no depth fits the context.
        EdgeError: a variant cannot be opened, or its process was ended.
    """
    checkpoint = open_checkpoint(variants[0].folder)
    courses = plan.courses(checkpoint.spec)
    if not courses:
        raise MisuseError(f"no depth leaves room in a context of {checkpoint.spec.context} tokens; give a smaller one")
    for variant in variants:
        prepare_variant(variant, progress)
    foreseen = [(variant, _forecast(variant, checkpoint, courses)) for variant in variants]
    together = sum(size for _, size in foreseen) < SPARE * psutil.virtual_memory().available
    groups = [foreseen] if together else [[one] for one in foreseen]
    sweeps: list[Sweep] = []
    found: list[VariantProfile] = []
    for group in groups:
        with _open_lanes(group, checkpoint, progress) as lanes:
            threads = max(lane.told.threads for lane in lanes)
            sweeps += _sweeps(threads, progress)
            found += _measure_lanes(lanes, courses, plan, progress)
            sweeps += _sweeps(threads, progress)
    return Profile(
        edge=__version__,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        model=checkpoint.name,
        n_layers=checkpoint.spec.n_layers,
        parameters=sum(prod(shape) for shape in parameter_shapes(checkpoint.spec).values()),
        in_turns=together,
        warm_up="a prompt and 5 tokens at each depth; 2 passes before those that are timed from inside",
        machine=this_machine(),
        sweeps=tuple(sweeps),
        variants=tuple(found),
        sparsity=_sparsity(variants[0], checkpoint, progress) if sparsity else None,
    )


def _watch_neurons(model: Model) -> Trace:
    """Asked in a variant's process: what the FFNs do on Edge's own text."""
    spec = model.spec
    ids = model.tokenizer.encode(SAMPLE_TEXT) if model.tokenizer else example_ids(spec, spec.context)
    return model.run(ids=ids[: min(256, spec.context)], max_new_tokens=0, watch=Watch(parts=("ffn.neurons",)))


def _sparsity(variant: Variant, checkpoint: Checkpoint, progress: Progress) -> SparsityProfile:
    with open_variant(variant, progress) as process:
        trace = process.call(_watch_neurons)
        engine = process.call(tell_of).engine
    layers = skipped(trace, held_bytes(engine, checkpoint))
    return SparsityProfile(tokens=trace.n_fed, layers=layers, curve=gather_curve(checkpoint.spec, progress))


def _sweeps(threads: int, progress: Progress) -> list[Sweep]:
    progress("sweeping over memory")
    with open_sweeper(threads, progress) as sweeper:
        return [sweeper.call(Sweeper.sweep) for _ in range(2)]
