"""The error boundary: an unexpected exception is one line and a report file, in CLI, processes and threads."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge.engines.torch_engine import TorchEngine
from edge.error_message import error_message, redact_in_reports
from edge.worker_process import WorkerProcess
from models.errors import EdgeError
from tests.edge.conftest import Said

ROOT = Path(__file__).parents[2]
PROMPT = "the word that nobody may read"


class Panic(BaseException):
    """What a native library raises, such as pyo3's PanicException: no Exception."""


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path))
    return tmp_path / "reports"


def only(reports: Path) -> str:
    (file,) = reports.iterdir()
    return file.read_text(encoding="utf8")


@pytest.mark.parametrize("fault", [KeyError("gone"), RecursionError(f"lost in {PROMPT}"), Panic("called `unwrap`")])
def test_a_defect_is_one_line_and_a_report_without_the_prompt(
    fault: BaseException, byte_llama: Path, reports: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise fault

    monkeypatch.setattr(TorchEngine, "feed", fail)
    code, out, err = said("run", byte_llama, PROMPT, "-e", "torch", "--seed", 3)
    last = err.splitlines()[-1]
    assert code == 1 and not out and "Traceback" not in err
    assert last.startswith(f"edge: this is a bug in Edge: {type(fault).__name__}") and str(reports) in last
    report = only(reports)
    assert "while running: edge run" in report and "seed='3'" in report and "onnxruntime " in report
    assert "test_error_message.py" in report and type(fault).__name__ in report, "the report has no traceback"
    assert PROMPT not in report + err, "the report tells the prompt"


def test_a_report_that_cannot_be_written_is_still_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path / "file"))
    reported = error_message(ValueError("odd\nlines"), "edge")
    assert reported.message.startswith("this is a bug in Edge: ValueError: odd\\nlines (no report could be written")


def test_what_the_system_says_is_no_defect(reports: Path) -> None:
    reported = error_message(OSError(28, "No space left on device", "a\x1b[2Jb"), "edge")
    assert reported.message == "a\\x1b[2Jb: No space left on device" and not reported.is_bug
    assert "has not enough memory" in error_message(MemoryError(), "edge").message
    assert not reports.exists()


def test_an_interrupt_passes() -> None:
    with pytest.raises(KeyboardInterrupt):
        error_message(KeyboardInterrupt(), "edge")


def build(progress: Any, kind: str) -> str:
    if kind == "builds badly":
        raise Panic("in the build")
    return kind


def ask(built: str) -> str:
    redact_in_reports(PROMPT)
    raise Panic(f"asked of {PROMPT}")


def test_a_process_of_its_own_has_the_same_border(reports: Path) -> None:
    with pytest.raises(EdgeError, match=r"^this is a bug in Edge: Panic: in the build; please report it with /"):
        WorkerProcess("it", build, lambda _: None, {}, "builds badly")
    with (
        WorkerProcess("it", build, lambda _: None, {}, "well") as process,
        pytest.raises(EdgeError, match="Panic: asked of"),
    ):
        process.call(ask)
    texts = [file.read_text(encoding="utf8") for file in reports.iterdir()]
    assert len(texts) == 2 and all("a worker process" in text for text in texts)
    assert not any(PROMPT in text for text in texts)


def test_a_thread_and_an_import_that_fail_are_reported_in_one_line(tmp_path: Path) -> None:
    started = {
        "a thread": "import threading, edge.cli as cli\n"
        "def work(): raise KeyError('on a thread')\n"
        "def run(_):\n    thread = threading.Thread(target=work); thread.start(); thread.join(); return 0\n"
        "cli.exit_code = run",
        "an import": "import sys; sys.modules['click'] = None",
    }
    for what, code in started.items():
        done = subprocess.run(
            [sys.executable, "-c", f"{code}\nfrom edge.__main__ import main; main()"],
            cwd=ROOT, env=os.environ | {"EDGE_CACHE": str(tmp_path)}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        lines = done.stderr.splitlines()
        assert len(lines) == 1 and lines[0].startswith("edge: this is a bug in Edge: "), f"{what}: {done.stderr}"
