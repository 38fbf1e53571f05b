"""Real text and real checkpoints that lie beside the project; tests skip, with the reason, where they do not."""

from pathlib import Path

import pytest

_SHARED = Path(__file__).parents[2] / "shared" / "data"


def shared(name: str) -> Path:
    """A folder of the shared material; skips the test where it is absent."""
    folder = _SHARED / name
    if not folder.exists():
        pytest.skip(f"needs ../shared/data/{name}, which is not on this machine")
    return folder
