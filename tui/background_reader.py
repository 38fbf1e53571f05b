"""Computes results from weights on its own thread; only the latest request of each kind is computed."""

from collections.abc import Callable
from threading import Condition, Thread

from textual.message import Message
from textual.message_pump import MessagePump

from edge.error_message import error_message

Request = Callable[[], Message]
"""Computes a result and returns it as a message, with numpy only; raises `EdgeError` for bad input."""


class BackgroundReader:
    """One thread. Results go to the widget that requested them; replaced requests are not computed."""

    def __init__(self) -> None:
        self._changed, self._closing, self._is_computing = Condition(), False, False
        self._requests: dict[str, tuple[Request, MessagePump]] = {}
        self._thread = Thread(target=self._compute, name="reader", daemon=True)
        self._thread.start()

    def submit(self, kind: str, request: Request, sender: MessagePump) -> None:
        """Computes something soon and posts the message to `sender`; replaces a waiting request of the same kind."""
        with self._changed:
            self._requests.pop(kind, None)
            self._requests[kind] = request, sender
            self._changed.notify()

    @property
    def is_busy(self) -> bool:
        """Whether a request is being computed, or waiting."""
        with self._changed:
            return self._is_computing or bool(self._requests)

    def close(self) -> None:
        """Ends the thread after the current request."""
        with self._changed:
            self._requests, self._closing = {}, True
            self._changed.notify()

    def _compute(self) -> None:
        while True:
            with self._changed:
                self._is_computing = False
                while not (self._requests or self._closing):
                    self._changed.wait()
                if self._closing:
                    return
                self._is_computing = True
                request, sender = self._requests.pop(next(iter(self._requests)))
            try:
                message = request()
            except BaseException as error:  # shown in place of the result; the thread continues
                message = BackgroundTaskFailed(error_message(error, "a request").message)
            sender.post_message(message)


class BackgroundTaskFailed(Message):
    """A request failed; `text` has the reason."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
