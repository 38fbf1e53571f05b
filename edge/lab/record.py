"""What a lab found, as a file and back."""

import json
from pathlib import Path
from typing import Any

from edge.lab.contrast import contrast
from edge.lab.run import LabRecord
from edge.plain import from_plain, nan_as_null, to_plain
from models.errors import EdgeError

FORMAT = 1
KIND = "edge lab"


def to_json(record: LabRecord) -> dict[str, Any]:
    """Everything that was found, and the summary for whoever reads it without Edge."""
    told: dict[str, Any] = nan_as_null(to_plain(record))
    return {"format": FORMAT, "kind": KIND, "lab": told, "summary": to_plain(contrast(record))}


def open_lab(path: Path) -> LabRecord:
    """What `edge lab --json` wrote.

    Raises:
        EdgeError: there is none, or it holds something else; the message says what.
    """
    if not path.is_file():
        raise EdgeError(f"there is no lab at {path}; 'edge lab MODEL --json > FILE' writes one")
    try:
        told: Any = json.loads(path.read_text(encoding="utf8"))
        if not isinstance(told, dict) or told.get("kind") != KIND:
            raise ValueError("it is no record of 'edge lab'")
        if told.get("format") != FORMAT:
            raise ValueError(f"it is of format {told.get('format')}, this Edge reads format {FORMAT}")
        return from_plain(LabRecord, told.get("lab"))
    except (ValueError, RecursionError) as error:
        raise EdgeError(f"{path} is not a lab that this Edge reads: {error}") from error
