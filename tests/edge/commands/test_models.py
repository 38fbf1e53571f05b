"""`edge models`: the list, folders, and the types of a quantized file."""

import json
from pathlib import Path

import pytest

from edge.cli import exit_code
from models.zoo import zoo_names
from tests.models.found.layouts import small_llama, use_machine, write_ollama


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    machine = use_machine(tmp_path / "home", monkeypatch)
    weights = small_llama(tmp_path / "models" / "small-Q8_0.gguf").read_bytes()
    root = machine / ".ollama" / "models"
    write_ollama(root, ("registry.ollama.ai", "library", "small", "latest"), weights)
    write_ollama(root, ("hf.co", "org", "Lost-GGUF", "Q4_K_M"), b"GGUF", size=7)
    return machine


def printed(capfd: pytest.CaptureFixture[str], *words: object) -> str:
    code = exit_code(["models", *map(str, words)])
    out, err = capfd.readouterr()
    assert code == 0, err
    return out


def test_scripts_get_every_model_with_its_numbers(capfd: pytest.CaptureFixture[str]) -> None:
    listed = {one["model"]: one for one in json.loads(printed(capfd, "--json"))}
    assert list(listed) == [*zoo_names(), "hf.co/org/Lost-GGUF:Q4_K_M", "small:latest"]
    assert listed["small:latest"] == {
        "model": "small:latest",
        "source": "Ollama",
        "parameters": 10592,
        "precision": "Q8_0",
        "size_bytes": 11536,
        "readable": "yes",
        "why_not": "",
    }
    lost = listed["hf.co/org/Lost-GGUF:Q4_K_M"]
    assert lost["readable"] == "no" and "its manifest says 7" in lost["why_not"] and lost["size_bytes"] is None


def test_people_get_a_table(capfd: pytest.CaptureFixture[str]) -> None:
    lines = printed(capfd).splitlines()
    assert lines[0].split() == ["model", "source", "parameters", "precision", "size", "readable", "why", "not"]
    assert any(line.split() == ["small:latest", "Ollama", "10.6k", "Q8_0", "11.5", "kB", "yes"] for line in lines)


@pytest.mark.parametrize("layout", ["--csv", "--md"])
def test_folders_are_listed_in_every_layout(layout: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = str(tmp_path / "models" / "small-Q8_0.gguf")
    before, after = printed(capfd, layout, tmp_path / "models"), printed(capfd, tmp_path / "models", layout)
    assert before == after and file in before and "small:latest" in before


def test_a_word_that_is_neither_a_command_nor_a_folder_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["models", "shwo"]) == 2
    assert "there is no folder 'shwo'" in capfd.readouterr().err


def test_a_model_is_shown_with_the_types_of_its_weights(capfd: pytest.CaptureFixture[str]) -> None:
    facts = {one["what"]: one["value"] for one in json.loads(printed(capfd, "show", "small", "--json"))}
    assert facts["stored"] == "11.5 kB as Q8_0" and facts["types"] == "Q8_0 8 (99%), F32 3 (1%)"
    assert facts["layers"] == "1" and "sha256-" in facts["path"]
