"""Runs jobs on its own thread, one at a time, and posts messages to the screen. Uses no widget."""

from collections.abc import Callable
from threading import Condition, Event, Thread

from textual.message import Message

from edge.error_message import error_message
from edge.worker_process import quiet
from tui.jobs.job import Job, JobContext, JobInterrupted, OpenModel
from tui.jobs.load import Load
from tui.messages import JobFailed, JobProgress, JobStopped


class Runner:
    """One thread. The latest job replaces older ones, except loads, which are done first."""

    def __init__(self, open_model: OpenModel) -> None:
        self._context = JobContext(open_model, lambda message: None)
        self._changed, self._closing = Condition(), Event()
        self._waiting: list[Job] = []
        self._thread = Thread(target=self._drive, name="runner", daemon=True)

    def start(self, post: Callable[[Message], object]) -> None:
        """Starts the thread; `post` may be called from any thread, like a widget's `post_message`."""
        self._context.post = post
        self._thread.start()

    def do(self, job: Job) -> None:
        """Does a job; the one under way is canceled."""
        loads = [] if isinstance(job, Load) else [one for one in self._waiting if isinstance(one, Load)]
        self._set_waiting([*loads, job])

    def stop(self) -> None:
        """Stops the current job after its current pass, and drops waiting ones."""
        self._set_waiting([])

    def close(self, patience_s: float) -> bool:
        """Ends the thread and closes all models; False if a pass or a load takes longer than `patience_s` seconds."""
        self._closing.set()
        self.stop()
        self._thread.join(patience_s)
        return not self._thread.is_alive()

    def _set_waiting(self, jobs: list[Job]) -> None:
        context = self._context
        with self._changed:
            self._waiting = jobs
            if jobs or self._closing.is_set():
                context.overtaken.set()
            context.interrupted.set()
            for model in list(context.models.values()):
                model.stop()
            self._changed.notify()

    def _drive(self) -> None:
        with quiet():
            self._work()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                job.work(self._context)
            except JobInterrupted:
                self._context.post(JobStopped())
            except BaseException as error:  # native libraries raise more than Exception; the screen stays open
                failure = error_message(error, f"the job {type(job).__name__}")
                self._context.post(
                    JobFailed("an unexpected error" if failure.is_bug else "the job failed", failure.message)
                )
            self._context.post(JobProgress(""))
        for model in self._context.models.values():
            model.close()

    def _next(self) -> Job | None:
        """Waits for the next job; None at the end."""
        with self._changed:
            while not (self._waiting or self._closing.is_set()):
                self._changed.wait()
            if self._closing.is_set():
                return None
            job, *self._waiting = self._waiting
            self._context.interrupted.clear()
            if not self._waiting:
                self._context.overtaken.clear()
            return job
