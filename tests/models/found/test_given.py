"""Models in a folder that the user names."""

from pathlib import Path

import pytest

from models.errors import MisuseError
from models.found.given import given_models
from models.found.place import BrokenModel, FoundModel
from tests.folders import write_byte_llama
from tests.models.found.layouts import small_llama


def test_checkpoints_and_gguf_files_below_a_folder_are_found(tmp_path: Path) -> None:
    folder = write_byte_llama(tmp_path / "llama")
    beside = write_byte_llama(tmp_path / "both")
    files = [small_llama(tmp_path / name) for name in ("both/b.gguf", "deep/er/c-00001-of-00002.gguf", "a.GGUF")]
    small_llama(tmp_path / ".hidden" / "d.gguf")
    small_llama(tmp_path / "deep/er/c-00002-of-00002.gguf")
    (tmp_path / "link").symlink_to(tmp_path)
    found = {(one.name, one.path) for one in given_models(tmp_path) if isinstance(one, FoundModel)}
    assert found == {(str(path), path) for path in (folder, beside, *files)}


def test_a_file_is_listed_itself(tmp_path: Path) -> None:
    file = small_llama(tmp_path / "model")
    assert list(given_models(file)) == [FoundModel(str(file), file)]


def test_a_folder_that_cannot_be_read_does_not_end_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A superuser may read everything, so the refusal of the system is simulated."""
    import os

    file, listed = small_llama(tmp_path / "z" / "model.gguf"), os.listdir
    (tmp_path / "a").mkdir()

    def refuse(folder: Path) -> list[str]:
        if folder.name == "a":
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(os, "listdir", refuse)
    problem = BrokenModel(str(tmp_path / "a"), "cannot be read (Permission denied)")
    assert list(given_models(tmp_path)) == [problem, FoundModel(str(file), file)]


def test_an_absent_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"there is no folder '.*absent'"):
        given_models(tmp_path / "absent")
