"""The file format of a trace: safetensors with a JSON record in the header, versioned."""

from pathlib import Path
from typing import Any

import numpy as np

from edge.output import write_file
from models.errors import EdgeError
from models.json_text import json_text, parse_json
from models.other_formats import of_file
from models.safetensors_file import TensorPlace, tensor_places

FORMAT = "4"
"""Increases when an older Edge could not read new traces."""


def write_store(path: Path, record: dict[str, Any], arrays: dict[str, np.ndarray]) -> Path:
    """Writes the file atomically, as `edge.output.write_file` does."""
    from safetensors.numpy import save_file

    header = {"format": FORMAT, "record": json_text(record)}
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return write_file(path, lambda part: save_file(contiguous, part, header))


def read_store(path: Path) -> tuple[dict[str, Any], dict[str, TensorPlace]]:
    """Reads the record and the places of the arrays, which stay on disk until they are used."""
    if not path.is_file():
        raise EdgeError(f"there is no trace at {path}; 'edge trace MODEL PROMPT -o FILE' writes one")
    header = _header(path)
    if header.get("format") != FORMAT:
        raise EdgeError(
            f"{path} is a trace of format {header.get('format')}, this Edge reads format {FORMAT}; "
            "run it again, or open it with the Edge that wrote it"
        )
    try:
        record = parse_json(header["record"])
    except (ValueError, KeyError) as error:
        raise damaged(path, error) from error
    if not isinstance(record, dict):
        raise damaged(path, "its record is not a JSON object")
    return record, tensor_places(path)


def damaged(path: Path, why: object) -> EdgeError:
    """The error for a damaged trace."""
    return EdgeError(f"the trace {path} is damaged ({why}); run it again")


def _header(path: Path) -> dict[str, str]:
    with path.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        text = opened.read(min(length, path.stat().st_size))
    try:
        header = parse_json(text)["__metadata__"]
        if not isinstance(header, dict) or not {"record", "format"} <= header.keys():
            raise ValueError("no record of a run")
    except (ValueError, KeyError, TypeError) as error:
        raise EdgeError(
            of_file(path) or f"{path} is not a trace that Edge wrote; 'edge trace MODEL PROMPT -o FILE' writes one"
        ) from error
    return {name: str(value) for name, value in header.items()}
