"""Keeps garbage collection short: objects that live as long as the screen are not searched."""

import gc

_YOUNG = 20_000
"""New objects between two collections; a frame makes a few thousand, almost none in cycles."""


def freeze_long_lived() -> None:
    """Collects, then freezes the remaining objects. Called after the screen or a model is loaded."""
    gc.unfreeze()  # frees what was frozen before and is unused now
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 20)
