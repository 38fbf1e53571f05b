"""Downloads models of the Hugging Face hub into its cache. Nothing else in Edge contacts the hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from models.errors import CheckpointError, EdgeError, MisuseError
from models.hub import COPIES, HubName, hub_name, snapshot
from models.sources.gguf.choice import file_with_tag, model_files, part_names, tag_of

_NAMED = 8
"""Maximum number of tags in a message."""


def pull(name: str) -> Path:
    """Downloads a model, resuming partial downloads, and returns its folder, or its GGUF file.

    `owner/model` is a checkpoint; of a repository with GGUF files only, one of them, Q4_K_M if there is one.
    `owner/model:Q8_0` is the GGUF file with that tag. The hub's client shows progress and uses the login.

    Raises:
        MisuseError: the name is not one of the hub.
        CheckpointError: the model does not exist, is gated, has no weights that Edge reads, or the hub cannot be
            reached.
    """
    wanted = hub_name(name)
    if wanted is None:
        raise MisuseError(
            f"'{name}' is not a hub id; give one such as openai-community/gpt2, or owner/model:Q4_K_M for a GGUF file"
        )
    with _hub_errors(wanted):
        paths = _paths_in(wanted.id)
        has_checkpoint = any(fnmatch(path, "*.safetensors") and not _is_copy(path) for path in paths)
        if wanted.tag or (model_files(paths) and not has_checkpoint):
            found = _download_gguf(wanted, paths)
        else:
            found = snapshot(wanted.id)
    try:
        _check(found)
    except EdgeError as error:
        raise CheckpointError(f"'{wanted}' of the hub cannot be run: {error}") from error
    return found


def _paths_in(id: str) -> list[str]:
    from huggingface_hub import HfApi

    return [file.rfilename for file in HfApi().model_info(id).siblings or ()]


def _is_copy(path: str) -> bool:
    return any(fnmatch(path, pattern) for pattern in COPIES)


def _download_gguf(wanted: HubName, paths: list[str]) -> Path:
    """Downloads one GGUF file, or all parts of a split one; returns the first."""
    from huggingface_hub import hf_hub_download

    chosen = file_with_tag(paths, wanted.tag)
    if chosen is None:
        raise CheckpointError(f"'{wanted}' was not pulled: {_choice(wanted, model_files(paths))}")
    parts = part_names(chosen)
    if missing := [part for part in parts if part not in paths]:
        raise CheckpointError(f"'{wanted}' was not pulled: the hub lacks {missing[0]} of {len(parts)} parts")
    downloaded = [Path(hf_hub_download(wanted.id, part)) for part in parts]
    return downloaded[0]


def _choice(wanted: HubName, files: list[str]) -> str:
    if not files:
        return "it has no GGUF files; leave the tag out to pull a checkpoint"
    tags = [tag_of(files, file) or file for file in files]
    more = " and more" if len(tags) > _NAMED else ""
    return f"it has no GGUF file with '{wanted.tag}'; use one of {', '.join(tags[:_NAMED])}{more}"


def _check(found: Path) -> None:
    from models.checkpoint import open_checkpoint
    from models.purpose import refuse_adapter
    from models.weight_files import weight_files

    if found.is_dir():
        refuse_adapter(found)
        weight_files(found)
    else:
        open_checkpoint(found)


@contextmanager
def _hub_errors(wanted: HubName) -> Iterator[None]:
    """Raises errors of the hub's client as a CheckpointError with what to do."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    missing = f"'{wanted}' was not pulled: the hub"
    try:
        yield
    except GatedRepoError as error:
        raise CheckpointError(
            f"{missing} requires a license; accept it on the model's page, then run 'hf auth login'"
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(f"{missing} has no such model, or you have no access to it") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise CheckpointError(f"{missing} failed: {(str(error) or type(error).__name__).splitlines()[0]}") from error
