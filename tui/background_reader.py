"""Reads what weights say of a place in a trace, off the UI's thread; only the latest wish of each kind is read."""

from collections.abc import Callable
from threading import Condition, Thread

from textual.message import Message
from textual.message_pump import MessagePump

from edge.error_message import error_message

Reading = Callable[[], Message]
"""Computes something and puts it into a message. Uses numpy alone; a refusal is an `EdgeError`."""


class BackgroundReader:
    """One thread. What it reads goes to the widget that asked; what was overtaken before it began is never read."""

    def __init__(self) -> None:
        self._changed, self._closing, self._is_reading = Condition(), False, False
        self._wishes: dict[str, tuple[Reading, MessagePump]] = {}
        self._thread = Thread(target=self._read, name="reader", daemon=True)
        self._thread.start()

    def ask(self, kind: str, reading: Reading, asker: MessagePump) -> None:
        """Reads something soon and posts the message to `asker`; replaces an unread wish of the same kind."""
        with self._changed:
            self._wishes.pop(kind, None)
            self._wishes[kind] = reading, asker
            self._changed.notify()

    @property
    def is_busy(self) -> bool:
        """Something is being read, or waits to be."""
        with self._changed:
            return self._is_reading or bool(self._wishes)

    def close(self) -> None:
        """Ends the thread after what it is at."""
        with self._changed:
            self._wishes, self._closing = {}, True
            self._changed.notify()

    def _read(self) -> None:
        while True:
            with self._changed:
                self._is_reading = False
                while not (self._wishes or self._closing):
                    self._changed.wait()
                if self._closing:
                    return
                self._is_reading = True
                reading, asker = self._wishes.pop(next(iter(self._wishes)))
            try:
                message = reading()
            except BaseException as error:  # told where the reading would have shown, and the thread lives on
                message = BackgroundTaskFailed(error_message(error, "a reading").message)
            asker.post_message(message)


class BackgroundTaskFailed(Message):
    """Something could not be read; `text` says why."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
