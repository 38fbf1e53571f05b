"""Gives Edge made-up files to read, and lists those that it neither read nor refused with a message.

    python -m tests.campaign.fuzz N SEED                  N inputs, one kind after another
    python -m tests.campaign.fuzz N SEED --only NUMBER    one of them again, with its traceback
    python -m tests.campaign.fuzz N SEED --kind template  N inputs of one kind

Inputs are read in a separate process: a library that aborts ends that process, and is found too.
"""

import argparse
import multiprocessing
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from models.errors import EdgeError
from tests.campaign.kinds import Kind, Seeds, kinds

LIMIT_S = 10
"""A file that takes longer to read or refuse counts as a hang."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one input: `read`, `refused`, or in `fault` what was neither."""

    number: int
    kind: str
    came: str
    fault: str = ""


class _HangError(BaseException):
    """Raised in the middle of a hang; a BaseException, so that no handler takes it for a file's fault."""


def one(number: int, seed: str, name: str, kind: Kind, folder: Path, with_traceback: bool = False) -> Outcome:
    """Makes one input, and uses it."""
    draw = Random(f"{seed}/{number}/{name}")
    kind.make(folder, draw)
    try:
        with _limit():
            kind.use(folder, draw)
    except EdgeError as refused:
        fault = "" if _is_one_message(str(refused)) else f"refused in no short line of text: {str(refused)[:200]!r}"
        return Outcome(number, name, "refused", fault)
    except _HangError:
        return Outcome(number, name, "fault", f"took longer than {LIMIT_S} s")
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        if with_traceback:
            traceback.print_exc()
        at = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(
            number, name, "fault", f"{type(error).__name__}: {str(error)[:150]} ({Path(at.filename).name}:{at.lineno})"
        )
    return Outcome(number, name, "read")


def _is_one_message(text: str) -> bool:
    return bool(text.strip()) and "\n" not in text.strip() and "Traceback" not in text and len(text) < 2_000


@contextmanager
def _limit() -> Iterator[None]:
    def hang(*_: object) -> None:
        raise _HangError

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _work(pipe: Connection, numbers: Sequence[int], seed: str, names: Sequence[str], work: Path) -> None:
    """In its own process: names the input it takes, then the outcome."""
    known = kinds(Seeds(work))
    for number in numbers:
        name = names[number % len(names)]
        with tempfile.TemporaryDirectory(dir=work) as folder:
            pipe.send(number)
            pipe.send(one(number, seed, name, known[name], Path(folder)))
    pipe.send(None)


def campaign(n: int, seed: str, names: Sequence[str]) -> Iterator[Outcome]:
    """Every outcome, in order; a process that ends under an input is that input's fault, and another one continues."""
    left = list(range(n))
    with tempfile.TemporaryDirectory(prefix="edge-fuzz-") as work:
        while left:
            here, there = multiprocessing.get_context("spawn").Pipe()
            process = multiprocessing.get_context("spawn").Process(
                target=_work, args=(there, left, seed, names, Path(work))
            )
            process.start()
            there.close()
            current = left[0]
            try:
                while (said := here.recv()) is not None:
                    if isinstance(said, Outcome):
                        yield said
                        left.pop(0)
                    else:
                        current = said
            except EOFError:
                process.join()
                yield Outcome(current, names[current % len(names)], "fault", f"ended the process ({process.exitcode})")
                left = [number for number in left if number > current]
            finally:
                process.join()


NAMES = ("config", "tensors", "index", "tokenizer", "template", "trace", "manifest", "gguf")


def main(arguments: Sequence[str]) -> int:
    """Runs the campaign; 0 where every input was read or refused in a message."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaign.fuzz", description="Give Edge made-up files to read."
    )
    parser.add_argument("n", type=int, help="how many inputs")
    parser.add_argument("seed", help="any word; the same one makes the same inputs")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="one of them again, with its traceback")
    parser.add_argument("--kind", choices=NAMES, help="one kind of input")
    given = parser.parse_args(arguments)
    names = (given.kind,) if given.kind else NAMES
    if given.only is not None:
        return _again(given.only, given.seed, names[given.only % len(names)])
    came: Counter[str] = Counter()
    for outcome in campaign(given.n, given.seed, names):
        came[f"{outcome.kind} {outcome.came}"] += 1
        if outcome.fault:
            came["faults"] += 1
            print(f"input {outcome.number}, {outcome.kind}: {outcome.fault}", flush=True)
    for what, count in sorted(came.items()):
        print(f"{count:8,}  {what}")
    print(f"{given.n:,} inputs, {came['faults']} faults")
    return 1 if came["faults"] else 0


def _again(number: int, seed: str, name: str) -> int:
    work = Path(tempfile.mkdtemp(prefix="edge-fuzz-"))
    (work / "input").mkdir()
    outcome = one(number, seed, name, kinds(Seeds(work))[name], work / "input", with_traceback=True)
    print(f"{outcome} in {work / 'input'}")
    return 1 if outcome.fault else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
