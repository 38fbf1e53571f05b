"""Models in a folder that the user names: checkpoint folders and GGUF files, also in folders below it."""

import os
from collections.abc import Iterator
from pathlib import Path

from models.errors import MisuseError
from models.found.folders import DEPTH, UnreadableFolderError, names_in
from models.found.place import BrokenModel, FoundModel
from models.sources.gguf.choice import model_files


def given_models(folder: Path) -> Iterator[FoundModel | BrokenModel]:
    """Models in a folder, or the model that a file is. Hidden folders and links to folders are left out.

    Raises:
        MisuseError: there is no such folder or file.
    """
    if os.path.isfile(folder):
        return iter([FoundModel(str(folder), folder)])
    if not os.path.isdir(folder):
        raise MisuseError(f"there is no folder '{folder}'; name one with models, or use 'edge models show' or 'pull'")
    return _models_below(folder, DEPTH)


def _models_below(folder: Path, depth: int) -> Iterator[FoundModel | BrokenModel]:
    try:
        names = names_in(folder)
    except UnreadableFolderError as error:
        yield BrokenModel(str(folder), error.problem)
        return
    files = [folder / name for name in model_files(names)]
    if "config.json" in names and (not files or any(name.endswith(".safetensors") for name in names)):
        yield FoundModel(str(folder), folder)
    yield from (FoundModel(str(file), file) for file in files if os.path.isfile(file))
    below = [folder / name for name in names if not name.startswith(".")]
    for inner in below if depth else ():
        if os.path.isdir(inner) and not os.path.islink(inner):
            yield from _models_below(inner, depth - 1)
