"""Work in a process of its own, so that its memory, its threads and its failures are its own."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from contextvars import ContextVar
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Concatenate, Generic, Literal, ParamSpec, TypeVar

from edge.error_message import error_message
from edge.terminal import escaped_output
from models.errors import EdgeError, MisuseError
from models.progress import Progress

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")

_Answer = tuple[Literal["told", "done", "failed"], Any]
"""What comes through the pipe: a word on the way, the end of what was asked, or a message and an exit code."""

_CLOSING_S = 20.0
"""Seconds a process has to end by itself."""

_ASKING_S = 0.1
"""How often it is asked, while an answer is awaited, whether it is still wanted."""

_still_wanted: ContextVar[Callable[[], None]] = ContextVar("_still_wanted", default=lambda: None)


@contextmanager
def while_wanted(check: Callable[[], None]) -> Iterator[None]:
    """Answers awaited on this thread meanwhile are given up once `check` raises; their processes are killed.

    Work that tells its progress seldom ends soon all the same.
    """
    before = _still_wanted.set(check)
    try:
        yield
    finally:
        _still_wanted.reset(before)


_is_quiet: ContextVar[bool] = ContextVar("_is_quiet", default=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Processes started on this thread meanwhile print nothing: a screen is drawn where they would."""
    before = _is_quiet.set(True)
    try:
        yield
    finally:
        _is_quiet.reset(before)


class WorkerProcess(Generic[T]):
    """An object built in a fresh process, which answers questions there.

    `build` and every question are functions of a module: only their names travel, with their arguments. `build` takes
    a function that tells its progress, then `arguments`.

    Args:
        name: What messages call it.
        progress: Told what `build` and questions tell.
        environment: Variables that differ in the process, such as threads that a library reads once.
    """

    def __init__(
        self,
        name: str,
        build: Callable[Concatenate[Progress, P], T],
        progress: Progress,
        environment: Mapping[str, str],
        *arguments: P.args,
        **keywords: P.kwargs,
    ) -> None:
        _start_tracker()
        context = multiprocessing.get_context("spawn")
        self._name, self._progress = name, progress
        self._pipe, far_end = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(far_end, _is_quiet.get(), build, arguments, keywords), daemon=True
        )
        with _changed(environment):
            self._process.start()
        far_end.close()
        try:
            self._receive()
        except BaseException:
            self._give_up()
            raise

    def ask(self, question: Callable[Concatenate[T, P], R], *arguments: P.args, **keywords: P.kwargs) -> R:
        """The answer of `question(built, ...)`, computed in the process."""
        try:
            self._pipe.send((question, arguments, keywords))
        except ConnectionError:
            raise EdgeError(self._obituary()) from None
        answer: R = self._receive()
        return answer

    def close(self) -> None:
        """Ends the process; one that does not end by itself is killed."""
        self._pipe.close()  # a process that waits for its next question sees the end of the pipe
        self._process.join(timeout=_CLOSING_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> "WorkerProcess[T]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._give_up()

    def _give_up(self) -> None:
        """Ends the process at once: its answer is not waited for."""
        if self._process.is_alive():
            self._process.kill()
        self.close()

    def _receive(self) -> Any:
        while True:
            try:
                while not self._pipe.poll(_ASKING_S):
                    _still_wanted.get()()
                kind, answer = self._pipe.recv()
            except (EOFError, ConnectionError):
                raise EdgeError(self._obituary()) from None
            if kind == "done":
                return answer
            if kind == "failed":
                message, code = answer
                raise (MisuseError if code == MisuseError.exit_code else EdgeError)(message)
            self._progress(answer)

    def _obituary(self) -> str:
        self._process.join(timeout=_CLOSING_S)
        code = self._process.exitcode
        if code is not None and code < 0:
            killed = signal.Signals(-code).name
            memory = "; the system kills so what memory does not suffice for" if killed == "SIGKILL" else ""
            return f"the process of {self._name} was ended by {killed}{memory}"
        return f"the process of {self._name} ended without an answer (exit code {code})"


@contextmanager
def _changed(environment: Mapping[str, str]) -> Iterator[None]:
    """The environment that a process started meanwhile inherits."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start_tracker() -> None:
    """Starts Python's own helper of spawned processes, once; it inherits stderr, for which a screen may stand in."""
    with redirect_stderr(sys.__stderr__):
        resource_tracker.ensure_running()


def _drop_output() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


@escaped_output()
def _serve(
    pipe: Connection,
    is_quiet: bool,
    build: Callable[..., Any],
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
) -> None:
    """The life of the process: builds, answers until the other end is closed."""
    if is_quiet:
        _drop_output()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks decides when it ends

    def tell(word: str) -> None:
        pipe.send(("told", word))

    try:
        built = build(tell, *arguments, **keywords)
        pipe.send(("done", None))
        while True:
            question, given, named = pipe.recv()
            pipe.send(_answered(question, built, given, named))
    except (EOFError, BrokenPipeError):
        return  # nobody asks any more
    except BaseException as error:
        pipe.send(_failed(error, build))


def _answered(question: Callable[..., Any], built: Any, given: tuple[Any, ...], named: dict[str, Any]) -> _Answer:
    """A question that is refused leaves the process ready for the next one."""
    try:
        return "done", question(built, *given, **named)
    except BaseException as error:  # a runtime may raise anything, and a native one what is no Exception
        return _failed(error, question)


def _failed(error: BaseException, asked: Callable[..., Any]) -> _Answer:
    told = error_message(error, f"{asked.__module__}.{asked.__qualname__} in a process of its own")
    return "failed", (told.message, told.code)
