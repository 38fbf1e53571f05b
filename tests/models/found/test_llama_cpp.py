"""Models that llama.cpp downloaded."""

from pathlib import Path

import pytest

from models.find_model import find_model
from models.found.llama_cpp import LlamaCpp, llama_cpp_folders
from models.found.place import FoundModel
from tests.models.found.layouts import use_machine, write_hub

FILES = (
    "org_Repo-GGUF_Repo-Q4_K_M.gguf",
    "org_Repo-GGUF_Repo-Q8_0-00001-of-00002.gguf",
    "org_Repo-GGUF_Repo-Q8_0-00002-of-00002.gguf",
    "org_Repo-GGUF_mmproj-Repo.gguf",
    "manifest=org=Repo-GGUF=latest.json",
    "org_Repo-GGUF_Repo-Q6_K.gguf.downloadInProgress",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    machine = use_machine(tmp_path, monkeypatch)
    folder = machine / ".cache" / "llama.cpp"
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_bytes(b"GGUF")
    (machine / "outside.gguf").write_bytes(b"GGUF")
    return folder


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("org_Repo-GGUF_Repo-Q4_K_M.gguf", FILES[0]),
        ("org_Repo-GGUF_Repo-Q4_K_M", FILES[0]),
        ("org/Repo-GGUF", FILES[0]),
        ("org/Repo-GGUF:Q8_0", FILES[1]),
    ],
)
def test_single_files_are_found_by_name_and_by_tag(folder: Path, name: str, file: str) -> None:
    assert find_model(name) == folder / file


def test_models_are_listed_by_their_files(folder: Path) -> None:
    listed = [one for one in LlamaCpp(folder).models() if isinstance(one, FoundModel)]
    assert [one.name for one in listed] == [FILES[0], FILES[1]]


@pytest.mark.parametrize(
    "name", ["../../outside", "../../outside.gguf", FILES[2], FILES[3], FILES[4], "/", "org/x", ""]
)
def test_other_names_lead_nowhere(folder: Path, name: str) -> None:
    assert LlamaCpp(folder).find(name) is None


def test_the_layout_of_the_hub_is_read_in_the_chosen_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = use_machine(tmp_path, monkeypatch) / "chosen"
    monkeypatch.setenv("LLAMA_CACHE", str(chosen))
    snapshot = write_hub(chosen, "org/Repo-GGUF", {"Repo-Q4_K_M.gguf": b"GGUF"})
    assert llama_cpp_folders()[0] == chosen
    assert find_model("org/Repo-GGUF:Q4_K_M") == snapshot / "Repo-Q4_K_M.gguf"
    assert [one.name for one in LlamaCpp(chosen).models()] == ["org/Repo-GGUF:Q4_K_M"]
