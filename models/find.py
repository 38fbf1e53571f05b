"""Which folder a model is that users name: an existing path first, then the zoo, then the hub."""

from pathlib import Path

from models.errors import MisuseError
from models.hub import fetch, is_hub_id
from models.zoo import zoo_folder, zoo_names


def find_model(model: str | Path) -> Path:
    """The folder of a model; one of the hub that is not here yet is fetched.

    Raises:
        MisuseError: there is no such folder, and the zoo and the hub know no model of that name.
    """
    path = Path(model).expanduser()
    if path.exists():
        return path
    folder = zoo_folder(str(model))
    if folder is not None:
        return folder
    if is_hub_id(str(model)):
        return fetch(str(model))
    raise MisuseError(f"there is no folder '{model}' and no such model in the zoo ({', '.join(zoo_names())})")
