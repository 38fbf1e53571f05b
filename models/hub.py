"""Names of models on the Hugging Face hub, and checkpoints in the hub's cache. Nothing here contacts the hub."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from models.errors import CheckpointError, EdgeError
from models.file_names import checked_file_name

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read once, when the hub's client is imported

_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_NAME = re.compile(rf"(?P<id>{_ID.pattern})(?::(?P<tag>[^/\\:\x00-\x1f]+))?")

ENTRY = "models--"
"""How names of folders in the hub's cache start."""

FILES = ["*.json", "*.safetensors", "*.jinja", "merges.txt", "tokenizer.model"]
"""Files of a checkpoint and of a tokenizer. Pickled weights are not downloaded."""

COPIES = ["*/*", "consolidated*"]
"""Copies of the weights for other tools, in subfolders or with the names of the original release."""


@dataclass(frozen=True)
class HubName:
    """A model of the hub as users name it.

    Attributes:
        tag: A part of the name of a GGUF file, such as `Q4_K_M`; empty if none is named.
    """

    id: str
    tag: str = ""

    def __str__(self) -> str:
        return f"{self.id}:{self.tag}" if self.tag else self.id


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form `owner/model`."""
    return _ID.fullmatch(name) is not None


def hub_name(text: str) -> HubName | None:
    """The parts of `owner/model` or `owner/model:Q4_K_M`; None for other texts."""
    match = _NAME.fullmatch(text)
    return HubName(match["id"], match["tag"] or "") if match else None


def cached(id: str) -> Path | None:
    """The folder of a checkpoint in the cache; None if it is absent or incomplete."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot(id, local_only=True)
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None
    return folder if _is_whole(folder) else None


def entry_of(id: str) -> Path:
    """The cache folder of a model, with every downloaded file, complete or partial."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"{ENTRY}{id.replace('/', '--')}"


def id_of(folder: Path) -> str | None:
    """The id of a checkpoint whose folder lies in the hub's cache (`models--owner--model/snapshots/...`)."""
    kind, _, id = folder.parent.parent.name.partition("--")
    in_cache = folder.parent.name == "snapshots" and kind == "models"
    return id.replace("--", "/") if in_cache and id else None


def is_inside(file: Path, folder: Path) -> bool:
    """Whether a file of a checkpoint is in its folder, or in the blobs folder of the hub's cache that it links to."""
    roots = [folder.resolve()]
    if id_of(roots[0]):
        roots.append(roots[0].parent.parent / "blobs")
    return any(file.resolve().is_relative_to(root) for root in roots)


def snapshot_in(folder: Path) -> Path | None:
    """The checkpoint in a model's folder of the hub's cache (`models--owner--model`); None for any other folder.

    Raises:
        CheckpointError: the folder has no checkpoint, or several.
    """
    snapshots, main = folder / "snapshots", folder / "refs" / "main"
    if not (folder.resolve().name.startswith("models--") and snapshots.is_dir()):
        return None
    if main.is_file():
        commit = snapshots / checked_file_name(main.read_text(encoding="utf8", errors="replace").strip(), str(main))
        if commit.is_dir():
            return commit
    commits = sorted(one for one in snapshots.iterdir() if one.is_dir())
    if len(commits) == 1:
        return commits[0]
    several = f"several checkpoints; name one: {', '.join(map(str, commits))}"
    problem = several if commits else "no checkpoint; pull it again"
    raise CheckpointError(f"{folder} of the hub's cache has {problem}")


def _is_whole(folder: Path) -> bool:
    """Whether the download of this folder is complete. Files appear one by one, each complete."""
    from models.weight_files import weight_files  # imports numpy, which would delay the UI's first screen

    try:
        return (folder / "config.json").is_file() and bool(weight_files(folder))
    except EdgeError:
        return False


def snapshot(id: str, local_only: bool = False) -> Path:
    """The folder of the current files of a checkpoint; downloads those that the cache lacks unless `local_only`."""
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(id, allow_patterns=FILES, ignore_patterns=COPIES, local_files_only=local_only))
