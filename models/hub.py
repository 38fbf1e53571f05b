"""Checkpoints of the Hugging Face hub by id: read from the hub's own cache; only `pull` asks the hub."""

import os
import re
from pathlib import Path

from models.errors import CheckpointError, EdgeError
from models.file_names import checked_file_name

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read once, when the hub's client is imported

_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")

_FILES = ["*.json", "*.safetensors", "*.jinja", "merges.txt", "tokenizer.model"]
"""What a checkpoint is made of, and what a tokenizer can be made from; pickled weights are not even fetched."""

_COPIES = ["*/*", "consolidated*"]
"""The same weights for other tools, in folders of their own or under the names of their first release."""


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form `owner/model`."""
    return _ID.fullmatch(name) is not None


def cached(id: str) -> Path | None:
    """The folder of a checkpoint whose files are all in the cache."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = _snapshot(id, local_only=True)
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None
    return folder if _is_whole(folder) else None


def entry_of(id: str) -> Path:
    """The folder that the cache has for a model, with every file of it that was fetched, whole or in part."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{id.replace('/', '--')}"


def pull(id: str) -> Path:
    """Fetches what the hub has of a checkpoint now, goes on with what was begun, and returns its folder.

    Progress is shown by the hub's own client, which also knows who is logged in.

    Raises:
        CheckpointError: the hub has no such model, does not let it go, cannot be reached, or has no weights of a kind
            that Edge reads.
    """
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    from models.purpose import refuse_adapter
    from models.weight_files import weight_files

    missing = f"'{id}' was not pulled: the hub"
    try:
        folder = _snapshot(id)
    except GatedRepoError as error:
        raise CheckpointError(f"{missing} asks for a license first: accept it there, then 'hf auth login'") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(f"{missing} has no such model that you may read") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise CheckpointError(f"{missing} did not give it: {str(error).splitlines()[0]}") from error
    try:
        refuse_adapter(folder)
        weight_files(folder)
    except CheckpointError as error:
        raise CheckpointError(f"what the hub has under '{id}' cannot be run: {error}") from error
    return folder


def id_of(folder: Path) -> str | None:
    """The id of a checkpoint whose folder lies in the hub's cache (`models--owner--model/snapshots/...`)."""
    kind, _, id = folder.parent.parent.name.partition("--")
    in_cache = folder.parent.name == "snapshots" and kind == "models"
    return id.replace("--", "/") if in_cache and id else None


def is_inside(file: Path, folder: Path) -> bool:
    """Whether a file of a checkpoint lies in its folder, or where the symlinks of the hub's cache lead from there."""
    roots = [folder.resolve()]
    if id_of(roots[0]):
        roots.append(roots[0].parent.parent / "blobs")
    return any(file.resolve().is_relative_to(root) for root in roots)


def snapshot_in(folder: Path) -> Path | None:
    """Of a model's own folder in the hub's cache (`models--owner--model`), the checkpoint; None of any other folder.

    Raises:
        CheckpointError: the folder holds no checkpoint, or several.
    """
    snapshots, main = folder / "snapshots", folder / "refs" / "main"
    if not (folder.resolve().name.startswith("models--") and snapshots.is_dir()):
        return None
    if main.is_file():
        commit = snapshots / checked_file_name(main.read_text(encoding="utf8", errors="replace").strip(), str(main))
        if commit.is_dir():
            return commit
    found = sorted(one for one in snapshots.iterdir() if one.is_dir())
    if len(found) == 1:
        return found[0]
    told = f"several checkpoints; name one: {', '.join(map(str, found))}" if found else "no checkpoint; pull it again"
    raise CheckpointError(f"{folder} of the hub's cache holds {told}")


def _is_whole(folder: Path) -> bool:
    """Whether a fetch of this folder came to its end: files appear one by one, each whole."""
    from models.weight_files import weight_files  # numpy would come with it, before the UI's first picture

    try:
        return (folder / "config.json").is_file() and bool(weight_files(folder))
    except EdgeError:
        return False


def _snapshot(id: str, local_only: bool = False) -> Path:
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(id, allow_patterns=_FILES, ignore_patterns=_COPIES, local_files_only=local_only))
