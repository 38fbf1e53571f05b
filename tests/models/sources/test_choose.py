"""What a path is: a checkpoint folder or a GGUF file."""

from pathlib import Path

import pytest

from models.errors import CheckpointError
from models.sources.choose import source_of
from models.sources.folder import Folder
from models.sources.gguf.source import Gguf
from tests.folders import write_byte_llama
from tests.models.found.layouts import small_llama


def test_a_gguf_file_is_known_by_its_ending_or_by_its_start(tmp_path: Path) -> None:
    named = small_llama(tmp_path / "model.gguf")
    hashed = small_llama(tmp_path / "sha256-0123")
    assert source_of(named) == Gguf(named) and source_of(hashed) == Gguf(hashed)


def test_a_link_keeps_its_name_since_parts_are_named_in_it(tmp_path: Path) -> None:
    small_llama(tmp_path / "blob")
    (tmp_path / "model.gguf").symlink_to("blob")
    assert source_of(tmp_path / "model.gguf").path == tmp_path / "model.gguf"


def test_a_folder_with_one_gguf_file_is_that_file(tmp_path: Path) -> None:
    """Repositories of GGUF files may have a config.json, too."""
    file = small_llama(tmp_path / "model.gguf")
    (tmp_path / "mmproj-model.gguf").write_bytes(b"GGUF")
    assert source_of(tmp_path) == Gguf(file)
    (tmp_path / "config.json").write_text("{}")
    assert source_of(tmp_path) == Gguf(file)


def test_safetensors_come_before_gguf_files(tmp_path: Path) -> None:
    folder = write_byte_llama(tmp_path)
    small_llama(tmp_path / "model.gguf")
    assert source_of(tmp_path) == Folder(folder)


def test_several_gguf_files_are_named(tmp_path: Path) -> None:
    for name in "abcdef":
        small_llama(tmp_path / f"{name}.gguf")
    with pytest.raises(CheckpointError, match=r"several GGUF files \(a\.gguf, b\.gguf, .* and more\); name one"):
        source_of(tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [("absent", "does not exist"), ("loop", "does not exist|cannot be read"), ("words", "is neither a GGUF file nor")],
)
def test_what_is_neither_is_refused(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "words").write_text("words")
    with pytest.raises(CheckpointError, match=said):
        source_of(tmp_path / name)


def test_what_may_not_be_read_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A superuser may read everything, so the refusal of the system is simulated."""

    def refuse(self: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    file = small_llama(tmp_path / "model.gguf")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CheckpointError, match=r"model\.gguf cannot be read: Permission denied"):
        source_of(file)
