"""A name that leads to no model: one line with where was looked, and what to do."""

from pathlib import Path

import pytest

from models.errors import MisuseError
from models.find_model import find_model
from tests.models.found.layouts import small_llama, use_machine, write_hub, write_ollama


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return use_machine(tmp_path, monkeypatch)


def refusal(name: str | Path) -> str:
    with pytest.raises(MisuseError) as refused:
        find_model(name)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_miss_names_every_place_that_was_searched(machine: Path) -> None:
    assert "no folder of the hub's cache, Ollama, LM Studio or llama.cpp" in refusal("mistral")
    (machine / ".ollama" / "models").mkdir(parents=True)
    (machine / ".lmstudio" / "models").mkdir(parents=True)
    said = refusal("mistral")
    assert f"Ollama ({machine}/.ollama/models), LM Studio ({machine}/.lmstudio/models)" in said
    assert "fable-relu" in said and "'edge models' lists the models on this machine" in said
    assert "'edge models pull org/x:Q4_K_M' downloads it" in refusal("org/x:Q4_K_M")


def test_a_miss_names_models_with_similar_names(machine: Path) -> None:
    root, hub = machine / ".ollama" / "models", machine / ".cache" / "huggingface" / "hub"
    for tag in ("1b", "3b"):
        write_ollama(root, ("registry.ollama.ai", "library", "llama3.2", tag), b"GGUF")
    write_hub(hub, "org/Small-GGUF", {"Small-Q8_0.gguf": b"GGUF"})
    assert "similar names: llama3.2:1b, llama3.2:3b" in refusal("llama3.2")
    said = refusal("org/Small-GGUF:Q4_K_M")
    assert "similar names: org/Small-GGUF:Q8_0; 'edge models pull org/Small-GGUF:Q4_K_M' downloads it" in said


def test_a_folder_that_cannot_be_read_is_named_in_a_miss(machine: Path) -> None:
    service = machine / "service"
    service.mkdir()
    (service / "manifests").symlink_to("manifests")
    said = refusal("llama3.2:1b")
    assert f"{service}/manifests cannot be read" in said and "OLLAMA_MODELS" in said, said


@pytest.mark.parametrize("name", ["", "x" * 5000, "\0", "~nobody-of-that-name/x", "a\udcffb", "\n"])
def test_names_that_no_file_can_have_are_refused(name: str) -> None:
    if name:
        assert "there is no folder" in refusal(name).replace("\n", " ") if "\n" not in name else True


def test_paths_come_first(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ollama(machine / ".ollama" / "models", ("registry.ollama.ai", "library", "x", "latest"), b"GGUF")
    monkeypatch.chdir(machine)
    assert find_model("x").name.startswith("sha256-")
    file = small_llama(machine / "x")
    assert find_model("x") == Path("x") and find_model("~/x") == file and find_model(file) == file
