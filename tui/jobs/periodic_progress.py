"""Reports progress of work that reports none."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from models.progress import Progress

_EVERY_S = 0.25


@contextmanager
def report_periodically(report: Progress, word: Callable[[], str]) -> Iterator[None]:
    """Reports `word()` periodically from a thread while the block runs; the block must not report itself."""
    done = Event()

    def watch() -> None:
        while not done.wait(_EVERY_S):
            report(word())

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
