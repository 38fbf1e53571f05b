"""Finds a model by name: an existing path, then a bundled model, then models of the hub and of other programs."""

import os
from itertools import islice
from pathlib import Path

from models.errors import MisuseError
from models.found.folders import UnreadableFolderError
from models.found.place import FoundModel
from models.found.places import models_of, places
from models.hub import entry_of, hub_name, snapshot_in
from models.other_formats import name_in_url
from models.zoo import zoo_folder, zoo_names

_SIMILAR = 4
"""Maximum number of similar names in a message."""


def find_model(model: str | Path) -> Path:
    """The folder or file of a model. Never contacts the hub, because a mistyped path can look like a hub id.

    Raises:
        MisuseError: there is no such folder, file, bundled model, or model of the hub or another program.
        CheckpointError: a folder of the hub's cache with no checkpoint, or several; a model of another program that is
            incomplete or damaged.
    """
    name = str(model)
    path = Path(os.path.expanduser(name))
    if os.path.exists(path):
        return snapshot_in(path) or path
    folder = zoo_folder(name)
    if folder is not None:
        return folder
    unreadable: list[str] = []
    for place in places():
        try:
            if (found := place.find(name)) is not None:
                return found
        except UnreadableFolderError as error:
            unreadable.append(str(error))
    if (id := name_in_url(name)) is not None:
        raise MisuseError(f"'{name}' is a page of the hub; run 'edge models pull {id}', then use the name '{id}'")
    raise MisuseError("; ".join([_not_found(name), *unreadable, _what_to_do(name)]))


def similar_names(name: str) -> list[str]:
    """Names of some models on this machine that have the last word of a name, without its tag."""
    word = name.rpartition("/")[2].partition(":")[0].casefold()
    found = (one.name for place in places() for one in models_of(place) if isinstance(one, FoundModel))
    return list(islice((one for one in found if word and word in one.casefold() and one != name), _SIMILAR))


def _not_found(name: str) -> str:
    """The clause that lists where a model was looked for."""
    looked = [f"{place.title} ({place.folder})" for place in places() if os.path.isdir(place.folder)]
    said = f"there is no folder '{name}', no file, no bundled model of that name ({', '.join(zoo_names())})"
    if not looked:
        return f"{said}, and no folder of the hub's cache, Ollama, LM Studio or llama.cpp"
    return f"{said}, and none in these folders: {', '.join(looked)}"


def _what_to_do(name: str) -> str:
    similar = similar_names(name)
    hints = [f"similar names: {', '.join(similar)}"] if similar else []
    wanted = hub_name(name)
    if wanted is not None:
        state = "the model is incomplete in the hub's cache; " if not similar and entry_of(wanted.id).is_dir() else ""
        hints.append(f"{state}'edge models pull {wanted}' downloads it")
    return "; ".join(hints) or "'edge models' lists the models on this machine"
