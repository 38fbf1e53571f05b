"""Quantizes a model as the first `edge run -e onnx:int4` does: seconds and memory.

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
"""Quantizing may use this multiple of the largest tensor in float32, and the size of its output."""


@dataclass(frozen=True)
class Quantizing:
    """Time and memory of quantizing one model.

    Attributes:
        baseline_bytes: Peak resident memory before, with packages loaded and the checkpoint open.
        peak_bytes: Peak resident memory at the end.
    """

    took_s: float
    baseline_bytes: int
    peak_bytes: int
    written_bytes: int
    largest_bytes: int

    @property
    def added_bytes(self) -> int:
        """Memory that quantizing added."""
        return self.peak_bytes - self.baseline_bytes

    @property
    def allowed_bytes(self) -> float:
        return AIM * self.largest_bytes + self.written_bytes


def quantize(checkpoint: Checkpoint, precision: str) -> Quantizing:
    """Quantizes in a process that does nothing else."""
    grouped, baseline = precision_of(precision), process_peak_bytes()
    assert isinstance(grouped, Grouped), f"{precision} does not quantize"
    started_s = perf_counter()
    quantized = prepare_quantized(checkpoint, grouped.scheme, lambda _: None)
    took_s, peak = perf_counter() - started_s, process_peak_bytes()
    if baseline is None or peak is None:
        raise RuntimeError("this system does not report the peak memory of a process")
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
    added, allowed = found.added_bytes, found.allowed_bytes
    is_reached = added <= allowed
    print(f"{shape}; quantized as {options.precision} in {found.took_s:.1f} s: {show_bytes(found.written_bytes)}")
    print(
        f"peak {show_bytes(found.peak_bytes)}, {show_bytes(added)} above the {show_bytes(found.baseline_bytes)} before"
    )
    aim = f"target {AIM} x {show_bytes(found.largest_bytes)} (largest tensor) + output = {show_bytes(allowed)}"
    print(f"{aim} {'reached' if is_reached else 'missed'}")
    return 0 if is_reached else 1


if __name__ == "__main__":
    sys.exit(main())
