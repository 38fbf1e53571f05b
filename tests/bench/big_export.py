"""Exports a 1.2B model in its own process: seconds, peak memory and its forecast, and parity of the export.

python -m tests.bench.big_export
"""

import argparse
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.picture.units import show_bytes
from edge.worker_process import WorkerProcess
from models.progress import Progress
from tests.bench.checkpoint import LLAMA_1B, LLAMA_135M, Shape, write_checkpoint
from tests.bench.child import ProcessRun, run_process

PEAK_AIM = 2.2
"""Largest peak memory of an export, as a multiple of the weights in float32."""

FORECAST_AIM = 0.15
"""Largest difference of the forecast from the measured peak, as a share of the peak."""

LOGIT_AIM = 1e-3
"""Largest difference of a logit that a different order of float32 operations explains."""

SHAPES = {"1.2B": LLAMA_1B, "135M": LLAMA_135M}

_IDS = [3, 141, 59, 2653, 5897, 9323, 8462, 6433, 83, 2795, 288]

_UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}


@dataclass(frozen=True)
class Export:
    """One export.

    Attributes:
        float32_bytes: Bytes of the weights in float32.
        forecast_bytes: Peak memory that `--dry-run` printed.
        max_logit_difference: Largest difference of the reopened graph from transformers, over every token of one text;
            None if plain ONNX Runtime cannot open the export.
    """

    took: ProcessRun
    float32_bytes: int
    forecast_bytes: float
    max_logit_difference: float | None

    @property
    def times_weights(self) -> float:
        return self.took.peak_bytes / self.float32_bytes

    @property
    def forecast_error(self) -> float:
        """Relative error of the forecast, `forecast / peak - 1`."""
        return self.forecast_bytes / self.took.peak_bytes - 1


def forecast_of(reported: str) -> float:
    """The peak memory in the output of `edge export --dry-run`, in bytes."""
    found = re.search(r"at most ([\d.,]+) (B|kB|MB|GB) of memory", reported)
    assert found, f"a dry run does not print the memory: {reported}"
    return float(found[1].replace(",", "")) * _UNITS[found[2]]


def export(shape: Shape, tool: str, precision: str, root: Path) -> Export:
    """Writes the model, exports it for a tool, and opens an export for `std` in plain ONNX Runtime."""
    folder, out, environment = root / "model", root / "onnx", {"EDGE_CACHE": str(root / "cache")}
    write_checkpoint(folder, shape)
    command = ["edge", "export", str(folder), str(out), "--for", tool, "--precision", precision]
    forecast = forecast_of(run_process([*command, "--dry-run"], environment).reported)
    took = run_process(command, environment)
    difference = None
    if tool == "std":
        wanted, found = _logits(_transformers_logits, folder), _logits(_plain_logits, out)
        difference = float(np.abs(wanted - found).max())
    return Export(took, shape.float32_bytes, forecast, difference)


def _logits(run: object, folder: Path) -> NDArray[np.float32]:
    """Logits from a separate process, so that one copy of the weights is freed before the next is read."""
    with WorkerProcess("a reopened model", _folder, lambda _: None, {}, folder) as opened:
        logits: NDArray[np.float32] = opened.call(run, _IDS)  # type: ignore[arg-type]
        return logits


def _folder(progress: Progress, folder: Path) -> Path:
    return folder


def _transformers_logits(folder: Path, ids: list[int]) -> NDArray[np.float32]:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        logits: NDArray[np.float32] = model(torch.tensor([ids])).logits[0].numpy()
    return logits


def _plain_logits(folder: Path, ids: list[int]) -> NDArray[np.float32]:
    from export.onnx_runtime import ort

    session = ort.InferenceSession(str(folder / "std.onnx"), providers=["CPUExecutionProvider"])
    feeds: dict[str, NDArray[np.generic]] = {
        value.name: np.zeros([1, value.shape[1], 0, value.shape[3]], np.float32)
        for value in session.get_inputs()
        if value.name.startswith("past_key_values")
    }
    feeds["input_ids"] = np.array([ids])
    feeds["attention_mask"], feeds["position_ids"] = np.ones((1, len(ids)), np.int64), np.arange(len(ids))[None]
    logits: NDArray[np.float32] = session.run(["logits"], feeds)[0][0]
    return logits


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.big_export", description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="1.2B")
    parser.add_argument("--for", dest="tool", choices=("std", "genai", "edge"), default="std")
    parser.add_argument("--precision", default="fp32", help="precision, as for edge export (default fp32)")
    return parser.parse_args()


def _verdicts(precision: str, export: Export) -> list[tuple[str, str, bool]]:
    """Each result, its target, and whether the target is reached."""
    took, largest = export.took, export.max_logit_difference
    of_weights = f"{export.times_weights:.2f} x the weights in float32"
    found = [
        (f"peak {show_bytes(took.peak_bytes)}, {of_weights}", f"{PEAK_AIM} x", export.times_weights <= PEAK_AIM),
        (
            f"forecast {show_bytes(export.forecast_bytes)}, {export.forecast_error:+.1%} of the peak",
            f"{FORECAST_AIM:.0%}",
            abs(export.forecast_error) <= FORECAST_AIM,
        ),
    ]
    if largest is not None and precision == "fp32":
        reopened = f"opened in plain ONNX Runtime, largest difference of a logit from transformers {largest:.1e}"
        found.append((reopened, f"{LOGIT_AIM:g}", largest <= LOGIT_AIM))
    return found


def main() -> int:
    options = _options()
    shape = SHAPES[options.shape]
    needed_bytes, root = 3 * shape.float32_bytes, Path(tempfile.mkdtemp(prefix="edge-export-"))
    try:
        if shutil.disk_usage(root).free < needed_bytes:
            print(f"the model and its export need {show_bytes(needed_bytes)} of disk space", file=sys.stderr)
            return 1
        done = export(shape, options.tool, options.precision, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    verdicts = _verdicts(options.precision, done)
    print(f"{shape}; {show_bytes(shape.float32_bytes)} in float32; exported for {options.tool}, {options.precision}")
    print(f"{done.took.wall_s:.0f} s; peak of {show_bytes(done.took.own_bytes)} in anonymous memory")
    for text, aim, is_reached in verdicts:
        print(f"{text}; target {aim} {'reached' if is_reached else 'missed'}")
    print(done.took.printed.strip())
    return 0 if all(is_reached for _, _, is_reached in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
