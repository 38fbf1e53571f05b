"""Quantizes a model as `edge run -e onnx:int4` does when it first sees it: seconds and memory.

python -m tests.bench.quantizing
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass
from math import prod
from pathlib import Path
from time import perf_counter

from edge.picture.units import show_bytes
from edge.profile.memory import process_peak_bytes
from edge.worker_process import WorkerProcess
from export.quantizing import prepare_quantized
from models.checkpoint import Checkpoint, open_checkpoint
from models.precision import Grouped, precision_of
from models.progress import Progress
from tests.bench.big_export import SHAPES
from tests.bench.checkpoint import write_checkpoint

AIM = 1.5
"""Times the largest tensor in float32, beside what is written: the most that quantizing may hold."""


@dataclass(frozen=True)
class Quantizing:
    """One model quantized.

    Attributes:
        baseline_bytes: The most that the process held before, its packages loaded and the checkpoint opened.
        peak_bytes: The most that it held when all was written.
    """

    took_s: float
    baseline_bytes: int
    peak_bytes: int
    written_bytes: int
    largest_bytes: int

    @property
    def held_bytes(self) -> int:
        """What quantizing added."""
        return self.peak_bytes - self.baseline_bytes

    @property
    def allowed_bytes(self) -> float:
        return AIM * self.largest_bytes + self.written_bytes


def quantize(checkpoint: Checkpoint, precision: str) -> Quantizing:
    """Runs in the process that holds nothing else."""
    asked, baseline = precision_of(precision), process_peak_bytes()
    assert isinstance(asked, Grouped), f"{precision} quantizes nothing"
    started_s = perf_counter()
    quantized = prepare_quantized(checkpoint, asked.scheme, lambda _: None)
    took_s, peak = perf_counter() - started_s, process_peak_bytes()
    if baseline is None or peak is None:
        raise RuntimeError("this system does not say how much memory a process held")
    largest = max(4 * prod(array.shape) for array in checkpoint.weights.values())
    return Quantizing(took_s, baseline, peak, sum(file.stat().st_size for file in quantized.files), largest)


def _open(progress: Progress, folder: Path) -> Checkpoint:
    return open_checkpoint(folder)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.quantizing", description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="135M")
    parser.add_argument("--precision", default="int4", help="int4, int8-g128-sym ... (default int4)")
    return parser.parse_args()


def main() -> int:
    options = _options()
    shape = SHAPES[options.shape]
    with tempfile.TemporaryDirectory(prefix="edge-quantizing-") as temporary:
        folder, environment = Path(temporary) / "model", {"EDGE_CACHE": str(Path(temporary) / "cache")}
        write_checkpoint(folder, shape)
        with WorkerProcess("the quantizing process", _open, lambda _: None, environment, folder) as worker:
            found = worker.call(quantize, options.precision)
    held, allowed, is_reached = (
        found.held_bytes,
        found.allowed_bytes,
        found.held_bytes <= found.allowed_bytes,
    )
    print(f"{shape}; quantized as {options.precision} in {found.took_s:.1f} s: {show_bytes(found.written_bytes)}")
    print(f"peak {show_bytes(found.peak_bytes)}, {show_bytes(held)} above {show_bytes(found.baseline_bytes)} before")
    aim = f"aim {AIM} x {show_bytes(found.largest_bytes)}, the largest tensor, and the output: {show_bytes(allowed)}"
    print(f"{aim} {'reached' if is_reached else 'MISSED'}")
    return 0 if is_reached else 1


if __name__ == "__main__":
    sys.exit(main())
