"""Roofline benchmark of this machine: memory bandwidth and float32 FLOP/s with a number of threads."""

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
"""Memory read in one pass of the benchmark, much larger than every cache."""

SIDE = 1_024
"""Rows and columns of the square matrices that each thread multiplies."""

ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
}
"""Environment variables that make numpy compute products on the calling thread."""


@dataclass(frozen=True)
class Roofline:
    """Memory bandwidth and compute rate, the best of a few passes.

    Attributes:
        threads: Number of threads.
        bandwidth_bytes_per_s: Bytes read per second by matrix-vector products over `READ_BYTES` of float32.
        flops_per_s: Float32 operations per second in square matrix products that fit in the caches.
    """

    threads: int
    bandwidth_bytes_per_s: float
    flops_per_s: float


class RooflineBenchmark:
    """The benchmark and its arrays. Runs in its own process, where numpy uses one thread per product."""

    def __init__(self, progress: Progress, threads: int) -> None:
        progress(f"allocating {READ_BYTES / 1e6:.0f} MB for the bandwidth benchmark")
        width = 4_096
        rows = READ_BYTES // 4 // width // threads
        self._threads, self._pool = threads, ThreadPoolExecutor(threads)
        self._shares = [np.ones((rows, width), np.float32) for _ in range(threads)]
        self._vector = np.ones(width, np.float32)
        self._squares = [np.ones((SIDE, SIDE), np.float32) for _ in range(threads)]

    def measure(self, passes: int = 5) -> Roofline:
        """The best of `passes`, since disturbances only slow a pass down."""
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
    """The benchmark in its own process; call `RooflineBenchmark.measure` on it."""
    return WorkerProcess("the bandwidth benchmark", RooflineBenchmark, progress, ONE_THREAD, threads)


def measure_roofline(threads: int, progress: Progress = lambda _: None) -> Roofline:
    """Runs the benchmark once with `threads` threads, in a temporary process."""
    with open_roofline_benchmark(threads, progress) as benchmark:
        return benchmark.call(RooflineBenchmark.measure)


@dataclass(frozen=True)
class Machine:
    """Facts about the machine, without facts about its owner.

    Attributes:
        memory_bytes: Installed memory.
        energy: How energy is measured, or why it is not.
        busy: Load average over the last minute, in cores; None if the system does not report it.
    """

    system: str
    processor: str
    cores: int
    memory_bytes: int
    python: str
    energy: str
    busy: float | None


def this_machine() -> Machine:
    """The machine that runs this process."""
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
    """The processor's model name on Linux, else its architecture."""
    if sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf8") as lines:
            named = next((line for line in lines if line.startswith("model name")), "")
        if named:
            return named.partition(":")[2].strip()
    return platform.processor() or platform.machine()
