"""The measurement of `edge profile`: interleaved rounds of variants, each in its own process."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import prod

import numpy as np
import psutil

from edge import __version__
from edge.engines.choice import engine_of
from edge.engines.registry import check_beside
from edge.profile.machine import Roofline, RooflineBenchmark, open_roofline_benchmark, this_machine
from edge.profile.memory import Memory, measure_memory
from edge.profile.memory_estimate import estimate_peak_bytes
from edge.profile.record import DepthProfile, FirstToken, PassProfile, Profile, VariantProfile
from edge.profile.rounds import Round, Workload, example_ids, run_round
from edge.profile.sparsity_savings import SparsityProfile, gather_curve, skipped
from edge.profile.weight_memory import weight_bytes
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
from models.sites import neuron_parts
from models.spec import DecoderSpec

SPARE = 0.8
"""Share of free memory that all variants together may use; above it, they run one after another."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured, and how often.

    Attributes:
        depths: Tokens in the cache; depths that do not fit the context are left out.
        prompt: Tokens of a prompt; fewer if the context is shorter.
        tokens: Decode steps in a round.
        rounds: Rounds of each variant at each depth.
        repeats: Instrumented passes of each kind.
    """

    depths: tuple[int, ...] = (0, 512, 2048)
    prompt: int = 256
    tokens: int = 32
    rounds: int = 5
    repeats: int = 20

    def workloads(self, spec: DecoderSpec) -> tuple[Workload, ...]:
        """One workload per depth that leaves room for at least two tokens."""
        workloads = []
        for depth in dict.fromkeys(self.depths):
            room = spec.context - depth
            if room > 1:
                workloads.append(Workload(depth, min(self.prompt, room), min(self.tokens, room - 1)))
        return tuple(workloads)


@dataclass(frozen=True)
class EngineDescription:
    """Engine, threads, versions, timing method and float size of an opened variant."""

    engine: str
    threads: int
    versions: dict[str, str]
    method: str
    float_bytes: int


def describe_engine(model: Model) -> EngineDescription:
    """Runs in the variant's process."""
    method = model.with_engine(lambda engine: engine.timing_method)
    return EngineDescription(model.engine, model.threads, model.versions, method, model.float_bytes)


def first_token(model: Model, ids: list[int]) -> FirstToken | None:
    """Time to first token of the text of `ids` as a prompt; None without a tokenizer."""
    if model.tokenizer is None:
        return None
    trace = model.run(model.tokenizer.continuation([], ids), max_new_tokens=1, stop_tokens=())
    return FirstToken(
        prompt_tokens=trace.prompt_length, tokenize_ms=trace.timing.tokenize_ms, ttft_ms=trace.timing.ttft_ms
    )


