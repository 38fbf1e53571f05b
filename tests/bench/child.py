"""Runs a command in its own process: its output, wall time and peak memory."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

_INTERVAL_S = 0.02
"""Seconds between two samples of the memory of a running process."""


@dataclass(frozen=True)
class ProcessRun:
    """Wall time, memory and output of a command.

    Attributes:
        peak_bytes: Peak resident memory, including pages of mapped files; VmHWM on Linux.
        own_bytes: Peak of the anonymous part of it, which no file backs.
    """

    wall_s: float
    peak_bytes: int
    own_bytes: int
    printed: str
    reported: str


class CommandFailed(Exception):
    """A command failed; the message is the last line of its stderr."""


def run_process(arguments: Sequence[str], environment: Mapping[str, str]) -> ProcessRun:
    """Runs `python -m` with these arguments, and samples its memory until it ends."""
    started_s = time.perf_counter()
    with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as reported:
        command = [sys.executable, "-m", *arguments]
        process = subprocess.Popen(command, stdout=printed, stderr=reported, env={**os.environ, **environment})
        peak_bytes, own_bytes = 0, 0
        while process.poll() is None:
            peak, own = _memory(process.pid)
            peak_bytes, own_bytes = max(peak_bytes, peak), max(own_bytes, own)
            time.sleep(_INTERVAL_S)
        wall_s = time.perf_counter() - started_s
        printed.seek(0)
        reported.seek(0)
        took = ProcessRun(wall_s, peak_bytes, own_bytes, printed.read(), reported.read())
    if process.returncode:
        lines = took.reported.strip().splitlines() or [f"it ended with {process.returncode}"]
        raise CommandFailed(f"{' '.join(arguments[:3])}: {lines[-1]}")
    return took


def _memory(process: int) -> tuple[int, int]:
    """Peak resident memory of a running process so far, and its current anonymous memory, in bytes."""
    try:
        if sys.platform != "linux":
            resident = psutil.Process(process).memory_info().rss
            return resident, resident
        with open(f"/proc/{process}/status", encoding="ascii") as lines:
            fields = dict(line.split(":", 1) for line in lines)
        return _bytes(fields.get("VmHWM")), _bytes(fields.get("RssAnon"))
    except (psutil.Error, OSError):
        return 0, 0  # it has just ended


def _bytes(kilobytes: str | None) -> int:
    """`'  1234 kB'` in bytes; 0 for a process that has ended."""
    return 1024 * int(kilobytes.split()[0]) if kilobytes else 0
