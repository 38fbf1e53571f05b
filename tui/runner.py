"""Does jobs off the UI's thread, one at a time, and tells the screen by messages. Touches no widget."""

from collections.abc import Callable
from threading import Condition, Event, Thread

from textual.message import Message

from edge.error_message import error_message
from edge.worker_process import quiet
from tui.jobs.job import Job, JobContext, JobInterrupted, OpenModel
from tui.jobs.load import Load
from tui.messages import JobFailed, JobProgress, JobStopped


class Runner:
    """One thread; it always works on the latest wish and forgets older ones, but for a load, which comes first."""

    def __init__(self, open_model: OpenModel) -> None:
        self._desk = JobContext(open_model, lambda message: None)
        self._changed, self._closing = Condition(), Event()
        self._waiting: list[Job] = []
        self._thread = Thread(target=self._drive, name="runner", daemon=True)

    def start(self, post: Callable[[Message], object]) -> None:
        """Begins; `post` may be called from any thread, as `post_message` of a widget may."""
        self._desk.post = post
        self._thread.start()

    def do(self, job: Job) -> None:
        """Does a job; the one under way is canceled."""
        loads = [] if isinstance(job, Load) else [one for one in self._waiting if isinstance(one, Load)]
        self._wish([*loads, job])

    def stop(self) -> None:
        """Ends the job under way after its current pass, and forgets those that wait."""
        self._wish([])

    def close(self, patience_s: float) -> bool:
        """Ends the thread and closes all models; False where a pass or a load outlasts `patience_s` seconds."""
        self._closing.set()
        self.stop()
        self._thread.join(patience_s)
        return not self._thread.is_alive()

    def _wish(self, jobs: list[Job]) -> None:
        context = self._desk
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
                job.work(self._desk)
            except JobInterrupted:
                self._desk.post(JobStopped())
            except BaseException as error:  # native libraries raise what is no Exception; the screen must live on
                told = error_message(error, f"the job {type(job).__name__}")
                self._desk.post(JobFailed("an unexpected error" if told.is_bug else "that did not work", told.message))
            self._desk.post(JobProgress(""))
        for model in self._desk.models.values():
            model.close()

    def _next(self) -> Job | None:
        """The next job, once there is one; None at the end."""
        with self._changed:
            while not (self._waiting or self._closing.is_set()):
                self._changed.wait()
            if self._closing.is_set():
                return None
            job, *self._waiting = self._waiting
            self._desk.interrupted.clear()
            if not self._waiting:
                self._desk.overtaken.clear()
            return job
