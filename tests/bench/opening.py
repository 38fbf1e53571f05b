"""How long a GGUF file takes to its first token, and what takes it: the first time, and again."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from edge.picture.units import show_bytes

PROMPT = "The capital of France is"

ALLOWED_BYTES, ALLOWED_SHARE = 300e6, 1.3
"""The memory that opening a file should take: this much, and this many times the file."""

_INTERVAL_S = 0.01


@dataclass(frozen=True)
class Opening:
    """One run from a new process to the first token.

    Attributes:
        parts: What the program said it did, with seconds until it said the next thing; the last ends with the text.
        peak_bytes: Peak resident memory, with pages of mapped files.
    """

    parts: tuple[tuple[str, float], ...]
    peak_bytes: int

    @property
    def total_s(self) -> float:
        return sum(took_s for _, took_s in self.parts)


def open_once(file: Path, cache: Path, threads: int, engine: str = "onnx") -> Opening:
    """Runs `edge run` for one token, and notes when it says what it does."""
    command = [sys.executable, "-m", "edge", "run", str(file), PROMPT, "-n", "1", "-e", engine]
    started_s = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--threads", str(threads)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "EDGE_CACHE": str(cache)},
        text=True,
    )
    said = [("starting, reading the file", started_s)]
    assert process.stdout is not None and process.stderr is not None
    watched = threading.Thread(target=_peak, args=(process.pid, peaks := [0]))
    watched.start()
    reader = threading.Thread(target=_note, args=(process.stderr, said))
    reader.start()
    process.stdout.read()
    ended_s = time.perf_counter()
    code = process.wait()
    reader.join()
    watched.join()
    if code:
        raise RuntimeError(f"edge run {file.name} ended with {code}: {said[-1][0]}")
    ends = [*(at_s for _, at_s in said[1:]), ended_s]
    parts = tuple((what, end - at_s) for (what, at_s), end in zip(said, ends, strict=True))
    return Opening(parts, peaks[0])


def _note(lines: object, said: list[tuple[str, float]]) -> None:
    for line in lines:  # type: ignore[attr-defined]
        said.append((line.strip(), time.perf_counter()))


def _peak(process: int, peaks: list[int]) -> None:
    """Samples resident memory until the process ends."""
    try:
        watched = psutil.Process(process)
        while watched.is_running() and watched.status() != psutil.STATUS_ZOMBIE:
            peaks[0] = max(peaks[0], watched.memory_info().rss)
            time.sleep(_INTERVAL_S)
    except psutil.Error:
        return


def _joined(parts: tuple[tuple[str, float], ...]) -> list[tuple[str, float]]:
    """Parts with the same beginning as one: converting and quantizing report every matrix."""
    joined: dict[str, float] = {}
    for what, took_s in parts:
        stem = what.split(":")[0] if "matrix" in what or " of " in what else what
        joined[stem] = joined.get(stem, 0.0) + took_s
    return list(joined.items())


def report_opening(file: Path, threads: int, say: Callable[[str], None], engine: str = "onnx") -> list[Opening]:
    """Opens a file with an empty cache, then twice again, and prints times, parts and memory."""
    size = file.stat().st_size
    found = []
    with tempfile.TemporaryDirectory(prefix="edge-open-") as cache:
        for which in ("empty cache", "again", "once more"):
            say(f"opening {file.name} on {engine}: {which}")
            found.append(open_once(file, Path(cache), threads, engine))
    print(f"edge run {file.name} '{PROMPT}' -n 1 -e {engine}, {threads} threads; the file has {show_bytes(size)}")
    for which, one in zip(("empty cache", "again", "once more"), found, strict=True):
        allowed = ALLOWED_SHARE * size + ALLOWED_BYTES
        print(f"  {which}: {one.total_s:.2f} s, peak {show_bytes(one.peak_bytes)} (aim {show_bytes(allowed)})")
        for what, took_s in _joined(one.parts):
            print(f"    {took_s:6.2f} s  {what}")
    return found
