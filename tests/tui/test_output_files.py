"""The current screen as files: whole, readable elsewhere; nothing is overwritten without a request."""

import csv
import json
import re
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import pytest

import edge
from edge.edits import ScaleHead
from edge.tables import Column, Table
from models.errors import EdgeError
from tests.tui.app_driver import running_app
from tests.tui.dialogs import choose, note_of, open_dialog, type_in, written
from tui.messages import EditToggled
from tui.output_files import KINDS, free_path, offline, page, place_for, plain
from tui.screens.dialog import Field
from tui.screens.error import ErrorScreen
from tui.screens.write import WriteScreen
from tui.widgets.choice_list import ChoiceList

FETCHED = re.compile(r"url\((?!#)|(?:src|href)=|@import")
"""What makes a viewer contact a server."""

PROMPT = "Once <b>upon</b> [bold] 王"


async def test_a_picture_holds_the_screen_and_nothing_of_the_dialog(tmp_path: Path) -> None:
    async with running_app(size=(120, 42)) as ui:
        await ui.run(PROMPT)
        text = (await written(ui, "svg", tmp_path / "a.svg")).read_text(encoding="utf8")
        words = "".join(ElementTree.fromstring(text).itertext()).replace("\xa0", " ")
        assert "daughters" in words and "1 Layers" in words, "the picture lacks what the screen shows"
        assert "write to a file" not in words, "the dialog is in the picture"
        assert not FETCHED.findall(text), "the picture asks a server"


async def test_a_page_is_one_file_with_title_date_model_and_prompt(tmp_path: Path) -> None:
    async with running_app(size=(120, 42)) as ui:
        await ui.run(PROMPT)
        text = (await written(ui, "html", tmp_path / "a.html")).read_text(encoding="utf8")
        assert "<svg" in text and "fake on onnx" in text and str(datetime.now().year) in text
        assert "&lt;b&gt;upon" in text and "<b>" not in text, "a prompt became markup of the page"
        assert "<script" not in text and not FETCHED.findall(text)


async def test_a_trace_and_its_report_are_written_and_the_trace_opens_again(tmp_path: Path) -> None:
    async with running_app() as ui:
        await ui.run(PROMPT)
        trace = edge.open_trace(await written(ui, "trace", tmp_path / "a.trace"))
        assert trace.tokens == ui.shown_run.trace.tokens
        assert ui.main.settings_store.settings.traces == (str(tmp_path / "a.trace"),), (
            "what was saved is not offered again"
        )
        report = (await written(ui, "report", tmp_path / "a.html")).read_text(encoding="utf8")
        assert "Content-Security-Policy" in report and "edge report" in report


async def test_what_is_written_names_every_edit(tmp_path: Path) -> None:
    async with running_app(size=(80, 24)) as ui:
        await ui.run(PROMPT)
        ui.main.shown_view.focus_pane()
        edits = [ScaleHead(layer, head, 0.0) for layer in (0, 1) for head in range(4)]
        for edit in edits:
            ui.main.edits.change(EditToggled(edit))
        await ui.until(lambda: ui.main.state.compared is not None and not ui.main.jobs.progress, "the run with edits")
        names = [str(edit) for edit in edits]
        for key, suffix in (("svg", "svg"), ("html", "html")):
            text = (await written(ui, key, tmp_path / f"a.{suffix}")).read_text(encoding="utf8")
            assert all(name in text for name in names), f"the {key} leaves edits out for want of room"
            assert "applied: all 8 edits" in text
        for number, changed in (("1", "attn_change"), ("2", "weight_with_edits"), ("3", "coefficient_with_edits")):
            await ui.press(number)
            record, *_ = json.loads((await written(ui, "json", tmp_path / f"{number}.json")).read_text(encoding="utf8"))
            assert record["edits"] == ", ".join(names), f"the table of screen {number} names {record['edits']!r}"
            assert record[changed] is not None, f"the table of screen {number} has nothing of the run with edits"
        trace = edge.open_trace(await written(ui, "edited", tmp_path / "a.trace"))
        assert trace.edits == tuple(names), "the trace with edits is that without"


async def test_without_edits_no_trace_with_edits_is_offered(tmp_path: Path) -> None:
    async with running_app() as ui:
        await ui.run(PROMPT)
        ui.main.shown_view.focus_pane()
        await ui.press("w")
        option = ui.app.screen.query_one(ChoiceList).get_option("edited")
        assert option.disabled and "no edit is active" in str(option.prompt)
        await ui.press("escape", "1")
        text = (await written(ui, "svg", tmp_path / "a.svg")).read_text(encoding="utf8")
        assert "<desc>" not in text


