"""What the UI's tests share: separate settings."""

from pathlib import Path

import pytest

from tui.settings import FOLDER_VARIABLE


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this test's settings, so that a user's own are neither read nor written."""
    folder = tmp_path / "settings"
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_full_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of tests holds so much that searching all of it for every app would take longer than the tests."""
    monkeypatch.setattr("tui.main_screen.freeze_long_lived", lambda: None)
