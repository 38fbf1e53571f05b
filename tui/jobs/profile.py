"""Timing engines in turns: the job, how much it measures, and what that is expected to cost."""

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
from tui.jobs.estimate import Choice, opening_s, show_duration, token_s
from tui.jobs.job import JobContext
from tui.messages import EnginesTimed
from tui.view_state import ModelSummary

TIMING = "timing engines"
"""How the job is told of while it works."""

SETTLE_S = 0.1
"""After each word of progress the screen draws; what is timed begins once it rests."""

MeasureEngines = Callable[[Sequence[Variant], Plan, Progress], Profile]

_SWEEPING_S = 2.0
"""To sweep over memory before and after."""

_PACKED = ("onnx:int4", "mlx:int4")


def choices(current: str, installed: tuple[str, ...]) -> tuple[Choice, ...]:
    """What may be timed: every installed engine, with quantized weights too, or the one at hand alone."""
    every = tuple(dict.fromkeys((current, *installed)))
    quantized = tuple(engine for engine in _PACKED if engine_of(engine).name in installed)
    with_quantized = tuple(dict.fromkeys((*every, *quantized)))
    found = (Choice("installed engines", every), Choice("with int4", with_quantized), Choice("this engine", (current,)))
    return tuple({choice.engines: choice for choice in reversed(found)}.values())[::-1]


def plan_for(spec: DecoderSpec) -> Plan:
    """A short plan, of seconds for a small model: one depth, or half of a context that does not hold it."""
    return Plan(depths=(min(64, spec.context // 2),), prompt=64, tokens=16, rounds=3, repeats=10)


@dataclass(frozen=True)
class ProfileEngines:
    """Times engines in turns, each in a process of its own; the model at hand rests.

    Attributes:
        threads: Threads each computes with; an engine's own choice where None.
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
    """Progress after which the screen has drawn, and rests."""
    told = context.progress_as(TIMING)

    def report(text: str) -> None:
        told(text)
        context.interrupted.wait(SETTLE_S)
        context.check()

    return report


def threads_of(model: ModelSummary) -> int | None:
    """The threads of the engine at hand; MLX's say nothing, since on a Mac it computes elsewhere."""
    return None if engine_of(model.engine).name == "mlx" else model.threads


def estimated_s(model: ModelSummary, engines: tuple[str, ...], plan: Plan, token_ns: float | None) -> float:
    """Seconds that it will take, roughly.

    Args:
        token_ns: One decode step of the engine at hand; None where it was not timed.
    """
    workload = plan.workloads(model.spec)[0]
    a_token_s = token_s(model, token_ns)
    steps = (plan.rounds + 1) * (workload.tokens + 1) + 3 * plan.repeats
    prompts = plan.rounds + 1 + 3 * plan.repeats + 5 * workload.depth / workload.prompt
    a_prompt_s = a_token_s * max(1.0, workload.prompt / 8)  # a pass over 8 tokens takes little longer than one over 1
    each_s = steps * a_token_s + prompts * a_prompt_s
    return _SWEEPING_S + opening_s(engines) + len(engines) * each_s


def cost_text(model: ModelSummary, engines: tuple[str, ...], plan: Plan, token_ns: float | None) -> str:
    """What it will take: `about 15 s; 3 processes with weights of 27.3 MB each, …`."""
    each = "a process" if len(engines) == 1 else f"{len(engines)} processes, each"
    return (
        f"{show_duration(estimated_s(model, engines, plan, token_ns))}; {each} with up to "
        f"{show_bytes(4 * model.parameters)} of weights, and {show_bytes(READ_BYTES)} to sweep over memory"
    )


def plan_text(plan: Plan, spec: DecoderSpec) -> str:
    """What is run: `3 rounds of a prompt of 64 tokens and of 16 tokens after it, …`."""
    workload = plan.workloads(spec)[0]
    return (
        f"{plan.rounds} rounds of a prompt of {workload.prompt} tokens and of {workload.tokens} single tokens, "
        f"then {plan.repeats} passes of each with clocks inside, at depth {workload.depth}"
    )
