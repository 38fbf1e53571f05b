"""Two contenders in turns, each in a process of its own, so that the machine's moods fall on both."""

import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from time import sleep

from tests.bench.contenders import BY_NAME, Contender, Times

WARM_UP_TOKENS = 4


@dataclass(frozen=True)
class Course:
    """What is run.

    Attributes:
        prompt: Tokens of the prompt.
        tokens: Tokens generated after the first.
        rounds: Runs of each contender.
        rest_s: Seconds of rest before each run: memory and cores slow down when they are kept busy.
    """

    prompt: int
    tokens: int
    rounds: int
    threads: int
    rest_s: float


@dataclass(frozen=True)
class Pair:
    """Two contenders side by side.

    Attributes:
        decode_aim: The ratio of `other` to `edge` that decoding should reach; None where it only informs.
        prefill_aim: The same of the time to the first token.
    """

    edge: Contender
    other: Contender
    decode_aim: float | None = None
    prefill_aim: float | None = None


@dataclass(frozen=True)
class Result:
    """What a race gave. A ratio is other / edge in one round: above 1, Edge is faster."""

    pair: Pair
    edge: list[Times]
    other: list[Times]

    @property
    def decode_ms(self) -> tuple[float, float]:
        """Median of all intervals between tokens: Edge's, the other's."""
        edge, other = (median(wait for one in times for wait in one.between_ms) for times in (self.edge, self.other))
        return edge, other

    @property
    def prefill_ms(self) -> tuple[float, float]:
        """Median time to the first token: Edge's, the other's."""
        return median(one.first_ms for one in self.edge), median(one.first_ms for one in self.other)

    @property
    def decode_ratios(self) -> list[float]:
        """Of the median interval, round by round."""
        rounds = zip(self.edge, self.other, strict=True)
        return [median(other.between_ms) / median(edge.between_ms) for edge, other in rounds]

    @property
    def prefill_ratios(self) -> list[float]:
        """Of the time to the first token, round by round."""
        return [other.first_ms / edge.first_ms for edge, other in zip(self.edge, self.other, strict=True)]


class ContenderFailed(Exception):
    """A contender could not be opened or run; the message says which and why."""


class Lane:
    """One contender in its process, asked through a pipe."""

    def __init__(self, name: str, folder: Path, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._name = name
        self._pipe, far_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(far_end, name, folder, threads), daemon=True)
        self._process.start()
        far_end.close()

    def receive(self) -> Times | None:
        """What the contender sends next: times, or None when it has opened."""
        try:
            answer = self._pipe.recv()
        except EOFError:
            raise ContenderFailed(f"{self._name} ended without a word") from None
        if isinstance(answer, str):
            raise ContenderFailed(f"{self._name}: {answer}")
        assert answer is None or isinstance(answer, Times)
        return answer

    def run(self, ids: list[int], tokens: int) -> Times:
        self._pipe.send((ids, tokens))
        times = self.receive()
        assert times is not None
        return times

    def close(self) -> None:
        self._pipe.close()  # a contender that waits for its next run sees the end of the pipe, and ends
        self._process.join(timeout=20)
        self._process.terminate()
        self._process.join()


def _serve(pipe: Connection, name: str, folder: Path, threads: int) -> None:
    try:
        run = BY_NAME[name].open(folder, threads)
        pipe.send(None)
        while True:
            pipe.send(run(*pipe.recv()))
    except EOFError:
        return  # the race is over: its end of the pipe was closed
    except Exception as error:  # a peer may raise anything; its row is left out with the reason
        pipe.send(f"{type(error).__name__}: {error}")


def race(pair: Pair, folder: Path, course: Course, progress: Callable[[str], None]) -> Result:
    """Runs both in turns, the order turning round each time: A B, B A, A B."""
    ids = [(7 + 31 * place) % 49_000 for place in range(course.prompt)]
    lanes: list[Lane] = []
    try:
        for contender in (pair.edge, pair.other):
            progress(f"opening {contender.name}")
            lanes.append(Lane(contender.name, folder, course.threads))
            lanes[-1].receive()
        for lane in lanes:
            lane.run(ids, WARM_UP_TOKENS)
        times: tuple[list[Times], list[Times]] = ([], [])
        for turn in range(course.rounds):
            progress(f"{pair.edge.name} | {pair.other.name}: round {turn + 1} of {course.rounds}")
            for side in (0, 1) if turn % 2 == 0 else (1, 0):
                sleep(course.rest_s)
                times[side].append(lanes[side].run(ids, course.tokens))
        return Result(pair, *times)
    finally:
        for lane in lanes:
            lane.close()
