"""Checkpoints of the Hugging Face hub by id: fetched once, then read from the hub's own cache."""

import re
from pathlib import Path

from models.errors import CheckpointError

_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_FILES = ("*.json", "*.safetensors")
"""What a checkpoint is made of; pickled weights are not even fetched."""


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form `owner/model`."""
    return _ID.fullmatch(name) is not None


def fetch(id: str) -> Path:
    """The folder of a checkpoint in the hub's cache, fetched now if it is not there.

    Raises:
        CheckpointError: the hub has no such model, does not let it go, or cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    missing = f"there is no folder '{id}' here, and the hub"
    try:
        return Path(snapshot_download(id, allow_patterns=list(_FILES)))
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
