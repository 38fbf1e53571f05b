"""Titles of edits: the applied ones, and as many names as fit on a line."""

from collections.abc import Sequence

from rich.cells import cell_len

from edge.change import Edit


def edits_title(edits: Sequence[Edit], alone: Edit | None) -> str:
    """The applied edits: `head 3.5 ablated`, `all 3 edits`, `head 3.5 ablated, 1 of 3`."""
    if alone is not None and len(edits) > 1:
        return f"{alone}, 1 of {len(edits)}"
    return str(edits[0]) if len(edits) == 1 else f"all {len(edits)} edits"


def edits_that_fit(names: Sequence[str], cells: int, key: str = "") -> str:
    """The number of edits, the key that lists them, and the last names that fit after an ellipsis."""
    count = f"{len(names)} edit{'s' if len(names) > 1 else ''}{f' ({key})' if key else ''}"
    title = ""
    for first in range(len(names)):
        title = f"{count}: {'… ' if first else ''}{' · '.join(names[first:])}"
        if cell_len(title) <= cells:
            return title
    return count
