"""A pseudo-terminal for a program under test: writes keys, reads frames, and returns their times."""

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
"""The reply of a terminal with synchronized output (mode 2026); Textual then marks the end of each frame."""

ASKS_FRAMES = b"\x1b[?2026$p"
FRAME_ENDS = b"\x1b[?2026l"
PATIENCE_S = 180.0


class NothingCame(Exception):
    """The program did not write the expected bytes; the message has the end of its output."""


class PseudoTerminal:
    """A program on its own terminal, with a width in cells and a height in lines."""

    def __init__(self, command: Sequence[str], cells: int, lines: int) -> None:
        self.began_ns = perf_counter_ns()
        self._process, self._file = pty.fork()
        if self._process == 0:
            os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
            os.execvp(command[0], list(command))
        fcntl.ioctl(self._file, termios.TIOCSWINSZ, struct.pack("HHHH", lines, cells, 0, 0))
        self._seen, self._asked = b"", False

    def write(self, keys: bytes) -> None:
        """Types keys."""
        os.write(self._file, keys)

    def read(self, for_s: float) -> bytes:
        """The next output within `for_s` seconds; empty if there is none."""
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
        """Reads until `awaited` is in the output; returns the time of `perf_counter_ns`.

        Raises:
            NothingCame: the output did not contain it in time, or the program ended.
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
        """Reads until there is no output for `for_s` seconds."""
        while self.read(for_s):
            pass

    def key(self, key: bytes) -> float:
        """Milliseconds from a key to the end of the next frame."""
        began_ns = perf_counter_ns()
        self.write(key)
        return (self.until(FRAME_ENDS) - began_ns) / 1e6

    def close(self) -> None:
        """Ends the program."""
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._file)
