"""Checks that an export is the same model: the ONNX checker, and logits compared with torch float32."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch

from export.batched_kernels import Served
from export.comparison_ids import comparison_ids
from export.initializers import add_initializers, initializer_values
from export.kernels import kernels_of
from export.layout import Layout
from export.logit_difference import Ids, LogitDifference, Logits, compare_logits
from export.onnx_runtime import ort
from models.checkpoint import Checkpoint
from models.errors import EdgeError
from models.kernels import FullPass
from models.loading import load_decoder
from models.sites import LOGITS
from models.spec import DecoderSpec
from models.states import state_shape, states_of

TOLERANCE = 1e-3
"""Largest |Δlogit| that a different order of float32 operations causes on real models."""


def check_graph(file: Path) -> None:
    """Runs the full ONNX checker on a graph with weights. Raises EdgeError if it fails."""
    try:
        onnx.checker.check_model(str(file), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise EdgeError(f"{file.name} is not valid ONNX: {error}; please report this with the checkpoint") from error


def measure_parity(
    checkpoint: Checkpoint, layout: Layout, files: Mapping[str, Path], weightless: bool
) -> dict[str, LogitDifference]:
    """Compares each graph of an export, run by ONNX Runtime, with torch on the same weights.

    Args:
        weightless: The graphs have no weights, and use the checkpoint's.
    """
    spec, ids = checkpoint.spec, comparison_ids(checkpoint)
    reference = torch_logits(checkpoint, ids.passes)
    runs: dict[str, Run] = {"std": run_std, "genai": run_std, "fast": run_fast}
    runs |= {"probe": run_probe, "edit": run_probe}
    if kernels_of(spec)["genai"] is Served:
        runs["genai"] = run_served
    measured, initializers = {}, {}
    if weightless:
        initializers = {
            name: ort.OrtValue.ortvalue_from_numpy(value) for name, value in initializer_values(checkpoint, layout)
        }
    for name, file in files.items():
        logits = _logits(file, initializers, runs[name], spec, ids.passes)
        measured[name] = compare_logits(logits, reference, ids.targets)
    return measured


def _logits(
    file: Path, initializers: Mapping[str, ort.OrtValue], run: "Run", spec: DecoderSpec, passes: Sequence[Ids]
) -> list[Logits]:
    """Logits of one graph for each pass. The session is freed at the end, since each session copies all weights."""
    session = ort.InferenceSession(str(file), _options(initializers), providers=["CPUExecutionProvider"])
    return [run(session, spec, ids) for ids in passes]


def quantization_cost(quantized: Checkpoint, original: Checkpoint) -> LogitDifference:
    """How far quantization changes the logits, computed by torch in float32: the loss common to all runtimes."""
    ids = comparison_ids(quantized)
    reference = torch_logits(original, ids.passes)
    return compare_logits(torch_logits(quantized, ids.passes), reference, ids.targets)


def torch_logits(checkpoint: Checkpoint, passes: Sequence[Ids]) -> list[Logits]:
    """Logits after every token of each pass, from torch. The decoder is freed at the end."""
    decoder = load_decoder(checkpoint)
    with torch.inference_mode():
        return [decoder(torch.from_numpy(ids), torch.arange(len(ids)), FullPass(len(ids))).numpy() for ids in passes]


def tolerance(layout: Layout) -> float:
    """The tolerance for |Δlogit|. Products in 8 bits have none: their difference is reported, not checked."""
    return float("inf") if layout.schemes and layout.accuracy == 4 else TOLERANCE


def check_parity(parity: Mapping[str, LogitDifference], largest: float = TOLERANCE) -> None:
    """Raises EdgeError if an export's logits differ from the model's by more than `largest`."""
    for name, measured in parity.items():
        # Written so that NaN fails too.
        if not measured.max_logit_difference <= largest:
            raise EdgeError(
                f"graph '{name}' differs from torch by {measured.max_logit_difference:.2e} in a logit, above the "
                f"tolerance {largest:g}; nothing was written; please report this with the checkpoint"
            )


Run = Callable[[ort.InferenceSession, DecoderSpec, Ids], Logits]


def run_std(session: ort.InferenceSession, spec: DecoderSpec, ids: Ids) -> Logits:
    """Feeds all but the last token in one pass from an empty cache, then the last token."""
    past = _empty(spec, 0)
    return _run_batched(session, ids, past)


def _run_batched(session: ort.InferenceSession, ids: Ids, past: dict[str, np.ndarray]) -> Logits:
    logits = []
    for start, end in ((0, len(ids) - 1), (len(ids) - 1, len(ids))):
        feeds = {
            "input_ids": ids[None, start:end],
            "attention_mask": np.ones((1, end), np.int64),
            "position_ids": np.arange(start, end)[None],
        }
        found = session.run(None, feeds | past)
        logits.append(found[0][0])
        past = dict(zip(past, found[1:], strict=True))
    return np.concatenate(logits)


def run_served(session: ort.InferenceSession, spec: DecoderSpec, ids: Ids) -> Logits:
    """The same with cache buffers of fixed capacity, which the graph returns."""
    past = _empty(spec, len(ids) + 3)
    return _run_batched(session, ids, past)


def run_fast(session: ort.InferenceSession, spec: DecoderSpec, ids: Ids) -> Logits:
    """Logits after the last two tokens: a pass from an empty cache, then one token."""
    return _run_buffered(session, spec, ids, lambda start, end: {})


def run_probe(session: ort.InferenceSession, spec: DecoderSpec, ids: Ids) -> Logits:
    """Logits after every token, in the same two passes."""
    return _run_buffered(session, spec, ids, lambda start, end: {"rows": np.arange(end - start)})


def _run_buffered(
    session: ort.InferenceSession, spec: DecoderSpec, ids: Ids, more: Callable[[int, int], dict[str, Ids]]
) -> Logits:
    past = _empty(spec, len(ids) + 3)
    outputs = [LOGITS, *(name.replace("past_key_values", "present") for name in past)]
    logits = []
    for start, end in ((0, len(ids) - 1), (len(ids) - 1, len(ids))):
        feeds = {"ids": ids[start:end], "total": np.array([end], np.int32), **more(start, end)}
        found = session.run(outputs, feeds | past)
        logits.append(found[0])
        past = dict(zip(past, found[1:], strict=True))
    return np.concatenate(logits)


def _empty(spec: DecoderSpec, capacity: int) -> dict[str, np.ndarray]:
    """All states before the first token, with room for `capacity` tokens."""
    return {
        f"past_key_values.{name}": np.zeros(state_shape(state, capacity), np.float32)
        for name, state in states_of(spec).items()
    }


def _options(initializers: Mapping[str, ort.OrtValue]) -> ort.SessionOptions:
    """Session options with few log messages. `initializers` must outlive the session."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if initializers:
        add_initializers(options, initializers, in_place=True)
    return options
