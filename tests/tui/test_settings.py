"""Settings: what was chosen is there at the next start, and no file can keep the app from starting."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from edge.measure.registry import MEASURES
from tests.tui.app_driver import ENGINES
from tests.tui.fake_model import FakeModels
from tui.app import EdgeApp
from tui.app_factory import app_on_model
from tui.jobs.job import ModelOnEngine
from tui.options import COLORS, LENGTHS, SCORES, Options
from tui.settings import (
    FORMAT,
    REMEMBERED,
    Settings,
    SettingsStore,
    read_settings,
    settings_file,
    write_settings,
)


def started() -> EdgeApp:
    app, _ = app_on_model(FakeModels().open, ModelOnEngine("fake", "onnx"), ENGINES, SettingsStore(settings_file()))
    return app


async def test_what_keys_change_is_there_at_the_next_start() -> None:
    app = started()
    async with app.run_test(size=(100, 30)) as pilot:
        app.main.shown_view.focus_pane()
        await pilot.press("c", "n", "r", "y", "t")
        before = app.main.state.options
    again = started()
    async with again.run_test(size=(100, 30)) as pilot:
        assert again.theme == "edge-light", "the theme was forgotten"
        assert again.main.state.options == before != Options(), "options were forgotten"


async def test_what_a_model_asks_for_is_no_choice_of_its_user() -> None:
    settings_store = SettingsStore()
    suited = replace(Options(), sparsity=MEASURES[1])
    settings_store.keep_options(suited, replace(suited, is_log=True))
    assert settings_store.settings.options == replace(Options(), is_log=True), (
        "what a model needed became everybody's choice"
    )


def test_every_choice_survives_a_file(own_settings: Path) -> None:
    for score in SCORES:
        for sparsity in MEASURES:
            for color in COLORS:
                chosen = Options(
                    is_log=True,
                    drops_first=True,
                    score=score,
                    sparsity=sparsity,
                    color=color,
                    max_new_tokens=LENGTHS[-1],
                )
                settings = Settings("edge-light", chosen, ("fable-relu",), ("a.trace",))
                write_settings(settings_file(), settings)
                assert read_settings(settings_file()) == (settings, "")
    assert settings_file().parent == own_settings
    assert [file.name for file in own_settings.iterdir()] == ["ui.json"], "writing left something behind"


@pytest.mark.parametrize(
    ("content", "reported"),
    [
        (b"{", "damaged"),
        (b"\xff\xfe\x00", "damaged"),
        (b"[1, 2]", "damaged"),
        (b"", "damaged"),
        (json.dumps({"format": FORMAT + 1}).encode(), "another version of Edge"),
        (b"{}", "another version of Edge"),
    ],
)
def test_a_file_that_cannot_be_read_is_reported_and_kept_aside(
    own_settings: Path, content: bytes, reported: str
) -> None:
    own_settings.mkdir()
    settings_file().write_bytes(content)
    settings, complaint = read_settings(settings_file())
    assert settings == Settings()
    assert reported in complaint and "\n" not in complaint and "ui.json.bak" in complaint, complaint
    assert (own_settings / "ui.json.bak").read_bytes() == content, "what could not be read is gone"
    assert read_settings(settings_file()) == (Settings(), ""), "the complaint comes back at every start"


def test_values_of_another_edge_are_passed_over(own_settings: Path) -> None:
    own_settings.mkdir()
    record = {
        "format": FORMAT,
        "theme": 7,
        "palette": "rainbow",
        "head_score": ["x"],
        "sparsity": None,
        "token_color": "mood",
        "log_scale": "yes",
        "max_new_tokens": 63,
        "sampling": {},
        "models": ["fable-relu", 3, ""],
        "traces": "none",
        "unknown": 1,
    }
    settings_file().write_text(json.dumps(record), encoding="utf8")
    assert read_settings(settings_file()) == (Settings(models=("fable-relu",)), "")


async def test_a_damaged_file_is_one_line_on_the_screen(own_settings: Path) -> None:
    own_settings.mkdir()
    settings_file().write_text("{]", encoding="utf8")
    app = started()
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        reported = [str(one.message) for one in app._notifications]
        assert any("damaged" in line and "ui.json.bak" in line for line in reported), reported


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_settings_that_cannot_be_written_are_reported_once(own_settings: Path) -> None:
    own_settings.mkdir(mode=0o500)
    settings_store = SettingsStore(settings_file())
    assert "until you quit" in settings_store.keep(theme="edge-light")
    assert settings_store.keep(theme="edge-dark") == "", "the same complaint comes with every key"
    assert settings_store.settings.theme == "edge-dark", "a choice that cannot be kept does not act"


def test_a_file_in_place_of_the_folder_is_reported_too(own_settings: Path) -> None:
    own_settings.write_text("a file", encoding="utf8")
    settings_store = SettingsStore(settings_file())
    assert "until you quit" in settings_store.keep(theme="edge-light")


def test_the_last_ones_come_first_and_no_more_than_ten() -> None:
    settings_store = SettingsStore()
    for number in range(REMEMBERED + 2):
        settings_store.keep_model(f"model-{number}")
    settings_store.keep_model("model-5")
    assert (
        settings_store.settings.models[:2] == ("model-5", "model-11")
        and len(settings_store.settings.models) == REMEMBERED
    )


async def test_an_unknown_theme_is_passed_over(own_settings: Path) -> None:
    write_settings(settings_file(), Settings(theme="no-such-theme"))
    app = started()
    assert app.theme == "edge-dark"
