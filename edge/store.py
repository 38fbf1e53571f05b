"""Traces on disk: one versioned safetensors file, opened again without any engine."""

import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from edge.timing import RunTiming
from edge.trace import Trace
from edge.watch import Watch
from models.errors import EdgeError
from models.safetensors_file import tensor_places
from models.spec_json import spec_from_json, spec_to_json

FORMAT = "1"
"""Raised when a trace written today could not be read by yesterday's Edge."""


def save_trace(trace: Trace, path: Path) -> Path:
    """Writes beside the target and renames, so that a failed write leaves no file."""
    from safetensors.numpy import save_file

    header = {
        "format": FORMAT,
        "spec": spec_to_json(trace.spec),
        "run": json.dumps(_run_of(trace)),
    }
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        sites = {name: np.ascontiguousarray(value) for name, value in trace.sites.items()}
        save_file(sites, part, {"edge": json.dumps(header)})
        os.replace(part, path)
    except OSError as error:
        raise EdgeError(f"the trace could not be written to {path}: {error.strerror or error}") from error
    except Exception as error:  # safetensors wraps what the system says in an error of its own
        raise EdgeError(f"the trace could not be written to {path}: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return path


def open_trace(path: str | Path) -> Trace:
    """Reads a trace that `Trace.save` wrote; sites stay on disk until they are used."""
    path = Path(path)
    if not path.is_file():
        raise EdgeError(f"there is no trace at {path}")
    places = tensor_places(path)
    header = _header(path)
    if header["format"] != FORMAT:
        raise EdgeError(
            f"{path} is a trace of format {header['format']}, this Edge reads format {FORMAT}; "
            "run it again, or open it with the Edge that wrote it"
        )
    run = json.loads(header["run"])
    watch: dict[str, Any] = run.pop("watch")
    timing: dict[str, Any] = run.pop("timing")
    layers = watch["layers"]
    for name in ("tokens", "pieces", "logprobs"):
        run[name] = tuple(run[name])
    return Trace(
        spec=spec_from_json(header["spec"]),
        watch=Watch(**watch | {"parts": tuple(watch["parts"]), "layers": layers and tuple(layers)}),
        timing=RunTiming(**timing | {"inter_token_ms": tuple(timing["inter_token_ms"])}),
        sites={name: place.read() for name, place in places.items()},
        **run,
    )


def is_trace(path: Path) -> bool:
    """Whether `path` is a file that claims to be a trace."""
    if not path.is_file():
        return False
    try:
        _header(path)
    except EdgeError:
        return False
    return True


def _run_of(trace: Trace) -> dict[str, Any]:
    """Everything of a trace but its spec and arrays."""
    run = {field.name: getattr(trace, field.name) for field in fields(trace) if field.name not in ("spec", "sites")}
    return run | {"watch": asdict(trace.watch), "timing": asdict(trace.timing)}


def _header(path: Path) -> dict[str, str]:
    with path.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        text = opened.read(min(length, path.stat().st_size))
    try:
        header = json.loads(json.loads(text)["__metadata__"]["edge"])
        return {key: str(header[key]) for key in ("format", "spec", "run")}
    except (ValueError, KeyError, TypeError) as error:
        raise EdgeError(
            f"{path} is not a trace that Edge wrote; 'edge trace MODEL PROMPT -o FILE' writes one"
        ) from error
