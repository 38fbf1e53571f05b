"""What the documents say is true: commands run, code runs, links lead somewhere, the manual is current."""

import re
import shlex
from pathlib import Path

import pytest

from edge.cli import exit_code
from edge.commands.manual import manual

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def shown(file: Path) -> str:
    return str(file.relative_to(ROOT))


def blocks(file: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", file.read_text(encoding="utf8"), re.MULTILINE | re.DOTALL)


def commands(file: Path) -> list[list[str]]:
    """Arguments of every `edge` line that can run here: it names no folder of the reader's and opens no screen."""
    lines = [line for block in blocks(file, "sh") for line in block.splitlines()]
    split = [shlex.split(line, comments=True) for line in lines]
    runnable = [words[1:] for words in split if words[:1] == ["edge"]]
    return [words for words in runnable if words[0] != "look" and not any("path/to" in word for word in words)]


def test_the_manual_is_what_the_commands_say() -> None:
    written = (ROOT / "docs" / "commands.md").read_text(encoding="utf8")
    assert written == manual(), "docs/commands.md is out of date: make docs"


@pytest.mark.parametrize("file", PAGES, ids=shown)
def test_links_lead_somewhere(file: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", file.read_text(encoding="utf8")):
        if not target.startswith(("http://", "https://")):
            assert (file.parent / target).exists(), f"{shown(file)} links to {target}, which is not there"


def test_the_readme_s_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    found = commands(ROOT / "README.md")
    assert len(found) >= 5, "the README shows fewer commands than it should"
    for words in found:
        code = exit_code(words)
        written = capfd.readouterr()
        assert code == 0, f"the README's 'edge {shlex.join(words)}' ends with {code}: {written.err}"
        assert (written.out + written.err).strip(), f"the README's 'edge {shlex.join(words)}' says nothing"


def test_the_readme_s_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(ROOT / "README.md", "python")
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "once.trace").is_file() and capfd.readouterr().out.strip()


def test_the_loop_around_a_standard_graph_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Twenty lines around what `edge export` wrote say what Edge says."""
    monkeypatch.chdir(tmp_path)
    assert exit_code(["export", "fable-relu", "onnx"]) == 0
    assert exit_code(["run", "fable-relu", "Once upon a time", "-n", "16"]) == 0
    *_, said = capfd.readouterr().out.strip().splitlines()
    (code,) = blocks(ROOT / "docs" / "exports.md", "python")
    assert len(code.strip().splitlines()) <= 25
    exec(compile(code, "exports.md", "exec"), {})
    assert said in capfd.readouterr().out.replace("\n", " "), "another runtime's loop says something else"


def test_the_makefile_s_verbs_are_real() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf8")
    verbs = set(re.findall(r"^([a-z]+):", text, re.MULTILINE))
    for file in PAGES:
        lines = [line for block in blocks(file, "sh") for line in block.splitlines()]
        named = {words[1] for words in (line.split() for line in lines) if words[:1] == ["make"]}
        assert named <= verbs, f"{shown(file)} names make verbs that do not exist: {sorted(named - verbs)}"
