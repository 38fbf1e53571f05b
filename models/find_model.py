"""Finds the folder of a model by name: an existing path, then a bundled model, then the hub's cache."""

from pathlib import Path

from models.errors import MisuseError
from models.hub import cached, entry_of, is_hub_id, snapshot_in
from models.other_formats import id_in_url
from models.zoo import zoo_folder, zoo_names


def find_model(model: str | Path) -> Path:
    """The folder of a model. Never contacts the hub, because a mistyped path can look like a hub id.

    Raises:
        MisuseError: there is no such folder, bundled model, or model in the hub's cache.
        CheckpointError: a folder of the hub's cache with no checkpoint, or several.
    """
    path = Path(model).expanduser()
    if path.exists():
        return snapshot_in(path) or path
    name = str(model)
    folder = zoo_folder(name)
    if folder is not None:
        return folder
    if (id := id_in_url(name)) is not None:
        raise MisuseError(f"'{name}' is a page of the hub; run 'edge models pull {id}', then use the name '{id}'")
    if not is_hub_id(name):
        raise MisuseError(f"there is no folder '{name}' and no bundled model of that name ({', '.join(zoo_names())})")
    if (folder := cached(name)) is not None:
        return folder
    state = "is incomplete" if entry_of(name).is_dir() else "is not"
    raise MisuseError(
        f"there is no folder '{name}', and the model {state} in the hub's cache; 'edge models pull {name}' downloads it"
    )
