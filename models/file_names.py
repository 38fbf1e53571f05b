"""Checks file names that come from checkpoint files, so that they cannot point outside the folder."""

from models.errors import CheckpointError


def checked_file_name(name: object, source: str) -> str:
    """Returns `name`, which the file `source` gives for another file in its folder.

    Raises:
        CheckpointError: it is not a plain file name: it has a path separator or a drive, or names a folder.
    """
    if isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\:") and name.isprintable():
        return name
    shown = repr(name) if len(repr(name)) <= 80 else f"{repr(name)[:80]}…"
    raise CheckpointError(
        f"{source} has {shown}, which is not a plain file name. Edge reads only files in the folder of the checkpoint: "
        "move the file there and remove the path, or download the checkpoint again"
    )
