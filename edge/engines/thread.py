"""Runs an engine on one thread, from load to close."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from edge.engines.base import Engine

T = TypeVar("T")


class EngineThread:
    """Creates an engine on its own thread and does all its work there.

    MLX streams belong to the thread that created them, and Textual may run workers on any thread of a
    pool. So the engine stays on the thread that created it.
    """

    def __init__(self, build: Callable[[], Engine]) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._engine = self._pool.submit(build)
        self._closed = False

    def submit(self, work: Callable[[Engine], T]) -> Future[T]:
        """Queues `work` on the engine's thread."""
        return self._pool.submit(lambda: work(self._engine.result()))

    def do(self, work: Callable[[Engine], T]) -> T:
        """Does `work` on the engine's thread and waits for it."""
        return self.submit(work).result()

    def close(self) -> None:
        """Waits for the current work, closes the engine on its thread, and ends the thread."""
        if self._closed:
            return
        self._closed = True
        if self._engine.exception() is None:
            self._pool.submit(lambda: self._engine.result().close())
        self._pool.shutdown(wait=True)
