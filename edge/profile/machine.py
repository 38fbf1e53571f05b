"""What this machine can do at most: bytes read from memory and float32 operations a second, with so many threads."""

import os
import platform
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter_ns

import numpy as np

from edge.profile.energy import energy_basis
from edge.worker_process import WorkerProcess
from models.progress import Progress

READ_BYTES = 512_000_000
"""Memory that is read through in one pass of the sweep: well beyond every cache."""

SIDE = 1_024
"""Rows and columns of the square matrices that each thread multiplies."""

ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
}
"""The environment in which numpy's products stay on the thread that asks for them."""


@dataclass(frozen=True)
class Roofline:
    """One sweep over memory and arithmetic, the best of a few passes.

    Attributes:
        threads: Threads that worked at once.
        bandwidth_bytes_per_s: Bytes read a second, by matrix-vector products over `READ_BYTES` of float32.
        flops_per_s: Float32 operations a second in square matrix products that stay in the caches.
    """

    threads: int
    bandwidth_bytes_per_s: float
    flops_per_s: float


class RooflineBenchmark:
    """Holds the numbers that a sweep reads. Made in a process of its own, whose products stay on their threads."""

    def __init__(self, tell: Progress, threads: int) -> None:
        tell(f"touching {READ_BYTES / 1e6:.0f} MB to sweep over")
        width = 4_096
        rows = READ_BYTES // 4 // width // threads
        self._threads, self._pool = threads, ThreadPoolExecutor(threads)
        self._shares = [np.ones((rows, width), np.float32) for _ in range(threads)]
        self._vector = np.ones(width, np.float32)
        self._squares = [np.ones((SIDE, SIDE), np.float32) for _ in range(threads)]

    def measure(self, passes: int = 5) -> Roofline:
        """The best of `passes`: what disturbs a pass only slows it down."""
        read_bytes = sum(share.nbytes for share in self._shares)
        read_s = self._fastest_s(passes, lambda thread: self._shares[thread] @ self._vector)
        product_s = self._fastest_s(passes, lambda thread: self._squares[thread] @ self._squares[thread])
        return Roofline(self._threads, read_bytes / read_s, self._threads * 2 * SIDE**3 / product_s)

    def _fastest_s(self, passes: int, work: Callable[[int], object]) -> float:
        took_ns = []
        for _ in range(passes):
            started_ns = perf_counter_ns()
            list(self._pool.map(work, range(self._threads)))
            took_ns.append(perf_counter_ns() - started_ns)
        return min(took_ns) / 1e9


def open_roofline_benchmark(threads: int, progress: Progress) -> WorkerProcess[RooflineBenchmark]:
    """A benchmark in a process of its own; ask it `RooflineBenchmark.measure`."""
    return WorkerProcess("the sweep over memory", RooflineBenchmark, progress, ONE_THREAD, threads)


def measure_roofline(threads: int, progress: Progress = lambda _: None) -> Roofline:
    """One sweep with `threads` threads, in a process that is ended afterward."""
    with open_roofline_benchmark(threads, progress) as benchmark:
        return benchmark.call(RooflineBenchmark.measure)


@dataclass(frozen=True)
class Machine:
    """The machine in words that tell nothing of its owner.

    Attributes:
        memory_bytes: Of the whole machine.
        energy: What joules are counted by, or why they are not.
        busy: Programs that computed at once, on average over the last minute; None where the system does not say.
    """

    system: str
    processor: str
    cores: int
    memory_bytes: int
    python: str
    energy: str
    busy: float | None


def this_machine() -> Machine:
    """What is measured on."""
    import psutil

    return Machine(
        system=platform.system(),
        processor=_processor(),
        cores=psutil.cpu_count(logical=False) or os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        python=platform.python_version(),
        energy=energy_basis(),
        busy=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def _processor() -> str:
    """The processor's own name where Linux tells it, else its architecture."""
    if sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf8") as lines:
            named = next((line for line in lines if line.startswith("model name")), "")
        if named:
            return named.partition(":")[2].strip()
    return platform.processor() or platform.machine()
