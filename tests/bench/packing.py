"""Packs a model as `edge run -e onnx:int4` does when it first sees it: seconds, and memory beside what must be held.

python -m tests.bench.packing
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass
from math import prod
from pathlib import Path
from time import perf_counter

from edge.apart import Apart, Progress
from edge.picture.units import show_bytes
from edge.profile.memory import process_peak_bytes
from export.packing import prepare_packed
from models.checkpoint import Checkpoint, open_checkpoint
from models.precision import Grouped, precision_of
from tests.bench.big_export import SHAPES
from tests.bench.checkpoint import write_checkpoint

AIM = 1.5
"""Times the largest tensor in float32, beside what is written: the most that packing may hold."""


@dataclass(frozen=True)
class Packing:
    """One model packed.

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
        """What packing added."""
        return self.peak_bytes - self.baseline_bytes

    @property
    def allowed_bytes(self) -> float:
        return AIM * self.largest_bytes + self.written_bytes


def pack(checkpoint: Checkpoint, precision: str) -> Packing:
    """Runs in the process that holds nothing else."""
    asked, baseline = precision_of(precision), process_peak_bytes()
    assert isinstance(asked, Grouped), f"{precision} packs nothing"
    started_s = perf_counter()
    packed = prepare_packed(checkpoint, asked.scheme, lambda _: None)
    took_s, peak = perf_counter() - started_s, process_peak_bytes()
    if baseline is None or peak is None:
        raise RuntimeError("this system does not say how much memory a process held")
    largest = max(4 * prod(array.shape) for array in checkpoint.weights.values())
    return Packing(took_s, baseline, peak, sum(file.stat().st_size for file in packed.files), largest)


def _open(tell: Progress, folder: Path) -> Checkpoint:
    return open_checkpoint(folder)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.packing", description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="135M")
    parser.add_argument("--precision", default="int4", help="int4, int8-g128-sym ... (default int4)")
    return parser.parse_args()


def main() -> int:
    options = _options()
    shape = SHAPES[options.shape]
    with tempfile.TemporaryDirectory(prefix="edge-packing-") as temporary:
        folder, environment = Path(temporary) / "model", {"EDGE_CACHE": str(Path(temporary) / "cache")}
        write_checkpoint(folder, shape)
        with Apart("the packing process", _open, lambda _: None, environment, folder) as apart:
            packing = apart.ask(pack, options.precision)
    held, allowed, is_reached = packing.held_bytes, packing.allowed_bytes, packing.held_bytes <= packing.allowed_bytes
    print(f"{shape}; packed as {options.precision} in {packing.took_s:.1f} s: {show_bytes(packing.written_bytes)}")
    print(
        f"peak {show_bytes(packing.peak_bytes)}, {show_bytes(held)} above {show_bytes(packing.baseline_bytes)} before"
    )
    aim = f"aim {AIM} x {show_bytes(packing.largest_bytes)}, the largest tensor, and the output: {show_bytes(allowed)}"
    print(f"{aim} {'reached' if is_reached else 'MISSED'}")
    return 0 if is_reached else 1


if __name__ == "__main__":
    sys.exit(main())
