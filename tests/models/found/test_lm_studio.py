"""Models of LM Studio by PUBLISHER/MODEL."""

from pathlib import Path

import pytest

from models.find_model import find_model
from models.found.lm_studio import LmStudio, lm_studio_folders
from models.found.place import FoundModel
from tests.folders import write_byte_llama
from tests.models.found.layouts import small_llama, use_machine


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """LM Studio's folder with a model of each kind, and a file outside."""
    machine = use_machine(tmp_path, monkeypatch)
    folder = machine / ".lmstudio" / "models"
    small_llama(folder / "community" / "One-GGUF" / "One-Q4_K_M.gguf")
    (folder / "community" / "One-GGUF" / "mmproj-One-f16.gguf").write_bytes(b"GGUF")
    for tag in ("Q4_K_M", "Q8_0"):
        small_llama(folder / "community" / "Several-GGUF" / f"Several-{tag}.gguf")
    write_byte_llama(folder / "mlx-community" / "Small-4bit")
    small_llama(folder.parent / "outside" / "x" / "outside.gguf")
    return folder


NAMES = {
    "community/One-GGUF": "community/One-GGUF/One-Q4_K_M.gguf",
    "community/Several-GGUF:Q8_0": "community/Several-GGUF/Several-Q8_0.gguf",
    "community/Several-GGUF:Q4_K_M": "community/Several-GGUF/Several-Q4_K_M.gguf",
    "mlx-community/Small-4bit": "mlx-community/Small-4bit",
}


def test_models_are_listed_by_the_names_that_find_them(folder: Path) -> None:
    listed = {one.name: one.path for one in LmStudio(folder).models() if isinstance(one, FoundModel)}
    assert listed == {name: folder / path for name, path in NAMES.items()}
    assert {name: find_model(name) for name in NAMES} == listed


def test_of_several_files_the_usual_one_is_taken_or_one_is_named(folder: Path) -> None:
    several = folder / "community" / "Several-GGUF"
    assert LmStudio(folder).find("community/Several-GGUF") == several / "Several-Q4_K_M.gguf"
    assert LmStudio(folder).find("community/Several-GGUF/Several-Q8_0.gguf") == several / "Several-Q8_0.gguf"


@pytest.mark.parametrize(
    "name",
    [
        "../outside", "community/../outside", "community", "/community/One-GGUF", "community/One-GGUF/..", "a/b/c/d",
        "community/One-GGUF:Q8_0", "..\\outside\\x", "community/One-GGUF/../../outside/x/outside.gguf", "\0/x", "../..",
        "community/One-GGUF/.", "community/One-GGUF/x/y",
    ],
)  # fmt: skip
def test_other_names_lead_nowhere(folder: Path, name: str) -> None:
    assert LmStudio(folder).find(name) is None


def test_the_former_folder_is_searched_too(folder: Path) -> None:
    _, former = lm_studio_folders()
    file = small_llama(former / "me" / "Old" / "old.gguf")
    assert find_model("me/Old") == file
