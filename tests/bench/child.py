"""A command in its own process: what it printed, how long it took, and the most memory it held."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

_LOOK_S = 0.02
"""Seconds between two samples of a running process."""


@dataclass(frozen=True)
class ProcessRun:
    """What a command took.

    Attributes:
        peak_bytes: The most it held in memory, pages of mapped files included; VmHWM on Linux.
        own_bytes: The most of it that no file backs, and that the system cannot take back.
    """

    wall_s: float
    peak_bytes: int
    own_bytes: int
    printed: str
    reported: str


class CommandFailed(Exception):
    """A command ended badly; the message is what it said last."""


def run_process(arguments: Sequence[str], environment: Mapping[str, str]) -> ProcessRun:
    """Runs `python -m` with these arguments to its end, and looks at its memory meanwhile."""
    started_s = time.perf_counter()
    with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as reported:
        command = [sys.executable, "-m", *arguments]
        process = subprocess.Popen(command, stdout=printed, stderr=reported, env={**os.environ, **environment})
        peak_bytes, own_bytes = 0, 0
        while process.poll() is None:
            peak, own = _held(process.pid)
            peak_bytes, own_bytes = max(peak_bytes, peak), max(own_bytes, own)
            time.sleep(_LOOK_S)
        wall_s = time.perf_counter() - started_s
        printed.seek(0)
        reported.seek(0)
        took = ProcessRun(wall_s, peak_bytes, own_bytes, printed.read(), reported.read())
    if process.returncode:
        said = took.reported.strip().splitlines() or [f"it ended with {process.returncode}"]
        raise CommandFailed(f"{' '.join(arguments[:3])}: {said[-1]}")
    return took


def _held(process: int) -> tuple[int, int]:
    """The peak of a running process so far, and what it holds now that no file backs."""
    try:
        if sys.platform != "linux":
            held = psutil.Process(process).memory_info().rss
            return held, held
        with open(f"/proc/{process}/status", encoding="ascii") as lines:
            fields = dict(line.split(":", 1) for line in lines)
        return _bytes(fields.get("VmHWM")), _bytes(fields.get("RssAnon"))
    except (psutil.Error, OSError):
        return 0, 0  # it has just ended


def _bytes(kilobytes: str | None) -> int:
    """`'  1234 kB'` in bytes; a process that has ended has none."""
    return 1024 * int(kilobytes.split()[0]) if kilobytes else 0
