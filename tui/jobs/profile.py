"""Times engines in interleaved rounds: the job, its plan, and the estimated cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.engines.choice import engine_of
from edge.picture.units import show_bytes
from edge.profile.machine import READ_BYTES
from edge.profile.measure import Plan, measure
from edge.profile.record import Profile
from edge.variant import Variant, variant_of
from edge.worker_process import cancelable
from models.progress import Progress
from models.spec import DecoderSpec
from tui.jobs.estimate import EngineSet, opening_s, show_duration, token_s
from tui.jobs.job import JobContext
from tui.messages import EnginesTimed
from tui.view_state import ModelSummary

TIMING = "timing engines"
"""Prefix of its progress messages."""

SETTLE_S = 0.1
"""Seconds after each progress message, in which the screen redraws before timing starts."""

MeasureEngines = Callable[[Sequence[Variant], Plan, Progress], Profile]

_BENCHMARK_S = 2.0
"""Seconds to benchmark memory before and after."""

_QUANTIZED = ("onnx:int4", "mlx:int4")


def engine_sets(current: str, installed: tuple[str, ...], stored: str = "") -> tuple[EngineSet, ...]:
    """Sets of engines to time: all installed, with quantized ones, or the current one.

    Args:
        stored: The precision of stored quantized weights, the only one they run in.
    """
    own = tuple(f"{name}:{stored}" for name in installed) if stored else installed
    every = tuple(dict.fromkeys((current, *own)))
    quantized = () if stored else tuple(one for one in _QUANTIZED if engine_of(one).name in installed)
    with_quantized = tuple(dict.fromkeys((*every, *quantized)))
    found = (
        EngineSet("installed engines", every),
        EngineSet("with int4", with_quantized),
        EngineSet("this engine", (current,)),
    )
    return tuple({choice.engines: choice for choice in reversed(found)}.values())[::-1]


def plan_for(spec: DecoderSpec) -> Plan:
    """A short plan, seconds for a small model: one depth, at most half of the context."""
    return Plan(depths=(min(64, spec.context // 2),), prompt=64, tokens=16, rounds=3, repeats=10)


@dataclass(frozen=True)
class ProfileEngines:
    """Times engines in interleaved rounds, each in a separate process; the current model is idle.

    Attributes:
        threads: Threads of each engine; its default where None.
    """

    model: str
    engines: tuple[str, ...]
    plan: Plan
    threads: int | None = None
    measure: MeasureEngines = measure

    def work(self, context: JobContext) -> None:
        context.report(f"{TIMING}: {', '.join(self.engines)}", can_stop=True)
        variants = [variant_of(self.model, engine, self.threads) for engine in self.engines]
        with cancelable(context.check):
            found = self.measure(variants, self.plan, _settling(context))
        context.check()
        context.post(EnginesTimed(found))


def _settling(context: JobContext) -> Progress:
    """Reports progress, and waits until the screen has redrawn."""
    report_progress = context.progress_as(TIMING)

    def report(text: str) -> None:
        report_progress(text)
        context.interrupted.wait(SETTLE_S)
        context.check()

    return report


def threads_of(model: ModelSummary) -> int | None:
    """The threads of the current engine; None for MLX, which uses the GPU on a Mac."""
    return None if engine_of(model.engine).name == "mlx" else model.threads


def estimated_s(model: ModelSummary, engines: tuple[str, ...], plan: Plan, token_ns: float | None) -> float:
    """Estimated seconds.

    Args:
        token_ns: One decode step of the current engine; None where it was not timed.
    """
    workload = plan.workloads(model.spec)[0]
    a_token_s = token_s(model, token_ns)
    steps = (plan.rounds + 1) * (workload.tokens + 1) + 3 * plan.repeats
    prompts = plan.rounds + 1 + 3 * plan.repeats + 5 * workload.depth / workload.prompt
    a_prompt_s = a_token_s * max(1.0, workload.prompt / 8)  # a pass over 8 tokens takes little longer than one over 1
    each_s = steps * a_token_s + prompts * a_prompt_s
    return _BENCHMARK_S + opening_s(engines) + len(engines) * each_s


def cost_text(model: ModelSummary, engines: tuple[str, ...], plan: Plan, token_ns: float | None) -> str:
    """The estimated cost: `about 15 s; 3 processes, each with up to 27.3 MB of weights, …`."""
    each = "a process" if len(engines) == 1 else f"{len(engines)} processes, each"
    return (
        f"{show_duration(estimated_s(model, engines, plan, token_ns))}; {each} with up to "
        f"{show_bytes(4 * model.parameters)} of weights, and {show_bytes(READ_BYTES)} for the memory benchmark"
    )


def plan_text(plan: Plan, spec: DecoderSpec) -> str:
    """What is measured: `3 rounds of a prompt of 64 tokens and of 16 single tokens, …`."""
    workload = plan.workloads(spec)[0]
    return (
        f"{plan.rounds} rounds of a prompt of {workload.prompt} tokens and of {workload.tokens} single tokens, "
        f"then {plan.repeats} instrumented passes of each, with {workload.depth} cached tokens"
    )
