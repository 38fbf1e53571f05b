"""Runs work in its own process, with separate memory and threads; a crash there becomes an error here."""

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

_Reply = tuple[Literal["progress", "done", "failed"], Any]
"""A message through the pipe: progress text, a result, or an error message and an exit code."""

_CLOSING_S = 20.0
"""Seconds that a process has to exit by itself."""

_POLL_S = 0.1
"""Seconds between checks for cancellation while waiting for a result."""

_check_canceled: ContextVar[Callable[[], None]] = ContextVar("_check_canceled", default=lambda: None)


@contextmanager
def cancelable(check: Callable[[], None]) -> Iterator[None]:
    """Inside the block, waiting on this thread ends when `check` raises, and the worker process is killed.

    This cancels work that reports progress too seldom to be stopped otherwise.
    """
    before = _check_canceled.set(check)
    try:
        yield
    finally:
        _check_canceled.reset(before)


_is_quiet: ContextVar[bool] = ContextVar("_is_quiet", default=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Processes started on this thread inside the block print nothing, because a UI uses the terminal."""
    before = _is_quiet.set(True)
    try:
        yield
    finally:
        _is_quiet.reset(before)


class WorkerProcess(Generic[T]):
    """An object built in a new process, and function calls on it there.

    `build` and the called functions are module-level functions: they are pickled by name, with their arguments. `build`
    receives a progress callback, then `arguments`.

    Args:
        name: Name in error messages.
        progress: Receives the progress messages of `build` and of calls.
        environment: Environment variables set for the process, such as thread counts that a library reads once.
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
            self._kill()
            raise

    def call(self, function: Callable[Concatenate[T, P], R], *arguments: P.args, **keywords: P.kwargs) -> R:
        """The result of `function(built, ...)`, computed in the process."""
        try:
            self._pipe.send((function, arguments, keywords))
        except ConnectionError:
            raise EdgeError(self._exit_message()) from None
        result: R = self._receive()
        return result

    def close(self) -> None:
        """Ends the process; kills it if it does not exit in time."""
        self._pipe.close()  # a process that waits for its next call sees the end of the pipe
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
            self._kill()

    def _kill(self) -> None:
        """Kills the process without waiting for a result."""
        if self._process.is_alive():
            self._process.kill()
        self.close()

    def _receive(self) -> Any:
        while True:
            try:
                while not self._pipe.poll(_POLL_S):
                    _check_canceled.get()()
                kind, content = self._pipe.recv()
            except (EOFError, ConnectionError):
                raise EdgeError(self._exit_message()) from None
            if kind == "done":
                return content
            if kind == "failed":
                message, code = content
                raise (MisuseError if code == MisuseError.exit_code else EdgeError)(message)
            self._progress(content)

    def _exit_message(self) -> str:
        self._process.join(timeout=_CLOSING_S)
        code = self._process.exitcode
        if code is not None and code < 0:
            killed = signal.Signals(-code).name
            memory = "; the system may have run out of memory" if killed == "SIGKILL" else ""
            return f"the process of {self._name} was killed by {killed}{memory}"
        return f"the process of {self._name} exited without a result (exit code {code})"


@contextmanager
def _changed(environment: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables for processes started inside the block."""
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
    """Starts Python's resource tracker with the real stderr, since a UI may have replaced `sys.stderr`."""
    with redirect_stderr(sys.__stderr__):
        resource_tracker.ensure_running()


def _drop_output() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(null, stream)
    os.close(null)


@escaped_output()
def _serve(
    pipe: Connection,
    is_quiet: bool,
    build: Callable[..., Any],
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
) -> None:
    """Main function of the process: builds the object, then serves calls until the pipe is closed."""
    if is_quiet:
        _drop_output()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process decides when this one ends

    def report(message: str) -> None:
        pipe.send(("progress", message))

    try:
        built = build(report, *arguments, **keywords)
        pipe.send(("done", None))
        while True:
            function, given, named = pipe.recv()
            pipe.send(_called(function, built, given, named))
    except (EOFError, BrokenPipeError):
        return  # the parent closed the pipe
    except BaseException as error:
        pipe.send(_failed(error, build))


def _called(function: Callable[..., Any], built: Any, given: tuple[Any, ...], named: dict[str, Any]) -> _Reply:
    """Calls a function. After an error the process is ready for the next call."""
    try:
        return "done", function(built, *given, **named)
    except BaseException as error:  # native code may raise classes that are not an Exception
        return _failed(error, function)


def _failed(error: BaseException, function: Callable[..., Any]) -> _Reply:
    shown = error_message(error, f"{function.__module__}.{function.__qualname__} in a worker process")
    return "failed", (shown.message, shown.code)
