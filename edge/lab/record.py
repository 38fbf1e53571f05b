"""What a lab found, as a file and back."""

from pathlib import Path
from typing import Any

from edge.lab.contrast import contrast
from edge.lab.run import LabRecord
from edge.plain import open_record, to_plain
from models.json_text import finite

FORMAT = 1
KIND = "edge lab"


def to_json(record: LabRecord) -> dict[str, Any]:
    """Everything that was found, and the summary for whoever reads it without Edge."""
    told: dict[str, Any] = finite(to_plain(record))
    return {"format": FORMAT, "kind": KIND, "lab": told, "summary": to_plain(contrast(record))}


def open_lab(path: Path) -> LabRecord:
    """What `edge lab --json` wrote.

    Raises:
        EdgeError: there is none, or it holds something else; the message says what.
    """
    return open_record(path, LabRecord, "lab", KIND, FORMAT)
