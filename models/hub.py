"""Checkpoints of the Hugging Face hub by id: fetched once, then read from the hub's own cache without asking it."""

import json
import os
import re
from pathlib import Path

from models.errors import CheckpointError

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read once, when the hub's client is imported

INDEX = "model.safetensors.index.json"
"""Where a checkpoint in several files says which file holds which tensor."""

_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")

_FILES = ["*.json", "*.safetensors", "*.jinja"]
"""What a checkpoint is made of; pickled weights are not even fetched."""

_COPIES = ["*/*", "consolidated*"]
"""The same weights for other tools, in folders of their own or under the names of their first release."""


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form `owner/model`."""
    return _ID.fullmatch(name) is not None


def fetch(id: str) -> Path:
    """The folder of a checkpoint in the hub's cache; the hub is asked only for one that is not all there.

    Raises:
        CheckpointError: the hub has no such model, does not let it go, or cannot be reached.
    """
    return cached(id) or pull(id)


def cached(id: str) -> Path | None:
    """The folder of a checkpoint whose files are all in the cache."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = _snapshot(id, local_only=True)
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None
    return folder if _is_whole(folder) else None


def pull(id: str) -> Path:
    """Fetches what the hub has of a checkpoint now, goes on with what was begun, and returns its folder.

    Progress is shown by the hub's own client, which also knows who is logged in.
    """
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    missing = f"there is no folder '{id}' here, and the hub"
    try:
        return _snapshot(id)
    except GatedRepoError as error:
        raise CheckpointError(f"{missing} asks for a licence first: accept it there, then 'hf auth login'") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(f"{missing} has no such model that you may read") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise CheckpointError(f"{missing} did not give it: {str(error).splitlines()[0]}") from error


def id_of(folder: Path) -> str | None:
    """The id of a checkpoint whose folder lies in the hub's cache (`models--owner--model/snapshots/...`)."""
    kind, _, id = folder.parent.parent.name.partition("--")
    in_cache = folder.parent.name == "snapshots" and kind == "models"
    return id.replace("--", "/") if in_cache and id else None


def _is_whole(folder: Path) -> bool:
    """Whether a fetch of this folder came to its end: files appear one by one, each whole."""
    index = folder / INDEX
    if not index.is_file():
        return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))
    try:
        shards = set(json.loads(index.read_text(encoding="utf8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError):
        return False
    return all((folder / str(name)).is_file() for name in ("config.json", *shards))


def _snapshot(id: str, local_only: bool = False) -> Path:
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(id, allow_patterns=_FILES, ignore_patterns=_COPIES, local_files_only=local_only))
