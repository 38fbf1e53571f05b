"""A worker process: results come back, refusals are reported, and its end is noticed."""

import multiprocessing
import os
import signal
import sys
from pathlib import Path
from time import sleep

import pytest

from edge.profile.machine import ONE_THREAD
from edge.worker_process import WorkerProcess, cancelable, quiet
from models.errors import EdgeError, MisuseError
from models.progress import Progress


def build(progress: Progress, start: int) -> list[int]:
    progress(f"starting at {start}")
    if start < 0:
        raise MisuseError("there is nothing below 0")
    return [start]


def add(held: list[int], number: int) -> int:
    if number == 0:
        raise MisuseError("0 adds nothing")
    held.append(number)
    return sum(held)


def process_id(held: list[int]) -> int:
    return os.getpid()


def end_by(held: list[int], number: int) -> None:
    os.kill(os.getpid(), number)


def variable(held: list[int], name: str) -> str | None:
    return os.environ.get(name)


def opened(start: int = 1, reported: list[str] | None = None) -> WorkerProcess[list[int]]:
    return WorkerProcess("the list", build, (reported if reported is not None else []).append, {}, start)


def test_questions_are_answered_in_another_process_that_remembers() -> None:
    reported: list[str] = []
    with opened(1, reported) as process:
        assert process.call(process_id) != os.getpid(), "the work was done here"
        assert [process.call(add, 2), process.call(add, 3)] == [3, 6]
    assert reported == ["starting at 1"], "progress was not passed on"


def test_a_refused_question_leaves_the_process_ready() -> None:
    with opened() as process:
        with pytest.raises(MisuseError, match="0 adds nothing"):
            process.call(add, 0)
        assert process.call(add, 4) == 5


def test_what_is_refused_while_it_is_built_is_raised_here() -> None:
    with pytest.raises(MisuseError, match="nothing below 0"):
        opened(-1)


def test_an_unexpected_failure_is_reported_with_its_kind() -> None:
    with opened() as process, pytest.raises(EdgeError, match="TypeError"):
        process.call(add, "two")  # type: ignore[arg-type]


def test_the_end_of_the_process_is_reported_with_what_ended_it() -> None:
    with opened() as process, pytest.raises(EdgeError, match=r"process of the list was killed by SIGKILL; .*memory"):
        process.call(end_by, signal.SIGKILL)


def test_an_end_between_two_questions_is_reported_too() -> None:
    with opened() as process:
        number = process.call(process_id)
        os.kill(number, signal.SIGKILL)
        os.waitid(os.P_PID, number, os.WEXITED | os.WNOWAIT)
        with pytest.raises(EdgeError, match="was killed by SIGKILL"):
            process.call(add, 1)


def test_an_interrupt_of_the_terminal_does_not_end_it() -> None:
    with opened() as process:
        process.call(end_by, signal.SIGINT)
        assert process.call(add, 1) == 2


def test_it_ends_with_its_owner(tmp_path: Path) -> None:
    with opened() as process:
        number = process.call(process_id)
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_its_environment_is_its_own() -> None:
    name, value = next(iter(ONE_THREAD.items()))
    before = os.environ.get(name)
    with WorkerProcess("the list", build, lambda _: None, ONE_THREAD, 1) as process:
        assert process.call(variable, name) == value
    assert os.environ.get(name) == before, "the environment of this process was changed"


class Unwanted(Exception):
    """The caller stops waiting."""


def refuse() -> None:
    raise Unwanted


def build_slowly(progress: Progress) -> None:
    sleep(3_600)


def ask_slowly(held: list[int]) -> None:
    sleep(3_600)


def test_a_process_whose_answer_is_not_wanted_any_more_is_killed() -> None:
    with pytest.raises(Unwanted), opened() as process, cancelable(refuse):
        process.call(ask_slowly)
    assert not multiprocessing.active_children(), "the process that was asked lives on"


def test_a_process_that_is_not_wanted_any_more_is_killed_while_it_is_built() -> None:
    with pytest.raises(Unwanted), cancelable(refuse):
        WorkerProcess("the slow one", build_slowly, lambda _: None, {})
    assert not multiprocessing.active_children(), "the process that was being built lives on"


def test_a_process_is_waited_for_again_later() -> None:
    with pytest.raises(Unwanted), cancelable(refuse):
        WorkerProcess("the slow one", build_slowly, lambda _: None, {})
    with opened(2) as process:
        assert process.call(add, 3) == 5


def shout(held: list[int]) -> None:
    print("a result")
    print("a warning", file=sys.stderr, flush=True)
    os.write(1, b"from a library")


def test_processes_started_quietly_write_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet(), opened() as process:
        process.call(shout)
    assert capfd.readouterr() == ("", ""), "a process wrote where a screen is drawn"
    with opened() as process:
        process.call(shout)
    assert "from a library" in capfd.readouterr().out, "silence outlasts its block"
