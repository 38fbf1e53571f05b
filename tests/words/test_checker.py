"""The checker itself: it finds a planted phrase in every source, a long sentence, and nothing that is right."""

from pathlib import Path

import pytest
from textual.widgets import Static

from edge.cli import cli
from edge.lab.registry import EXPERIMENTS
from edge.laws.registry import LAWS
from tests.tui.single_widget import single_widget
from tests.words import commands, screens
from tests.words.__main__ import main
from tests.words.files import pieces_of, readable
from tests.words.offences import offences
from tests.words.piece import ROOT, Piece, words_of
from tests.words.sentences import LONGEST, count, sentences, too_long
from tui.help import sections
from tui.views.all_views import VIEWS

WRONG = (
    "who looked where",
    "where every token looked",
    "which neurons fired",
    "how silent the FFN is",
    "an FFN that is switched off",
    "keys out of reach",
    "packed int4",
    "the first site beyond the band",
    "tokens drawn from them",
    "the likeliest token",
    "what the model would answer",
    "the prediction stays, and so do its guesses",
    "before FFN 5",
    "length of what each sublayer adds",
    "settled from layer 5 on",
    "itself as number 1,919",
    "the memories of this token",
    "what the FFN recalls",
    "how much is foretold",
    "if it had rows without end",
    "the total measured without instruments",
    "clocks cover 107% of the pass",
    "NOISY: about 9.3 programs",
    "a survey is gone on with",
    "no other command asks the hub",
    "claims that were tried",
    "verdicts are told",
    "the engine at hand",
    "the zoo's twins",
    "surprise, bits",
    "the command that mends it",
    "the latest wish wins",
    "a row a layer",
    "always the likeliest token; so it is without the next three",
    "and what mends what does not",
    "in a process of its own",
    "12 ms a token",
    "engines in turns",
    "go to the token before",
    "after less before",
    "the colour of a neighbour",
    "quantised behaviour",
    "in the centre",
    "Of random tokens, a third is copied.",
)
RIGHT = (
    "attention weights of every head",
    "a bandwidth of 30 GB/s",
    "apart from the first token",
    "cannot reach the hub",
    "the file holds three tensors",
    "it is not installed here",
    "the wall clock",
    "drawn at 80x24",
    "what it means",
    "a neuron is active",
    "an otherwise precise promise of exercise",
    "bits per byte",
    "before the FFN adds to it",
    "the result is not finite",
    "two bytes packed into one uint16",
    "the prompt and the next token",
    "one of a kind",
)


def planted(text: str, folder: Path, name: str) -> list[str]:
    """Offences of a file with some text."""
    file = folder / name
    file.write_text(text, encoding="utf8")
    return [str(one) for one in offences(pieces_of(file))]


@pytest.mark.parametrize("text", WRONG)
def test_it_finds(text: str) -> None:
    assert offences([Piece("docs/reference/screens.md", 0, text)]), f"'{text}' passes"


@pytest.mark.parametrize("text", RIGHT)
def test_it_passes(text: str) -> None:
    found = offences([Piece("docs/reference/screens.md", 0, text)])
    assert not found, f"'{text}' is right, and fails: {found[0]}"


PYTHON = {
    "docstring of a module": '"""Top.\n\nThe likeliest token."""\n',
    "docstring of a function": 'def run():\n    """Top.\n\n    The likeliest token.\n    """\n',
    "docstring of an attribute": 'class A:\n    b = 1\n\n    """The likeliest token."""\n',
    "message of an error": 'def f():\n    a = 1\n    raise EdgeError("no token: " "the likeliest is missing")\n',
    "formatted message": 'name = 1\n\nprint(f"{name} is the "\n      f"likeliest of {name}")\n',
    "option's help": 'import click\n\nclick.option("--greedy", help="Take the likeliest.")\n',
    "binding's tooltip": 'B = 1\n\nBinding("r", "a", "b", tooltip="Take the likeliest")\n',
    "comment": "a = 1\n\n# the likeliest\n# of all\n",
}


@pytest.mark.parametrize("text", PYTHON.values(), ids=PYTHON)
def test_it_reads_every_text_of_a_python_file_and_names_its_line(text: str, tmp_path: Path) -> None:
    found = planted(text, tmp_path, "case.py")
    line = next(number for number, line in enumerate(text.splitlines(), 1) if "likeliest" in line)
    assert len(found) == 1 and f"case.py:{line}: 'likeliest' -> " in found[0], found


NAMES = {
    "class": "class LikeliestToken: ...\n",
    "function": "def take_likeliest(): ...\n",
    "argument": "def take(likeliest_id): ...\n",
    "variable": "likeliest = 1\n",
    "attribute": "def f(self):\n    self.likeliest = 1\n",
    "field": "class A:\n    likeliest: int\n",
    "alias": "import os as likeliest\n",
    "key": "RECORD = {'likeliest_id': 1}\n",
}


