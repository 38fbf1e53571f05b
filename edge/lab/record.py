"""The record of a lab run as a JSON file."""

from pathlib import Path
from typing import Any

from edge.dataclass_json import open_record, to_json_value
from edge.lab.contrast import contrast
from edge.lab.run import LabRecord
from models.json_text import finite

FORMAT = 3
KIND = "edge lab"


def to_json(record: LabRecord) -> dict[str, Any]:
    """The whole record; with verdicts and the comparison of attention and FFN, for programs that do not use Edge."""
    lab: dict[str, Any] = finite(to_json_value(record))
    for plain, result in zip(lab["results"], record.results, strict=True):
        finding = result.finding
        plain["finding"] |= {"verdict": str(finding.verdict), "reason": finding.reason}
        for effect, measured in zip(plain["finding"]["effects"], finding.effects, strict=True):
            effect["verdict"] = str(measured.verdict)
    return {"format": FORMAT, "kind": KIND, "lab": lab, "contrast": to_json_value(contrast(record))}


def open_lab(path: Path) -> LabRecord:
    """Reads a file that `edge lab --json` wrote.

    Raises:
        EdgeError: the file is missing, or is not a record of the lab; the message says which.
    """
    return open_record(path, LabRecord, "lab", KIND, FORMAT)