async def test_nothing_is_written_over_unless_asked_twice(tmp_path: Path) -> None:
    file = tmp_path / "mine.svg"
    file.write_text("mine", encoding="utf8")
    async with running_app() as ui:
        dialog = await open_dialog(ui, "w", WriteScreen)
        await choose(ui, dialog, "#write-kinds", "svg")
        await type_in(ui, dialog, "#write-path", str(file))
        assert ui.app.screen is dialog and "exists" in note_of(dialog), note_of(dialog)
        assert file.read_text(encoding="utf8") == "mine"
        await ui.press("x", "backspace", "enter")
        assert ui.app.screen is dialog and file.read_text(encoding="utf8") == "mine", "typing counted as a yes"
        await ui.press("enter")
        await ui.until(lambda: file.read_text(encoding="utf8") != "mine", "the file to be written over")


async def test_names_offered_are_free_and_of_the_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fake-attention.svg").touch()
    async with running_app() as ui:
        await ui.run("a king")
        await ui.press("2")
        dialog = await open_dialog(ui, "w", WriteScreen)
        offered = {}
        for kind in ("svg", "html", "trace", "report"):
            await choose(ui, dialog, "#write-kinds", kind)
            offered[kind] = dialog.query_one("#write-path", Field).value
        assert offered == {
            "svg": "fake-attention-2.svg",
            "html": "fake-attention.html",
            "trace": "fake.trace",
            "report": "fake-report.html",
        }
        dialog.query_one("#write-path", Field).value = "my own name"
        await choose(ui, dialog, "#write-kinds", "html")
        assert dialog.query_one("#write-path", Field).value == "my own name", "what was typed was lost"


async def test_before_a_run_only_the_screen_can_be_written() -> None:
    async with running_app() as ui:
        dialog = await open_dialog(ui, "w", WriteScreen)
        options = {option.id: option for option in dialog.query_one(ChoiceList).options}
        assert not options["svg"].disabled and options["trace"].disabled
        assert "no run yet" in str(options["trace"].prompt)


@pytest.mark.parametrize("where", ["no-such-folder/a.svg", "a-file/a.svg", ".", ""])
async def test_a_path_that_cannot_be_is_refused_in_the_dialog(tmp_path: Path, where: str) -> None:
    (tmp_path / "a-file").touch()
    async with running_app() as ui:
        dialog = await open_dialog(ui, "w", WriteScreen)
        await type_in(ui, dialog, "#write-path", str(tmp_path / where) if where else " ")
        assert ui.app.screen is dialog and note_of(dialog).startswith("✗"), note_of(dialog)


async def test_a_disk_that_refuses_is_one_message_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    async with running_app() as ui:
        dialog = await open_dialog(ui, "w", WriteScreen)
        monkeypatch.setattr("edge.output.os.replace", full)
        await type_in(ui, dialog, "#write-path", str(tmp_path / "a.svg"))
        await ui.until(lambda: isinstance(ui.app.screen, ErrorScreen), "the refusal")
        assert list(tmp_path.glob("*a.svg*")) == [], "half a file is left"


def test_home_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert place_for("~/a.svg") == tmp_path / "a.svg"
    with pytest.raises(EdgeError, match="does not exist; create it"):
        place_for("~/nowhere/a.svg")


def test_names_of_the_hub_make_one_file(tmp_path: Path) -> None:
    assert free_path(tmp_path, "openai-community/gpt2-ffn", ".csv") == tmp_path / "openai-community-gpt2-ffn.csv"
    assert free_path(tmp_path, "../..", ".csv").parent == tmp_path


def test_what_is_not_a_number_is_absent_in_every_table() -> None:
    table = plain(Table([Column("a", "a"), Column("b", "b")], [[float("nan"), 1.5], [float("inf"), "x"], [None, 0]]))
    assert list(csv.reader(StringIO(table.csv()))) == [["a", "b"], ["", "1.5"], ["", "x"], ["", "0"]]
    assert json.loads(table.json()) == [{"a": None, "b": 1.5}, {"a": None, "b": "x"}, {"a": None, "b": 0}]


def test_pictures_fetch_no_font() -> None:
    svg = "<svg><style>@font-face { src: url(https://x/y.woff) } .a {font-family: Fira Code, monospace; }</style></svg>"
    assert "https" not in offline(svg) and "Fira" not in offline(svg)


def test_a_page_is_made_of_what_it_was_given() -> None:
    text = page('<?xml version="1.0"?><svg></svg>', "a & b", ["<i>", datetime(2026, 1, 2, tzinfo=UTC).isoformat(), ""])
    assert "<title>a &amp; b</title>" in text and "&lt;i&gt;" in text and "<?xml" not in text


def test_kinds_are_distinguished() -> None:
    assert len({kind.key for kind in KINDS}) == len({kind.suffix for kind in KINDS}) == len(KINDS)
