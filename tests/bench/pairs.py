"""Times two runtimes in interleaved rounds, each in its own process, so that disturbances of the machine affect both.

The processes are started again for every round, since the speed of one can differ by 10% from that of the next.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import sleep

from edge.worker_process import WorkerProcess
from models.errors import EdgeError
from models.progress import Progress
from tests.bench.runtimes import BY_NAME, Run, Runtime, Times

WARM_UP_TOKENS = 4


@dataclass(frozen=True)
class Workload:
    """The tokens, rounds and threads of a benchmark.

    Attributes:
        prompt: Tokens of the prompt.
        tokens: Tokens generated after the first.
        rounds: Runs of each runtime.
        rest_s: Pause before each run, in seconds: memory and cores slow down under constant load.
    """

    prompt: int
    tokens: int
    rounds: int
    threads: int
    rest_s: float


@dataclass(frozen=True)
class Pair:
    """Two runtimes that are compared.

    Attributes:
        decode_aim: The ratio of `other` to `edge` that decoding should reach; None if there is no target.
        prefill_aim: The same for the time to the first token.
        model: A short name of the model, if it is not the Llama.
    """

    edge: Runtime
    other: Runtime
    decode_aim: float | None = None
    prefill_aim: float | None = None
    model: str = ""

    @property
    def name(self) -> str:
        names = f"{self.edge.name} | {self.other.name}"
        return f"{self.model}: {names}" if self.model else names

    @property
    def missing(self) -> tuple[str, ...]:
        """Packages that are not installed."""
        return tuple(dict.fromkeys((*self.edge.missing, *self.other.missing)))


@dataclass(frozen=True)
class Result:
    """The result of one pair. A ratio is other / edge in one round: above 1, Edge is faster."""

    pair: Pair
    edge: list[Times]
    other: list[Times]

    @property
    def decode_ms(self) -> tuple[float, float]:
        """Median inter-token latency of Edge, and of the other."""
        edge, other = (median(wait for one in times for wait in one.between_ms) for times in (self.edge, self.other))
        return edge, other

    @property
    def prefill_ms(self) -> tuple[float, float]:
        """Median time to the first token of Edge, and of the other."""
        return median(one.first_ms for one in self.edge), median(one.first_ms for one in self.other)

    @property
    def decode_ratios(self) -> list[float]:
        """Ratio of the median inter-token latency in each round."""
        rounds = zip(self.edge, self.other, strict=True)
        return [median(other.between_ms) / median(edge.between_ms) for edge, other in rounds]

    @property
    def prefill_ratios(self) -> list[float]:
        """Ratio of the time to the first token in each round."""
        return [other.first_ms / edge.first_ms for edge, other in zip(self.edge, self.other, strict=True)]


class RuntimeFailed(Exception):
    """A runtime could not be opened or run; the message has its name and the reason."""


def open_worker(runtime: Runtime, folder: Path, threads: int, progress: Progress) -> WorkerProcess[Run]:
    """A runtime in its own process, ready to run.

    Raises:
        RuntimeFailed: it cannot be opened.
    """
    try:
        return WorkerProcess(runtime.name, _open, progress, {}, runtime.name, folder, threads)
    except EdgeError as error:
        raise RuntimeFailed(f"{runtime.name}: {error}") from error


def _open(progress: Progress, name: str, folder: Path, threads: int) -> Run:
    return BY_NAME[name].open(folder, threads)


def _run(run: Run, ids: list[int], tokens: int) -> Times:
    return run(ids, tokens)


def _run_in_worker(runtime: Runtime, lane: WorkerProcess[Run], ids: list[int], tokens: int) -> Times:
    try:
        return lane.call(_run, ids, tokens)
    except EdgeError as error:
        raise RuntimeFailed(f"{runtime.name}: {error}") from error


def time_pair(pair: Pair, folder: Path, workload: Workload, progress: Callable[[str], None]) -> Result:
    """Opens and runs both in every round, in alternating order: A B, B A, A B.

    Raises:
        RuntimeFailed: one of them cannot be opened, or fails.
    """
    ids = [(7 + 31 * place) % 49_000 for place in range(workload.prompt)]
    times: dict[Runtime, list[Times]] = {pair.edge: [], pair.other: []}
    for place in range(workload.rounds):
        progress(f"{pair.name}: round {place + 1} of {workload.rounds}")
        order = list(times) if place % 2 == 0 else list(reversed(times))
        with ExitStack() as closing:
            lanes = [closing.enter_context(open_worker(one, folder, workload.threads, progress)) for one in order]
            for runtime, lane in zip(order, lanes, strict=True):
                _run_in_worker(runtime, lane, ids, WARM_UP_TOKENS)
            for runtime, lane in zip(order, lanes, strict=True):
                sleep(workload.rest_s)
                times[runtime].append(_run_in_worker(runtime, lane, ids, workload.tokens))
    return Result(pair, *times.values())