def passes_of(model: Model, ids: list[int], workload: Workload, repeats: int) -> tuple[PassTimes, ...]:
    """A decode step and a prompt at the workload's depth: uninstrumented, instrumented, and without sublayers."""
    grains, found = (Grain.SUBLAYER, Grain.PART), []
    rounds = max(1, repeats // 3)  # each is several passes of two graphs
    for tokens in dict.fromkeys((1, workload.prompt)):
        timed = tuple(ids[: workload.depth + tokens])
        times = model.with_engine(lambda engine: time_passes(engine, timed, tokens, repeats, grains, lambda: False))  # noqa: B023
        assert times is not None, "timing was not stopped"
        end = np.array(timed[workload.depth :], np.int64)
        pairs = model.with_engine(lambda engine: engine.feed_without(end, rounds))  # noqa: B023
        found.append(replace(times, without=pairs))
    return tuple(found)


class VariantRun:
    """One variant during the measurement: its process and its results so far."""

    def __init__(self, process: WorkerProcess[Model], checkpoint: Checkpoint, estimated_peak_bytes: int) -> None:
        self.process, self.checkpoint, self.estimated_peak_bytes = process, checkpoint, estimated_peak_bytes
        self.description = process.call(describe_engine)
        self.ids = example_ids(checkpoint.spec, checkpoint.spec.context)
        self.rounds: dict[int, list[Round]] = {}
        self.passes: dict[int, tuple[PassTimes, ...]] = {}
        self.first_tokens: list[FirstToken] = []
        self.memory: Memory | None = None

    def warm_up(self, workload: Workload) -> None:
        """A discarded round: allocates memory and selects kernels."""
        self.process.call(run_round, self.ids, Workload(workload.depth, workload.prompt, min(4, workload.tokens)))

    def run_round(self, workload: Workload) -> None:
        self.rounds.setdefault(workload.depth, []).append(self.process.call(run_round, self.ids, workload))

    def run_text(self, workload: Workload) -> None:
        """Time to first token of a text about as long as the workload's prompt."""
        if first := self.process.call(first_token, self.ids[: workload.prompt // 2]):
            self.first_tokens.append(first)

    @property
    def has_sites(self) -> bool:
        """Whether the engine can be timed inside."""
        return engine_of(self.description.engine).has_sites

    def time_parts(self, workload: Workload, repeats: int) -> None:
        self.passes[workload.depth] = self.process.call(passes_of, self.ids, workload, repeats)

    def record_memory(self, workloads: Sequence[Workload]) -> None:
        """Call it before instrumented passes, which use additional memory."""
        self.memory = self.process.call(measure_memory, max(workload.length for workload in workloads))

    def result(self, workloads: Sequence[Workload]) -> VariantProfile:
        description, memory = self.description, self.memory
        assert memory is not None
        return VariantProfile(
            engine=description.engine,
            threads=description.threads,
            versions=description.versions,
            method=description.method,
            memory=memory,
            estimated_peak_bytes=self.estimated_peak_bytes,
            first_tokens=tuple(self.first_tokens),
            depths=tuple(self._at(workload) for workload in workloads),
        )

    def _at(self, workload: Workload) -> DepthProfile:
        spec, held = self.checkpoint.spec, weight_bytes(self.description.engine, self.checkpoint)
        passes = tuple(
            PassProfile(
                times=times, work=dict(work_of(spec, held, self.description.float_bytes, times.tokens, times.depth))
            )
            for times in self.passes.get(workload.depth, ())
        )
        return DepthProfile(workload=workload, rounds=tuple(self.rounds[workload.depth]), passes=passes)


def _estimated_peak_bytes(variant: Variant, checkpoint: Checkpoint, workloads: Sequence[Workload]) -> int:
    return estimate_peak_bytes(checkpoint, variant.engine, max(workload.length for workload in workloads))


@contextmanager
def _open_runs(
    variants: Sequence[tuple[Variant, int]], checkpoint: Checkpoint, progress: Progress
) -> Iterator[list[VariantRun]]:
    with ExitStack() as stack:
        runs = []
        for variant, estimated_peak_bytes in variants:
            process = stack.enter_context(open_variant(variant, progress))
            runs.append(VariantRun(process, checkpoint, estimated_peak_bytes))
        yield runs


def _run_rounds(runs: list[VariantRun], workloads: Sequence[Workload], rounds: int, progress: Progress) -> None:
    """Interleaved rounds; the order is reversed each time, so that a slow machine affects all variants equally."""
    for workload in workloads:
        for run in runs:
            run.warm_up(workload)
        for number in range(rounds):
            progress(f"depth {workload.depth}: round {number + 1} of {rounds}")
            for run in runs if number % 2 == 0 else reversed(runs):
                run.run_round(workload)
    for number in range(rounds):
        for run in runs if number % 2 == 0 else reversed(runs):
            run.run_text(workloads[0])


def _measure_runs(
    runs: list[VariantRun], workloads: Sequence[Workload], plan: Plan, progress: Progress
) -> list[VariantProfile]:
    _run_rounds(runs, workloads, plan.rounds, progress)
    for run in runs:
        run.record_memory(workloads)
    for workload in workloads:
        for run in (run for run in runs if run.has_sites):
            progress(f"depth {workload.depth}: instrumented passes of {run.description.engine}")
            run.time_parts(workload, plan.repeats)
    return [run.result(workloads) for run in runs]


def measure(variants: Sequence[Variant], plan: Plan, progress: Progress, sparsity: bool = False) -> Profile:
    """Profiles variants of one model; with `sparsity`, also what skipping inactive neurons would save in the first.

    Raises:
        MisuseError: no depth fits the context, or a runtime beside the engines does not read the model.
        EdgeError: a variant cannot be opened, or its process ended.
    """
    checkpoint = open_checkpoint(variants[0].path)
    workloads = plan.workloads(checkpoint.spec)
    if not workloads:
        raise MisuseError(f"no depth fits a context of {checkpoint.spec.context} tokens; give a smaller --depth")
    for variant in variants:
        check_beside(engine_of(variant.engine), checkpoint)
    for variant in variants:
        prepare_variant(variant, progress)
    estimated = [(variant, _estimated_peak_bytes(variant, checkpoint, workloads)) for variant in variants]
    together = sum(size for _, size in estimated) < SPARE * psutil.virtual_memory().available
    groups = [estimated] if together else [[one] for one in estimated]
    rooflines: list[Roofline] = []
    found: list[VariantProfile] = []
    for group in groups:
        with _open_runs(group, checkpoint, progress) as runs:
            threads = max(run.description.threads for run in runs)
            rooflines += _rooflines(threads, progress)
            found += _measure_runs(runs, workloads, plan, progress)
            rooflines += _rooflines(threads, progress)
    return Profile(
        edge=__version__,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        model=checkpoint.name,
        n_layers=checkpoint.spec.n_layers,
        parameters=sum(prod(shape) for shape in parameter_shapes(checkpoint.spec).values()),
        interleaved=together,
        warm_up="a prompt and 5 tokens at each depth; 2 passes before instrumented ones",
        machine=this_machine(),
        rooflines=tuple(rooflines),
        variants=tuple(found),
        sparsity=_sparsity(variants[0], checkpoint, progress) if sparsity else None,
    )


def _watch_neurons(model: Model) -> Trace:
    """Runs in a variant's process: a trace of FFN neurons on the built-in text."""
    spec = model.spec
    ids = model.tokenizer.encode(SAMPLE_TEXT) if model.tokenizer else example_ids(spec, spec.context)
    return model.run(ids=ids[: min(256, spec.context)], max_new_tokens=0, watch=Watch(parts=neuron_parts(spec)))


def _sparsity(variant: Variant, checkpoint: Checkpoint, progress: Progress) -> SparsityProfile:
    with open_variant(variant, progress) as process:
        trace = process.call(_watch_neurons)
        engine = process.call(describe_engine).engine
    layers = skipped(trace, weight_bytes(engine, checkpoint))
    return SparsityProfile(tokens=trace.n_fed, layers=layers, curve=gather_curve(checkpoint.spec, progress))


def _rooflines(threads: int, progress: Progress) -> list[Roofline]:
    progress("measuring memory bandwidth and FLOP/s")
    with open_roofline_benchmark(threads, progress) as benchmark:
        return [benchmark.call(RooflineBenchmark.measure) for _ in range(2)]
