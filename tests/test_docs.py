"""The documents are true: commands and code run, numbers and links are right, generated pages are current."""

import json
import re
import shlex
from dataclasses import fields
from pathlib import Path

import click
import pytest

from edge import store
from edge.cli import cli, exit_code
from edge.commands.manual import manual
from edge.commands.python_api import python_api
from edge.compare import result
from edge.lab import record
from edge.lab.claim import Claim, Finding
from edge.lab.effect import Effect, Verdict
from edge.lab.run import LabRecord
from edge.profile import record as profile_record
from edge.profile.record import Profile, VariantProfile
from edge.timing import PassTimes, RunTiming
from edge.trace import Trace
from edge.watch import Watch
from export import manifest
from export.logit_difference import LogitDifference

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
GUIDES = [ROOT / "README.md", DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md"))]
"""Pages for readers who follow along: their sentences are short, their code runs."""

LONGEST_SENTENCE = 30
SLOW = {"compare", "lab", "profile"}
"""Commands of which one example in the README is run; on other pages their arguments are parsed."""

EXPORT = DOCS / "how-to" / "export-for-another-tool.md"
CLAIMS = DOCS / "explanation" / "why-ffns-hold-facts-and-attention-relates-tokens.md"
NOTEBOOK = DOCS / "read-a-trace.ipynb"
ARCHITECTURE = DOCS / "explanation" / "architecture.md"
TOY_KINDS = ROOT / "tests" / "models" / "sublayers" / "toy_kinds.py"


def shown(file: Path) -> str:
    return str(file.relative_to(ROOT))


def text_of(file: Path) -> str:
    return file.read_text(encoding="utf8")


def blocks(file: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(file), re.MULTILINE | re.DOTALL)


def prose(file: Path) -> str:
    """A page without code blocks."""
    return re.sub(r"^```.*?^```", "", text_of(file), flags=re.MULTILINE | re.DOTALL)


def commands(file: Path) -> list[list[str]]:
    """Arguments of every `edge` line in its blocks."""
    lines = [line for block in blocks(file, "sh") for line in block.splitlines()]
    split = [shlex.split(line, comments=True) for line in lines]
    return [words[1:] for words in split if words and Path(words[0]).name == "edge"]


def runs(words: list[str]) -> bool:
    """Whether a command can run in a test: it names no folder of the reader's and opens no screen."""
    return words[0] != "look" and not any("path/to" in word for word in words)


def parse(words: list[str]) -> None:
    """Parses the arguments of a command, and runs nothing."""
    group: click.Command = cli
    context = click.Context(cli, info_name="edge")
    while isinstance(group, click.Group) and words and not words[0].startswith("-"):
        _, command, words = group.resolve_command(context, words)
        assert command is not None
        group, context = command, click.Context(command, info_name=command.name, parent=context)
    group.make_context(group.name, words)


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(file: Path) -> set[str]:
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", prose(file), re.MULTILINE)}


def sentences(file: Path) -> list[str]:
    """Sentences of paragraphs and lists; tables and headings are none."""
    kept = [line for line in prose(file).splitlines() if not line.startswith(("|", "#", "!"))]
    text = re.sub(r"\]\([^)]*\)", "]", "\n".join(line if line.strip() else "." for line in kept))
    text = re.sub(r"^\s*(-|\d+\.) ", ". ", text, flags=re.MULTILINE)
    return [" ".join(one.split()) for one in re.split(r"[.:;?!](?=[\s*_`]|$)", text)]


def run_all(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Runs a page's commands, and then its Python; a text block after code has lines of its output."""
    for words in commands(file):
        if not runs(words) or (words[0] in SLOW and file.name != "README.md"):
            continue
        code = exit_code(words)
        written = capfd.readouterr()
        assert code == 0, f"{shown(file)}: 'edge {shlex.join(words)}' ends with {code}: {written.err}"
        assert (written.out + written.err).strip(), f"{shown(file)}: 'edge {shlex.join(words)}' prints nothing"
    names: dict[str, object] = {}
    for code, expected in re.findall(
        r"^```python\n(.*?)^```\n+(?:```text\n(.*?)^```)?", text_of(file), re.MULTILINE | re.DOTALL
    ):
        exec(compile(code, shown(file), "exec"), names)
        printed = capfd.readouterr().out
        missing = [line for line in expected.splitlines() if line not in printed.splitlines()]
        assert not missing, f"{shown(file)} shows {missing}, its code prints\n{printed}"


def test_the_manual_is_current() -> None:
    assert text_of(DOCS / "commands.md") == manual(), "docs/commands.md is out of date: make docs"


def test_the_python_reference_is_current() -> None:
    assert text_of(DOCS / "reference" / "python-api.md") == python_api(), "python-api.md is out of date: make docs"


@pytest.mark.parametrize("file", PAGES, ids=shown)
def test_links_lead_somewhere(file: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", prose(file)):
        if target.startswith(("http://", "https://")):
            continue
        linked = (file.parent / target) if target else file
        assert linked.exists(), f"{shown(file)} links to {target}, which does not exist"
        if anchor:
            assert anchor in anchors(linked), f"{shown(file)} links to {target}#{anchor}, which has no such heading"


@pytest.mark.parametrize("file", PAGES, ids=shown)
def test_named_files_exist(file: Path) -> None:
    named = re.findall(r"`((?:tui|edge|export|models|tests)/[\w./-]+)`", prose(file))
    missing = sorted(name for name in set(named) if not (ROOT / name).exists())
    assert not missing, f"{shown(file)} names {', '.join(missing)}, which does not exist"


def test_every_page_is_in_the_table_of_contents() -> None:
    linked = {(DOCS / target).resolve() for target in re.findall(r"\]\(([^)#]+)\)", text_of(DOCS / "README.md"))}
    pages = {page for page in PAGES if page.is_relative_to(DOCS) and page.parent.name != "decisions"}
    missing = sorted(shown(page) for page in pages - linked - {DOCS / "README.md"})
    assert not missing, f"docs/README.md does not link to {', '.join(missing)}"


@pytest.mark.parametrize("file", PAGES, ids=shown)
def test_commands_are_spelled_right(file: Path) -> None:
    for words in commands(file):
        try:
            parse(list(words))
        except click.exceptions.UsageError as error:
            pytest.fail(f"{shown(file)}: 'edge {shlex.join(words)}': {error.format_message()}")


@pytest.mark.parametrize("file", [page for page in GUIDES if page != EXPORT], ids=shown)
def test_what_a_guide_shows_runs(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run_all(file, capfd)


def test_the_loop_around_a_standard_graph_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Twenty lines around the exported graph generate the text that Edge generates."""
    monkeypatch.chdir(tmp_path)
    assert exit_code(["export", "fable-relu", "onnx"]) == 0
    assert exit_code(["run", "fable-relu", "Once upon a time", "-n", "16"]) == 0
    *_, generated = capfd.readouterr().out.strip().splitlines()
    (code,) = blocks(EXPORT, "python")
    assert len(code.strip().splitlines()) <= 25
    exec(compile(code, shown(EXPORT), "exec"), {})
    assert generated in capfd.readouterr().out.replace("\n", " "), "the other runtime's loop generates another text"


def test_the_example_of_a_new_kind_is_code_that_is_tested() -> None:
    code, quoted = text_of(TOY_KINDS), blocks(ARCHITECTURE, "python")
    assert len(quoted) >= 5, "the page no longer quotes the example"
    for block in quoted:
        assert f"\n{block}" in code, f"{shown(ARCHITECTURE)} quotes what {shown(TOY_KINDS)} does not have:\n{block}"


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    names: dict[str, object] = {}
    for cell in json.loads(text_of(NOTEBOOK))["cells"]:
        assert not cell.get("outputs"), "the notebook is kept without outputs"
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), NOTEBOOK.name, "exec"), names)
    printed = capfd.readouterr().out
    assert "' is' attends to ' Fr'" in printed and "after layer 5: ' Paris'" in printed, printed


@pytest.mark.parametrize("file", GUIDES, ids=shown)
def test_sentences_of_guides_are_short(file: Path) -> None:
    long = [one for one in sentences(file) if len(one.split()) > LONGEST_SENTENCE]
    assert not long, f"{shown(file)} has sentences of more than {LONGEST_SENTENCE} words: {long}"


def test_numbers_about_claims_are_those_of_the_lab() -> None:
    measured = text_of(DOCS / "lab.md").replace("&lt;", "<")
    page = text_of(CLAIMS).partition("## What remains")[0]
    numbers = set(re.findall(r"[−<]?\d[\d,.]*(?:%| bits| nats)", page))
    for pair in re.findall(r"([\d.]+)(?: and ([\d.]+))? percentage points", page):
        numbers |= set(filter(None, pair))  # their unit follows the second
    assert len(numbers) > 70, "the page has fewer numbers than it should"
    round_numbers = {"50%", "10%", "90%", "100%", "95%", "0%", "0 bits"}  # thresholds and limits
    missing = sorted(number for number in numbers - round_numbers if number not in measured)
    assert not missing, f"{shown(CLAIMS)} has numbers that docs/lab.md does not have: {', '.join(missing)}"


def test_every_key_of_a_file_is_described() -> None:
    page = text_of(DOCS / "reference" / "file-formats.md")
    sections = {section.partition("\n")[0]: section for section in page.split("\n## ")[1:]}
    written = {
        "Trace": (store.FORMAT, (Trace, Watch, RunTiming)),
        "Export": (manifest.FORMAT, (manifest.Manifest, LogitDifference)),
        "Lab record": (record.FORMAT, (LabRecord, Claim, Finding, Effect)),
        "Profile": (profile_record.FORMAT, (Profile, VariantProfile, PassTimes)),
        "Comparison": (result.FORMAT, (result.Comparison, result.ComparedVariant, result.TextUsed)),
    }
    assert written.keys() == sections.keys()
    for title, (number, kinds) in written.items():
        section = sections[title].lower()
        assert f"format {number}" in section, f"{title}: the format is {number}"
        keys = {field.name for kind in kinds for field in fields(kind)}
        missing = sorted(key for key in keys if f"`{key}`" not in section.replace("[i]", ""))
        assert not missing, f"file-formats.md, {title}, does not describe {', '.join(missing)}"


def test_every_verdict_is_explained() -> None:
    page = text_of(DOCS / "explanation" / "how-claims-are-tested.md")
    missing = [str(verdict) for verdict in Verdict if f"| {verdict} |" not in page]
    assert not missing, f"how-claims-are-tested.md does not explain {', '.join(missing)}"


def test_the_makefile_s_verbs_are_real() -> None:
    verbs = set(re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    for file in PAGES:
        lines = [line for block in blocks(file, "sh") for line in block.splitlines()]
        named = {words[1] for words in (line.split() for line in lines) if words[:1] == ["make"]}
        assert named <= verbs, f"{shown(file)} names make verbs that do not exist: {sorted(named - verbs)}"
