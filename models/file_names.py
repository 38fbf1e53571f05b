"""Names of files that stand in files from outside: plain names of one folder, never ways out of it."""

from models.errors import CheckpointError


def checked_file_name(name: object, source: str) -> str:
    """`name`, which `source` gives for a file beside it.

    Raises:
        CheckpointError: it is no plain name: it has a separator, a drive, or leads to a folder.
    """
    if isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\:") and name.isprintable():
        return name
    shown = repr(name) if len(repr(name)) <= 80 else f"{repr(name)[:80]}…"
    raise CheckpointError(
        f"{source} names {shown}, which is no plain file name; Edge reads files of the checkpoint's own folder only: "
        "put the file there and name it without a path, or download the checkpoint again"
    )
