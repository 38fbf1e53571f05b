"""The manifest of a bundle: the spec of its graphs, how they were exported, and hashes of its files."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from export.logit_difference import LogitDifference
from models.errors import SpecError
from models.json_text import json_text, parse_json
from models.spec import DecoderSpec
from models.spec_json import spec_from_json, spec_to_json

FORMAT = 9
"""Increases when the graphs of a spec change: their inputs, outputs, names or operators."""

FILE = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One bundle.

    Attributes:
        oldest_onnxruntime: The oldest release that opens the graphs.
        layout: `Layout.to_json` of the graphs; empty if all matrices are dense.
        kernels: Name of the attention kernels of each graph.
        weights: The file of weights in the bundle, or `outside` if the checkpoint provides them.
        sha256: Hash of every other file in the folder.
        parity: Comparison with torch, by graph; empty in a bundle without weights.
    """

    spec: DecoderSpec
    opset: int
    oldest_onnxruntime: str
    precision: str
    kernels: dict[str, str]
    sites: tuple[str, ...]
    weights: str
    sha256: dict[str, str]
    versions: dict[str, str]
    layout: str = ""
    parity: dict[str, LogitDifference] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def key(self) -> str:
        return graph_key(self.spec, self.layout)

    def to_json(self) -> str:
        table = asdict(self) | {"edge_bundle": True, "key": self.key, "spec": json.loads(spec_to_json(self.spec))}
        return json_text(table, indent=1, sort_keys=True) + "\n"


def graph_key(spec: DecoderSpec, layout: str = "") -> str:
    """Hash of the format, the spec and the layout. Decoders with equal keys share graphs."""
    text = f"{FORMAT}\n{spec_to_json(spec)}" + (f"\n{layout}" if layout else "")
    return hashlib.sha256(text.encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a bundle in this format; None for any other folder."""
    try:
        table: dict[str, Any] = parse_json((folder / FILE).read_text(encoding="utf8"))
        if table.pop("edge_bundle") is not True or table["format"] != FORMAT:
            return None
        key, table["spec"] = table.pop("key"), spec_from_json(json.dumps(table["spec"]))
        table["parity"] = {name: LogitDifference(**measured) for name, measured in table["parity"].items()}
        table["sites"] = tuple(table["sites"])
        manifest = Manifest(**table)
        _check_types(manifest)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SpecError):
        return None
    return manifest if manifest.key == key else None


def _check_types(manifest: Manifest) -> None:
    """Raises TypeError if a value has the wrong type."""
    texts = [*manifest.kernels.items(), *manifest.sha256.items(), *manifest.versions.items(), *manifest.sites]
    numbers = [number for one in manifest.parity.values() for number in vars(one).values()]
    if not all(isinstance(text, str) for pair in texts for text in (pair if isinstance(pair, tuple) else (pair,))):
        raise TypeError("a name is not a string")
    if not all(number is None or type(number) in (int, float) for number in numbers):
        raise TypeError("a measurement is not a number")


def is_bundle(folder: Path) -> bool:
    """Whether this folder is a bundle, in any format."""
    try:
        return parse_json((folder / FILE).read_text(encoding="utf8")).get("edge_bundle") is True
    except (OSError, ValueError, AttributeError):
        return False


def file_sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def package_versions() -> dict[str, str]:
    """Versions of the installed packages that affect a bundle."""
    versions: dict[str, str] = {}
    for package in ("edge-lens", "torch", "onnx", "onnxscript", "onnxruntime"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
