"""Nothing from outside acts on a terminal: names, values, tokens and messages are printed with escapes spelled out."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.picture.escape import escape_controls, escape_line
from edge.tables import Column, Table
from edge.terminal import escaped_output, write_generated
from tests.edge.conftest import Said

ROOT = Path(__file__).parents[2]
EVIL = "a\x1b]52;c;aGk=\x07b\x9b31mc\x7fd\u202ee\u2066f\rg"
"""OSC 52 writes the clipboard; then BEL, CSI as one C1 byte, DEL, two changes of direction, a return."""

ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def evil(byte_llama: Path, tmp_path: Path) -> Path:
    """A checkpoint whose folder, tensors, config and template hold all of it."""
    folder = tmp_path / EVIL
    shutil.copytree(byte_llama, folder)
    return folder


def changed(folder: Path, **keys: object) -> Path:
    config = json.loads((folder / "config.json").read_text(encoding="utf8"))
    (folder / "config.json").write_text(json.dumps(config | keys), encoding="utf8")
    return folder


def with_tensor(folder: Path, name: str) -> Path:
    from safetensors.numpy import load_file, save_file

    held = load_file(folder / "model.safetensors")
    del held["model.norm.weight"]
    save_file(held | {name: held["model.embed_tokens.weight"]}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (("run", "{evil}", "x", "-e", "torch", "-n", 1), {}),
        (("models", "show", "{evil}"), {}),
        (("models", "show", "{evil}", "--json"), {}),
        (("models", "show", "{evil}", "--csv"), {}),
        (("models", "show", "{evil}", "--md"), {}),
        (("run", "{evil}", "x"), {"hidden_act": EVIL}),
        (("run", "{evil}", "x"), {"model_type": EVIL}),
        (("run", "{evil}", "x"), {"rope_scaling": {"rope_type": EVIL}}),
        (("run", "{evil}", EVIL, "--chat", "-e", "torch"), {}),
        (("run", "{evil}", "x", "-e", EVIL), {}),
        (("run", "{evil}", "x", f"--{EVIL}"), {}),
        (("run", "{evil}", "x", "--ids", EVIL), {}),
        (("run", "{evil}", "x", "-n", EVIL), {}),
        (("run", EVIL, "x"), {}),
        ((EVIL,), {}),
        (("trace", "{evil}", "x", "-o", f"{{evil}}/{EVIL}/x"), {}),
        (("trace", "{evil}", "x", "-e", "torch", "-n", 1, "-o", "{evil}/x\x1b[2Jy"), {}),
        (("report", "{evil}/config.json", "-o", "{evil}/x"), {}),
        (("profile", "{evil}", "--against", f"{{evil}}/{EVIL}"), {}),
        (("lab", "{evil}", "--claim", EVIL), {}),
        (("compare", "{evil}", "--text", f"{{evil}}/{EVIL}"), {}),
    ],
    ids=lambda given: " ".join(map(str, given)).replace(EVIL, "EVIL") if isinstance(given, tuple) else " ".join(given),
)
def test_no_command_prints_what_a_terminal_acts_on(
    arguments: tuple[object, ...], keys: dict[str, object], evil: Path, said: Said
) -> None:
    changed(evil, **keys)
    _, out, err = said(*(str(one).format(evil=evil) for one in arguments))
    found = ACTING.search(out + err)
    assert found is None, f"{found and found.group()!r} reached the terminal: {out + err!r}"
    assert "Traceback" not in err and out + err


def test_names_of_tensors_and_errors_of_templates_are_spelled(evil: Path, said: Said) -> None:
    (evil / "chat_template.jinja").write_text("{{ raise_exception('" + EVIL + "') }}", encoding="utf8")
    _, out, err = said("run", evil, "x", "--chat", "-e", "torch")
    assert ACTING.search(out + err) is None and "52;c" in err, err
    _, out, err = said("run", with_tensor(evil, f"model.{EVIL}"), "x", "-e", "torch")
    assert ACTING.search(out + err) is None, err


def test_generated_text_is_raw_in_a_file_and_escaped_on_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with escaped_output():
        write_generated(f"{EVIL}\n")
    assert capfd.readouterr().out == f"{EVIL}\n", "a program that reads what was generated gets something else"
    code = (
        "import warnings\nfrom edge.terminal import *\nwith escaped_output():\n"
        f"    write_generated({EVIL + chr(9)!r}); print('made'); warnings.warn({EVIL!r}); print('done')"
    )
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while b"done" not in shown:
        shown += os.read(ours, 1024)
    process.wait(timeout=60)
    os.close(ours)
    generated, _, warned = shown.decode().partition("made")
    assert generated == escape_controls(EVIL) + "\t"
    assert "UserWarning" in warned and ACTING.search(warned.replace("\r\n", "\n")) is None
    assert "\u202e" in escape_controls(EVIL), "text in letters from right to left may need its marks"


def test_warnings_and_prints_are_escaped_and_progress_bars_still_move(capfd: pytest.CaptureFixture[str]) -> None:
    with escaped_output():
        print(EVIL, file=sys.stderr)
        sys.stdout.writelines([EVIL, "\n"])
        sys.stderr.write(f"\r 40% {EVIL}")
        sys.stderr.write("\x1b[A\x1b[A")
    out, err = capfd.readouterr()
    assert ACTING.search(out) is None
    assert "\r 40% a\\x1b]52" in err, "a progress bar cannot go back to the start of its line"
    assert ACTING.search(err.replace("\r 40%", "").replace("\x1b[A", "")) is None
    assert sys.stdout is not None and not hasattr(sys.stdout, "below"), "the streams are not as they were"


@pytest.mark.parametrize("layout", ["text", "csv", "md", "json"])
def test_cells_of_tables_are_one_line_without_controls(layout: str) -> None:
    written = Table((Column("name", "name"), Column("n", "n")), [(f"{EVIL}\nx", float("nan")), ("b", 1.5)]).write(
        layout
    )
    assert ACTING.search(written) is None and "nan" not in written.lower().replace("name", "")
    assert len(written.splitlines()) == {"json": 1, "text": 3, "csv": 3, "md": 4}[layout]


def test_a_line_has_no_line_in_it() -> None:
    assert escape_line("a\nb\tc\u2028d\ud800") == "a\\nb\\tc\\u2028d\\ud800"