@pytest.mark.parametrize("text", NAMES.values(), ids=NAMES)
def test_it_reads_every_name_of_a_python_file(text: str, tmp_path: Path) -> None:
    assert planted(text.replace("likeliest", "twin").replace("Likeliest", "Twin"), tmp_path, "case.py")


@pytest.mark.parametrize("name", ["case.md", "case.txt", "case.js", "case.css", "case.html", "case.tcss", "case.toml"])
def test_it_reads_every_text_file(name: str, tmp_path: Path) -> None:
    found = planted("# first\n\nthe likeliest\ntoken\n", tmp_path, name)
    assert len(found) == 1 and f"{name}:3: 'likeliest' -> top-1" in found[0], found


def test_it_reads_a_phrase_that_two_lines_share(tmp_path: Path) -> None:
    (found,) = planted("who looked\nwhere\n", tmp_path, "case.md")
    assert "case.md:1: 'who looked where' -> attention weights" in found


def test_it_reads_names_of_files(tmp_path: Path) -> None:
    assert any("'telling'" in one for one in planted("a = 1\n", tmp_path, "telling.py"))


def test_it_reads_the_help_of_every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.commands["run"], "help", "Take the likeliest token.")
    found = [one.found for one in offences(commands.pieces()) if one.place.startswith("edge/commands/run.py:")]
    assert "likeliest" in found, found


@pytest.mark.parametrize("part", ["text", "border_title", "border_subtitle", "tooltip"])
async def test_it_reads_what_a_widget_draws(part: str) -> None:
    widget = Static("the likeliest" if part == "text" else "a token")
    if part != "text":
        setattr(widget, part, "the likeliest")
    async with single_widget(widget) as (_, pilot):
        found = offences(screens.texts_of(pilot.app.screen, "screen Case at 100x24"))
    assert [one.place for one in found if one.found == "likeliest"] == ["screen Case at 100x24"]


def test_it_reads_claims_laws_help_and_titles() -> None:
    """They are strings of modules and files, so each of them is among the pieces."""
    pieces = [piece.text for file in readable([ROOT / "edge", ROOT / "tui"]) for piece in pieces_of(file)]
    texts = {*pieces, *(" ".join(text.split()) for text in pieces)}
    for claim in EXPERIMENTS:
        assert claim.title in texts, f"claim {claim.key} is not read"
    for law in LAWS:
        assert law.method in texts, f"how law {law.number} is checked is not read"
    for view in VIEWS.values():
        assert view.title in texts, f"the title of {view} is not read"
    for name, section in sections().items():
        assert any(section.title in text and section.text[:40] in text for text in texts), f"help of {name} is not read"


LONG = " ".join(["token"] * (LONGEST + 1))


def test_a_long_sentence_is_found_in_messages_and_help(tmp_path: Path) -> None:
    (found,) = planted(f'a = 1\nraise EdgeError("Short. {LONG}.")\n', tmp_path, "case.py")
    assert "case.py:2: 'token token" in found and f"split it: {LONGEST + 1} words, at most {LONGEST}" in found
    assert offences([Piece("tui/help/panes/map.txt", 1, f"map\n\n{LONG}.\n", is_brief=True)])


def test_long_sentences_of_docstrings_and_docs_pass(tmp_path: Path) -> None:
    assert not planted(f'"""{LONG}."""\n', tmp_path, "case.py")
    assert not planted(f"{LONG}.\n", tmp_path, "case.md")


def test_the_splitter_knows_where_sentences_end() -> None:
    text = 'See Olsson et al. 2022, e.g. section 3. "Two." (Three.) One at 0.5 ms, edge.run and a... end'
    assert [one for _, one in sentences(text)] == [
        "See Olsson et al. 2022, e.g. section 3.",
        '"Two."',
        "(Three.)",
        "One at 0.5 ms, edge.run and a...",
        "end",
    ]


def test_tables_code_formulas_lists_and_citations_are_no_words() -> None:
    assert not list(too_long("\n".join(["  a  b"] * 40)))
    assert not list(too_long("\n".join(["- a token"] * 40)))
    assert not list(too_long("\n".join(["1. a token"] * 40)))
    assert not list(too_long("\n".join(["| a | token |"] * 40)))
    assert count("`a b c d` is `e f`") == 1
    assert count("Mean weight p_ij = 1 / Σ x (Olsson et al. 2022, In-context Learning).") == 2


def test_names_are_split_into_words() -> None:
    assert words_of("FFNTimes") == words_of("ffn_times") == words_of("_ffn-times") == "ffn times"
    assert words_of("topP90Share") == "top p90 share"


def test_the_command_lists_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.md").write_text("the likeliest\n", encoding="utf8")
    assert main([str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "a.md:1: 'likeliest' -> top-1" in out and "1 in 1 of 1 files" in out
    (tmp_path / "a.md").write_text("the top-1 token\n", encoding="utf8")
    assert main([str(tmp_path)]) == 0
    assert main([str(tmp_path / "absent")]) == 2
