"""Proof that an export is the same model: the checker's verdict, and logits against torch float32."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch

from export.comparison_ids import comparison_ids
from export.initializers import give, initializer_values
from export.kernels import Served, kernels_of
from export.layout import Layout
from export.logit_difference import Ids, LogitDifference, Logits, compare_logits
from export.onnx_runtime import ort
from models.checkpoint import Checkpoint
from models.errors import EdgeError
from models.kernels import FullPass
from models.loading import load_decoder
from models.sites import LOGITS
from models.spec import DecoderSpec

TOLERANCE = 1e-3
"""Largest |Δlogit| that float32 arithmetic in another order explains on real models."""


def check_graph(file: Path) -> None:
    """The checker's full verdict on a graph that has its numbers; one it refuses is an `EdgeError`."""
    try:
        onnx.checker.check_model(str(file), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise EdgeError(f"{file.name} is not valid ONNX: {error}; please report this with the checkpoint") from error


def measure_parity(
    checkpoint: Checkpoint, layout: Layout, files: Mapping[str, Path], weightless: bool
) -> dict[str, LogitDifference]:
    """Runs each graph of an export, in plain ONNX Runtime, beside torch on the same weights.

    Args:
        weightless: The graphs have no numbers beside them, and are given the checkpoint's.
    """
    spec, passage = checkpoint.spec, comparison_ids(checkpoint)
    texts = passage.passes
    wanted = torch_logits(checkpoint, texts)
    runs: dict[str, Run] = {"std": run_std, "genai": run_std, "fast": run_fast}
    runs |= {"probe": run_probe, "edit": run_probe}
    if kernels_of(spec)["genai"] is Served:
        runs["genai"] = run_served
    found, given = {}, {}
    if weightless:
        given = {
            name: ort.OrtValue.ortvalue_from_numpy(value) for name, value in initializer_values(checkpoint, layout)
        }
    for name, file in files.items():
        found[name] = compare_logits(_logits(file, given, runs[name], spec, texts), wanted, passage.targets)
    return found


def _logits(
    file: Path, given: Mapping[str, ort.OrtValue], run: "Run", spec: DecoderSpec, texts: Sequence[Ids]
) -> list[Logits]:
    """What one graph says of each text; its session is gone before another is made, since each lays out all weights."""
    session = ort.InferenceSession(str(file), _options(given), providers=["CPUExecutionProvider"])
    return [run(session, spec, ids) for ids in texts]


def quantization_cost(quantized: Checkpoint, original: Checkpoint) -> LogitDifference:
    """How far quantized weights move the model, in torch float32: what no runtime can give back."""
    passage = comparison_ids(quantized)
    wanted = torch_logits(original, passage.passes)
    return compare_logits(torch_logits(quantized, passage.passes), wanted, passage.targets)


def torch_logits(checkpoint: Checkpoint, texts: Sequence[Ids]) -> list[Logits]:
    """Logits after every token of each text; the decoder is let go before they are returned."""
    decoder = load_decoder(checkpoint)
    with torch.inference_mode():
        return [decoder(torch.from_numpy(ids), torch.arange(len(ids)), FullPass(len(ids))).numpy() for ids in texts]


def tolerance(layout: Layout) -> float:
    """The largest |Δlogit| that passes. Products in 8 bits have none: what they cost is told, not judged."""
    return float("inf") if layout.schemes and layout.accuracy == 4 else TOLERANCE


def check_parity(parity: Mapping[str, LogitDifference], largest: float = TOLERANCE) -> None:
    """Refuses an export whose logits are not the model's."""
    for name, measured in parity.items():
        # Written so that a difference of NaN is refused too.
        if not measured.max_logit_difference <= largest:
            raise EdgeError(
                f"graph '{name}' differs from torch by {measured.max_logit_difference:.2e} in a logit, "
                f"more than {largest:g}: nothing was written; please report this with the checkpoint"
            )


Run = Callable[[ort.InferenceSession, DecoderSpec, Ids], Logits]


def run_std(session: ort.InferenceSession, spec: DecoderSpec, ids: Ids) -> Logits:
    """All but the last token in one pass from an empty cache, then the last one."""
    past = [np.zeros((1, spec.n_kv_heads, 0, spec.head_dim), np.float32) for _ in range(2 * spec.n_layers)]
    return _run_batched(session, ids, past)


def _run_batched(session: ort.InferenceSession, ids: Ids, past: list[np.ndarray]) -> Logits:
    logits = []
    for start, end in ((0, len(ids) - 1), (len(ids) - 1, len(ids))):
        feeds = {
            "input_ids": ids[None, start:end],
            "attention_mask": np.ones((1, end), np.int64),
            "position_ids": np.arange(start, end)[None],
        }
        found = session.run(None, feeds | _past(past))
        logits.append(found[0][0])
        past = found[1:]
    return np.concatenate(logits)


def run_served(session: ort.InferenceSession, spec: DecoderSpec, ids: Ids) -> Logits:
    """The same in buffers of fixed capacity, which the graph gives back."""
    past = [np.zeros((1, spec.n_kv_heads, len(ids) + 3, spec.head_dim), np.float32) for _ in range(2 * spec.n_layers)]
    return _run_batched(session, ids, past)


def run_fast(session: ort.InferenceSession, spec: DecoderSpec, ids: Ids) -> Logits:
    """The logits after the last two tokens: a pass from an empty cache, and one token after it."""
    return _run_buffered(session, spec, ids, lambda start, end: {})


def run_probe(session: ort.InferenceSession, spec: DecoderSpec, ids: Ids) -> Logits:
    """The logits after every token, in the same two passes."""
    return _run_buffered(session, spec, ids, lambda start, end: {"rows": np.arange(end - start)})


def _run_buffered(
    session: ort.InferenceSession, spec: DecoderSpec, ids: Ids, more: Callable[[int, int], dict[str, Ids]]
) -> Logits:
    past = [np.zeros((1, spec.n_kv_heads, len(ids) + 3, spec.head_dim), np.float32) for _ in range(2 * spec.n_layers)]
    outputs = [LOGITS, *(name.replace("past_key_values", "present") for name in _past(past))]
    logits = []
    for start, end in ((0, len(ids) - 1), (len(ids) - 1, len(ids))):
        feeds = {"ids": ids[start:end], "total": np.array([end], np.int32), **more(start, end)}
        found = session.run(outputs, feeds | _past(past))
        logits.append(found[0])
        past = found[1:]
    return np.concatenate(logits)


def _past(arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    names = (f"past_key_values.{layer}.{part}" for layer in range(len(arrays) // 2) for part in ("key", "value"))
    return dict(zip(names, arrays, strict=True))


def _options(given: Mapping[str, ort.OrtValue]) -> ort.SessionOptions:
    """Options of a session that says little; what it is `given` must outlive it."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if given:
        give(options, given, in_place=True)
    return options
