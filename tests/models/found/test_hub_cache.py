"""GGUF files and checkpoints in the hub's cache, by id and tag."""

import os
from pathlib import Path

import pytest

from models.errors import CheckpointError
from models.find_model import find_model
from models.found.hub_cache import HubCache
from models.found.place import FoundModel
from tests.folders import write_byte_llama
from tests.models.found.layouts import llama_tensors, use_machine, write_hub
from tests.models.sources.gguf_writer import write_split_gguf

ID = "org/Repo-GGUF"
FILES = {
    "README.md": b"# a model",
    "config.json": b"{}",
    "Repo-Q4_K_M.gguf": b"GGUF q4",
    "Repo-Q8_0.gguf": b"GGUF q8",
    "mmproj-Repo-F16.gguf": b"GGUF images",
    "BF16/Repo-BF16-00001-of-00002.gguf": b"GGUF one",
    "BF16/Repo-BF16-00002-of-00002.gguf": b"GGUF two",
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return use_machine(tmp_path, monkeypatch) / ".cache" / "huggingface" / "hub"


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize(
    ("name", "file"),
    [
        (ID, "Repo-Q4_K_M.gguf"),
        (f"{ID}:Q8_0", "Repo-Q8_0.gguf"),
        (f"{ID}:q8_0", "Repo-Q8_0.gguf"),
        (f"{ID}:BF16", "BF16/Repo-BF16-00001-of-00002.gguf"),
        (f"{ID}:Repo-Q4_K_M", "Repo-Q4_K_M.gguf"),
    ],
)
def test_a_tag_leads_to_its_file(cache: Path, name: str, file: str, links: bool) -> None:
    snapshot = write_hub(cache, ID, FILES, links=links)
    assert find_model(name) == snapshot / file


@pytest.mark.parametrize("tag", ["Q5_K_M", "K_XL", "", "../x", "Q4_K_M.gguf/..", "README"])
def test_a_tag_of_no_file_leads_nowhere(cache: Path, tag: str) -> None:
    write_hub(cache, ID, FILES)
    assert HubCache(cache).find(f"{ID}:{tag}") is None


def test_files_are_listed_by_their_tags(cache: Path) -> None:
    snapshot = write_hub(cache, ID, FILES)
    listed = {one.name: one.path for one in HubCache(cache).models() if isinstance(one, FoundModel)}
    assert listed == {
        f"{ID}:BF16": snapshot / "BF16" / "Repo-BF16-00001-of-00002.gguf",
        f"{ID}:Q4_K_M": snapshot / "Repo-Q4_K_M.gguf",
        f"{ID}:Q8_0": snapshot / "Repo-Q8_0.gguf",
    }


def test_a_checkpoint_is_found_by_its_id_with_files_beside_it(cache: Path, tmp_path: Path) -> None:
    folder = write_byte_llama(tmp_path / "llama")
    checkpoint = {file.name: file.read_bytes() for file in folder.iterdir()}
    snapshot = write_hub(cache, "org/both", checkpoint | {"both.Q8_0.gguf": b"GGUF q8"})
    assert find_model("org/both") == snapshot and find_model("org/both:Q8_0") == snapshot / "both.Q8_0.gguf"
    assert [one.name for one in HubCache(cache).models()] == ["org/both", "org/both:Q8_0"]


def test_an_older_commit_has_what_the_current_one_lacks(cache: Path) -> None:
    old = write_hub(cache, ID, {"Repo-Q4_K_M.gguf": b"GGUF old", "Repo-Q8_0.gguf": b"GGUF old"}, commit="a" * 40)
    new = write_hub(cache, ID, {"Repo-Q4_K_M.gguf": b"GGUF new"}, commit="b" * 40)
    os.utime(old, ns=(0, 2**62))
    assert find_model(f"{ID}:Q4_K_M") == new / "Repo-Q4_K_M.gguf"
    assert find_model(f"{ID}:Q8_0") == old / "Repo-Q8_0.gguf"


def test_a_name_of_a_commit_that_points_outside_is_not_followed(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "Repo-Q6_K.gguf").write_bytes(b"GGUF outside")
    snapshot = write_hub(cache, ID, {"Repo-Q4_K_M.gguf": b"GGUF"})
    (snapshot.parents[1] / "refs" / "main").write_text(os.path.relpath(tmp_path / "outside", snapshot.parent))
    assert HubCache(cache).find(f"{ID}:Q6_K") is None
    assert HubCache(cache).find(f"{ID}:Q4_K_M") == snapshot / "Repo-Q4_K_M.gguf"


def test_a_missing_part_is_named_with_the_command_that_downloads_it(cache: Path, tmp_path: Path) -> None:
    tensors = list(llama_tensors().items())
    files = write_split_gguf(tmp_path, "big-Q8_0", {}, [dict(tensors[:3]), dict(tensors[3:])])
    write_hub(cache, "org/big", {files[0].name: files[0].read_bytes()})
    with pytest.raises(CheckpointError, match=r"lacks big-Q8_0-00002-of-00002\.gguf; 'edge models pull org/big:Q8_0'"):
        find_model("org/big:Q8_0")


def test_links_to_nothing_are_no_files(cache: Path) -> None:
    snapshot = write_hub(cache, ID, {"Repo-Q4_K_M.gguf": b"GGUF"})
    (snapshot / "Repo-Q4_K_M.gguf").resolve().unlink()
    assert HubCache(cache).find(f"{ID}:Q4_K_M") is None


@pytest.mark.parametrize("id", ["../outside", "..--..", "/", "a/b/c", "models--org--x", "org/..%2f", "org/x\0"])
def test_other_names_are_none_of_the_hub(cache: Path, id: str) -> None:
    write_hub(cache, ID, FILES)
    assert HubCache(cache).find(id) is None and HubCache(cache).find(f"{id}:Q8_0") is None
