"""What a lab found, as a file and back."""

from pathlib import Path
from typing import Any

from edge.dataclass_json import open_record, to_json_value
from edge.lab.contrast import contrast
from edge.lab.run import LabRecord
from models.json_text import finite

FORMAT = 2
KIND = "edge lab"


def to_json(record: LabRecord) -> dict[str, Any]:
    """Everything that was found; for whoever reads it without Edge, the verdicts that follow and the summary."""
    told: dict[str, Any] = finite(to_json_value(record))
    for plain, tried in zip(told["tried"], record.tried, strict=True):
        finding = tried.finding
        plain["finding"] |= {"verdict": str(finding.verdict), "reason": finding.reason}
        for effect, of in zip(plain["finding"]["effects"], finding.effects, strict=True):
            effect["verdict"] = str(of.verdict)
    return {"format": FORMAT, "kind": KIND, "lab": told, "summary": to_json_value(contrast(record))}


def open_lab(path: Path) -> LabRecord:
    """What `edge lab --json` wrote.

    Raises:
        EdgeError: there is none, or it holds something else; the message says what.
    """
    return open_record(path, LabRecord, "lab", KIND, FORMAT)
