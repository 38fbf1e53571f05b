"""Chooses the source of a path: a checkpoint folder, or a GGUF file."""

from pathlib import Path

from models.errors import CheckpointError
from models.other_formats import is_gguf, of_file
from models.sources.folder import Folder
from models.sources.gguf.choice import model_files
from models.sources.gguf.source import Gguf

_NAMED = 4
"""Maximum number of files in a message."""


def source_of(path: Path) -> Folder | Gguf:
    """The source at a path. Files keep their own names, since parts are named in them, and links point to hashes.

    Raises:
        CheckpointError: there is neither a checkpoint folder nor a GGUF file, or it cannot be read.
    """
    path = path.expanduser().absolute()
    try:
        return _source_of(path)
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read: {error.strerror or error}; check that you may read it"
        ) from error


def _source_of(path: Path) -> Folder | Gguf:
    if path.is_dir():
        return _in_folder(path.resolve())
    if not path.is_file():
        raise CheckpointError(
            f"{path} does not exist; a checkpoint is a folder with config.json and *.safetensors, or a GGUF file"
        )
    if is_gguf(path):
        return Gguf(path)
    raise CheckpointError(
        of_file(path) or f"{path} is neither a GGUF file nor a folder with config.json and *.safetensors"
    )


def _in_folder(folder: Path) -> Folder | Gguf:
    """The checkpoint in a folder; the only GGUF file if it has no other weights, as in folders of LM Studio."""
    names = model_files(file.name for file in folder.iterdir())
    if not names or ((folder / "config.json").is_file() and any(folder.glob("*.safetensors"))):
        return Folder(folder)
    if len(names) > 1:
        listed = ", ".join(names[:_NAMED]) + (" and more" if len(names) > _NAMED else "")
        raise CheckpointError(f"{folder} has several GGUF files ({listed}); name one")
    return Gguf(folder / names[0])
