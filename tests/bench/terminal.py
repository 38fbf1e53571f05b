"""A terminal for a program under test: writes keys, reads frames, and says when each came."""

import fcntl
import os
import pty
import select
import signal
import struct
import termios
from collections.abc import Sequence
from time import monotonic, perf_counter_ns

SUPPORTS_FRAMES = b"\x1b[?2026;2$y"
"""What a terminal answers that shows whole frames only; Textual then marks where each one ends."""

ASKS_FRAMES = b"\x1b[?2026$p"
FRAME_ENDS = b"\x1b[?2026l"
PATIENCE_S = 180.0


class NothingCame(Exception):
    """The program did not write what was awaited; the message holds the end of what it wrote."""


class PseudoTerminal:
    """A program on its own terminal, with so many cells and lines."""

    def __init__(self, command: Sequence[str], cells: int, lines: int) -> None:
        self.began_ns = perf_counter_ns()
        self._process, self._file = pty.fork()
        if self._process == 0:
            os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
            os.execvp(command[0], list(command))
        fcntl.ioctl(self._file, termios.TIOCSWINSZ, struct.pack("HHHH", lines, cells, 0, 0))
        self._seen, self._asked = b"", False

    def write(self, keys: bytes) -> None:
        """Types."""
        os.write(self._file, keys)

    def read(self, for_s: float) -> bytes:
        """What comes first within so many seconds; nothing where nothing does."""
        ready, _, _ = select.select([self._file], [], [], for_s)
        if not ready:
            return b""
        came = os.read(self._file, 1 << 16)
        self._seen = (self._seen + came)[-(1 << 18) :]
        if not self._asked and ASKS_FRAMES in self._seen:
            self._asked = True
            self.write(SUPPORTS_FRAMES)
        return came

    def until(self, awaited: bytes) -> int:
        """Reads until something came; when, as `perf_counter_ns` counts.

        Raises:
            NothingCame: it did not come in time, or the program ended.
        """
        seen, deadline_s = b"", monotonic() + PATIENCE_S
        while awaited not in seen:
            try:
                seen = seen[-len(awaited) :] + self.read(1.0)
            except OSError as error:
                raise NothingCame(f"the program ended: {self._seen[-400:]!r}") from error
            if monotonic() > deadline_s:
                raise NothingCame(f"waited {PATIENCE_S:.0f} s for {awaited!r}: {self._seen[-400:]!r}")
        return perf_counter_ns()

    def until_quiet(self, for_s: float) -> None:
        """Reads until nothing comes for so many seconds."""
        while self.read(for_s):
            pass

    def key(self, key: bytes) -> float:
        """Milliseconds from a key to the end of the frame that answers it."""
        began_ns = perf_counter_ns()
        self.write(key)
        return (self.until(FRAME_ENDS) - began_ns) / 1e6

    def close(self) -> None:
        """Ends the program."""
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._file)
