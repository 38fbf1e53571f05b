"""Keeps the garbage collector from stopping frames: what lives as long as the screen is not searched each time."""

import gc

_YOUNG = 20_000
"""New objects between two searches among the young; a frame makes a few thousand, nearly none of them in cycles."""


def freeze_long_lived() -> None:
    """Collects now, and sets what is left aside. Called when the screen, or a model, has just come to stay."""
    gc.unfreeze()  # what was set aside before and has died since goes now
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 20)
