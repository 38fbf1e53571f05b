"""Edits as the screen names them: whose effect a run shows, and as many names as a line has room for."""

from collections.abc import Sequence

from rich.cells import cell_len

from edge.edits import Edit


def edits_title(edits: Sequence[Edit], alone: Edit | None) -> str:
    """Whose effect a run beside shows: `head 3.5 ablated`, `all 3 edits`, `head 3.5 ablated, alone of 3`."""
    if alone is not None and len(edits) > 1:
        return f"{alone}, alone of {len(edits)}"
    return str(edits[0]) if len(edits) == 1 else f"all {len(edits)} edits"


def edits_that_fit(names: Sequence[str], cells: int, key: str = "") -> str:
    """How many edits there are, the key that lists them and the last names that fit; others are an ellipsis."""
    count = f"{len(names)} edit{'s' if len(names) > 1 else ''}{f' ({key})' if key else ''}"
    told = ""
    for first in range(len(names)):
        told = f"{count}: {'… ' if first else ''}{' · '.join(names[first:])}"
        if cell_len(told) <= cells:
            return told
    return count
