"""Which folder a model is that users name: an existing path first, then the zoo, then the hub's cache."""

from pathlib import Path

from models.errors import MisuseError
from models.hub import cached, entry_of, is_hub_id, snapshot_in
from models.other_formats import id_in_url
from models.zoo import zoo_folder, zoo_names


def find_model(model: str | Path) -> Path:
    """The folder of a model. The hub is never asked: a mistyped path may look like an id of it.

    Raises:
        MisuseError: there is no such folder, and no model of that name in the zoo and the hub's cache.
        CheckpointError: a folder of the hub's cache that holds no checkpoint, or several.
    """
    path = Path(model).expanduser()
    if path.exists():
        return snapshot_in(path) or path
    name = str(model)
    folder = zoo_folder(name)
    if folder is not None:
        return folder
    if (id := id_in_url(name)) is not None:
        raise MisuseError(f"'{name}' is a page of the hub; 'edge models pull {id}' fetches the model, named '{id}'")
    if not is_hub_id(name):
        raise MisuseError(f"there is no folder '{name}' and no such model in the zoo ({', '.join(zoo_names())})")
    if (folder := cached(name)) is not None:
        return folder
    lacks = "only a part of it is" if entry_of(name).is_dir() else "it is not"
    raise MisuseError(
        f"there is no folder '{name}', and {lacks} in the hub's cache; 'edge models pull {name}' fetches one of the hub"
    )
