"""Keeps every finished measurement of tensors, so that an interrupted run continues."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge import __version__
from edge.compare.estimate import Estimate
from edge.compare.predictions import PredictionDifference
from edge.output import write_text
from models.cache_folder import cache_folder, cache_key
from models.checkpoint import Checkpoint
from models.json_text import json_text, parse_json

FORMAT = 1
"""Increases when measurements of older versions are not comparable."""


@dataclass
class Record:
    """The measurements of two checkpoints on one text.

    Attributes:
        file: Where they are kept.
        entries: Measurements by a hash of the names of the quantized parameters.
    """

    file: Path
    entries: dict[str, Any]

    @classmethod
    def of(cls, first: Checkpoint, second: Checkpoint, engine: str, ids: Sequence[int]) -> "Record":
        """The record of a comparison; empty if there is none, or if it is damaged."""
        key = cache_key((*first.files, *second.files), FORMAT, __version__, engine, tuple(ids))
        file = cache_folder("tensors") / f"{key}.json"
        try:
            entries = parse_json(file.read_text(encoding="utf8"))
        except (OSError, ValueError):
            entries = {}
        return cls(file, entries if isinstance(entries, dict) else {})

    def kept(self, parameters: frozenset[str], measured: Callable[[], PredictionDifference]) -> PredictionDifference:
        """The measurement with these parameters quantized; measured now, and written, if there is none."""
        key = hashlib.sha256("\n".join(sorted(parameters)).encode()).hexdigest()
        try:
            entry = dict(self.entries[key])
            return PredictionDifference(**entry | {"perplexity_difference": Estimate(**entry["perplexity_difference"])})
        except (KeyError, TypeError, ValueError):
            found = measured()
        self.entries[key] = asdict(found)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.file, json_text(self.entries))
        return found
