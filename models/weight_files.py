"""Finds the weight files of a checkpoint folder, as `transformers` does.

model.safetensors if it exists; else the shards of model.safetensors.index.json; else (unlike transformers) the only set
of shards, or the only other safetensors file. Files that are never weights are ignored.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from models.errors import CheckpointError
from models.file_names import checked_file_name
from models.json_text import parse_json
from models.other_formats import refuse_pointer, without_weights
from models.safetensors_file import TensorPlace, tensor_places

WHOLE = "model.safetensors"

INDEX = "model.safetensors.index.json"
"""The index of a sharded checkpoint: the file of each tensor."""

_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>(?!0{5})\d{5})\.safetensors")

_NO_WEIGHTS = re.compile(r"(\.|optimizer|scheduler|adapter|training_args).*", re.IGNORECASE)
"""Files that are not weights: hidden files (`._model.safetensors`) and other files of training."""

_NAMED = 4
"""Maximum number of files in a message."""


def weight_files(folder: Path, stated: object = None) -> tuple[Path, ...]:
    """The safetensors files of a checkpoint, sorted by name.

    Args:
        stated: `transformers_weights` of the config: the name of the file, or of an index.

    Raises:
        CheckpointError: there are none, some are missing, or the choice is ambiguous.
    """
    if stated is not None:
        main = folder / checked_file_name(stated, f"'transformers_weights' in {folder / 'config.json'}")
        return _shards(main) if main.name.endswith(".json") else _check_files(main, [main])
    if (folder / WHOLE).is_file():
        return (folder / WHOLE,)
    if (folder / INDEX).is_file():
        return _shards(folder / INDEX)
    return _unlisted(folder)


def tensors_in(files: Sequence[Path]) -> dict[str, TensorPlace]:
    """Places of all tensors of some files.

    Raises:
        CheckpointError: a file is damaged, or a tensor is in two files.
    """
    places: dict[str, TensorPlace] = {}
    for file in files:
        for name, place in tensor_places(file).items():
            if name in places:
                raise CheckpointError(
                    f"{places[name].file} and {file.name} both have {name!r}; delete the wrong file, or download "
                    "the checkpoint again"
                )
            places[name] = place
    return places


def _shards(index: Path) -> tuple[Path, ...]:
    refuse_pointer(index)
    try:
        names = parse_json(index.read_text(encoding="utf8"))["weight_map"].values()
    except OSError as error:
        raise CheckpointError(f"{index} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{index} has no valid 'weight_map', so the shards are unknown; download it again"
        ) from error
    if not names:
        raise CheckpointError(f"the 'weight_map' of {index} lists no shard; download it again")
    return _check_files(
        index, [index.parent / name for name in sorted({checked_file_name(name, str(index)) for name in names})]
    )


def _check_files(lists: Path, files: Sequence[Path]) -> tuple[Path, ...]:
    for file in files:
        if not file.is_file():
            raise CheckpointError(
                f"{file.parent} lacks the shard {file.name} that {lists.name} lists; download it again"
            )
    return tuple(files)


def _unlisted(folder: Path) -> tuple[Path, ...]:
    """The weights of a folder without model.safetensors and index."""
    files = [file for file in sorted(folder.glob("*.safetensors")) if file.is_file()]
    files = [file for file in files if not _NO_WEIGHTS.fullmatch(file.name)]
    if not files or any((folder / f"pytorch_model.bin{end}").is_file() for end in ("", ".index.json")):
        raise CheckpointError(without_weights(folder))
    shard_names = [shard for file in files if (shard := _SHARD.fullmatch(file.name))]
    if not shard_names and len(files) == 1:
        return tuple(files)
    sets = {(shard["stem"], shard["count"]) for shard in shard_names}
    chosen = [one for one in sets if one[0] == "model"] or list(sets)
    if len(chosen) != 1:
        names = ", ".join(file.name for file in files[:_NAMED]) + (" and more" if len(files) > _NAMED else "")
        raise CheckpointError(
            f"{folder} has {names} and no {INDEX}, so the weights are ambiguous; rename the right file to {WHOLE}"
        )
    (stem, count) = chosen[0]
    shards = [folder / f"{stem}-{number:05}-of-{count}.safetensors" for number in range(1, int(count) + 1)]
    for file in shards:
        if not file.is_file():
            raise CheckpointError(f"{folder} lacks the shard {file.name} of {int(count)}; download it again")
    return tuple(shards)
