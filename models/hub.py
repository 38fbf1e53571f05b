"""Checkpoints of the Hugging Face hub by id, read from the hub's cache. Only `pull` contacts the hub."""

import os
import re
from pathlib import Path

from models.errors import CheckpointError, EdgeError
from models.file_names import checked_file_name

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read once, when the hub's client is imported

_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")

_FILES = ["*.json", "*.safetensors", "*.jinja", "merges.txt", "tokenizer.model"]
"""Files of a checkpoint and of a tokenizer. Pickled weights are not downloaded."""

_COPIES = ["*/*", "consolidated*"]
"""Copies of the weights for other tools, in subfolders or with the names of the original release."""


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form `owner/model`."""
    return _ID.fullmatch(name) is not None


def cached(id: str) -> Path | None:
    """The folder of a checkpoint in the cache; None if it is absent or incomplete."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = _snapshot(id, local_only=True)
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None
    return folder if _is_whole(folder) else None


def entry_of(id: str) -> Path:
    """The cache folder of a model, with every downloaded file, complete or partial."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{id.replace('/', '--')}"


def pull(id: str) -> Path:
    """Downloads the current files of a checkpoint, resuming partial downloads, and returns its folder.

    The hub's client shows progress and handles the login.

    Raises:
        CheckpointError: the model does not exist, is gated, has no weights that Edge reads, or the hub cannot be
            reached.
    """
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    from models.purpose import refuse_adapter
    from models.weight_files import weight_files

    missing = f"'{id}' was not pulled: the hub"
    try:
        folder = _snapshot(id)
    except GatedRepoError as error:
        raise CheckpointError(
            f"{missing} requires a license; accept it on the model's page, then run 'hf auth login'"
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(f"{missing} has no such model, or you have no access to it") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise CheckpointError(f"{missing} failed: {str(error).splitlines()[0]}") from error
    try:
        refuse_adapter(folder)
        weight_files(folder)
    except CheckpointError as error:
        raise CheckpointError(f"'{id}' of the hub cannot be run: {error}") from error
    return folder


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


def _snapshot(id: str, local_only: bool = False) -> Path:
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(id, allow_patterns=_FILES, ignore_patterns=_COPIES, local_files_only=local_only))
