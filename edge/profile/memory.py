"""Memory of a process: weights on disk, weights in memory, KV cache, allocator peak and process peak."""

import ctypes
import os
import sys
from dataclasses import dataclass

from edge.profile.weight_memory import weight_bytes, weights_memory_bytes
from edge.session import Model
from models.spec import DecoderSpec
from models.states import state_numbers

STATUS = "/proc/self/status"

_RUSAGE_INFO_V4, _LIFETIME_PEAK = 4, 28
"""`proc_pid_rusage` of macOS: the record version, and the index of the lifetime maximum footprint after the id."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Memory of a process that ran one model on one engine, in bytes.

    Attributes:
        weights_bytes: Weights on disk: tensors of the checkpoint, or those quantized for the engine.
        weights_memory_bytes: Weights in the format of the engine, computed from the spec. Quantized weights stay
            quantized, except in torch. None if unknown.
        kv_bytes: Keys and values at the reserved capacity, computed from the spec.
        allocator_peak_bytes: Peak of the runtime's allocator; None if it does not report one.
        process_peak_bytes: Peak resident memory of the process, including mapped files; None if the system does not
            report it.
    """

    weights_bytes: int
    kv_bytes: int
    allocator_peak_bytes: int | None
    process_peak_bytes: int | None
    weights_memory_bytes: int | None = None


def measure_memory(model: Model, tokens: int) -> Memory:
    """Memory of the calling process so far; `tokens` is the reserved capacity.

    It describes the model only if the process ran nothing else.
    """
    return Memory(
        weights_bytes=model.weights_bytes,
        kv_bytes=kv_bytes(model.spec, tokens, model.float_bytes),
        allocator_peak_bytes=model.with_engine(lambda engine: engine.allocator_peak_bytes),
        process_peak_bytes=process_peak_bytes(),
        weights_memory_bytes=round(weights_memory_bytes(model.spec, weight_bytes(model.engine, model.checkpoint))),
    )


def kv_bytes(spec: DecoderSpec, tokens: int, float_bytes: int) -> int:
    """Keys and values of every layer: `Σ 2 · kv_heads · head_dim · tokens · bytes`, and other states."""
    return state_numbers(spec, tokens) * float_bytes


def _linux_peak_bytes() -> int | None:
    with open(STATUS, encoding="ascii") as lines:
        peak = next((line for line in lines if line.startswith("VmHWM:")), None)
    return int(peak.split()[1]) * 1024 if peak else None


def _macos_peak_bytes() -> int | None:
    system, record = ctypes.CDLL("libproc.dylib"), (ctypes.c_uint64 * 64)()
    if system.proc_pid_rusage(os.getpid(), _RUSAGE_INFO_V4, ctypes.byref(record)):
        return None
    return int(record[2 + _LIFETIME_PEAK])


_PEAKS = {"linux": _linux_peak_bytes, "darwin": _macos_peak_bytes}


def process_peak_bytes() -> int | None:
    """Peak memory of this process: VmHWM on Linux, `phys_footprint` on macOS; None on other systems."""
    return _PEAKS[sys.platform]() if sys.platform in _PEAKS else None
