"""The list of models on this machine: every source, every name opens its model, and nothing damaged ends it."""

from pathlib import Path

import pytest

from edge.listed_models import Sizes, Unread, listed_models
from models.errors import MisuseError
from models.find_model import find_model
from models.zoo import zoo_names
from tests.folders import write_byte_llama
from tests.models.found.layouts import IQ2_XXS, small_llama, use_machine, write_hub, write_manifest, write_ollama

LIBRARY = ("registry.ollama.ai", "library")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Models of all programs, readable ones and others."""
    machine = use_machine(tmp_path / "home", monkeypatch)
    hub, ollama = machine / ".cache" / "huggingface" / "hub", machine / ".ollama" / "models"
    weights = small_llama(tmp_path / "small.gguf").read_bytes()
    folder = write_byte_llama(tmp_path / "llama")
    config = (folder / "config.json").read_bytes()
    write_hub(hub, "org/plain", {file.name: file.read_bytes() for file in folder.iterdir()})
    write_hub(hub, "org/Small-GGUF", {"Small-Q8_0.gguf": weights})
    write_hub(hub, "org/pickled", {"config.json": config, "pytorch_model.bin": b"pickled"})
    write_ollama(ollama, (*LIBRARY, "small", "latest"), weights)
    write_ollama(ollama, (*LIBRARY, "torn", "latest"), weights[:2000])
    write_manifest(ollama, (*LIBRARY, "void", "latest"), b"{")
    studio = machine / ".lmstudio" / "models"
    small_llama(studio / "me" / "Rare" / "Rare-IQ2_XXS.gguf", IQ2_XXS)
    small_llama(studio / "org" / "plain" / "plain-Q8_0.gguf")
    small_llama(machine / ".cache" / "llama.cpp" / "org_x_x-Q8_0.gguf")
    return machine


def test_every_source_is_listed_with_what_its_headers_say(machine: Path) -> None:
    listed = [(one.source, one.name, one.contents) for one in listed_models()]
    read = {(source, name): held for source, name, held in listed if isinstance(held, Sizes)}
    plain = machine / ".lmstudio" / "models" / "org" / "plain" / "plain-Q8_0.gguf"
    assert list(read) == [
        *(("bundled", name) for name in zoo_names()),
        ("hub cache", "org/Small-GGUF:Q8_0"),
        ("hub cache", "org/plain"),
        ("Ollama", "small:latest"),
        ("LM Studio", str(plain)),  # the hub's cache has another model of that name
        ("llama.cpp", "org_x_x-Q8_0.gguf"),
    ]
    small = read["Ollama", "small:latest"]
    assert (small.parameters, small.n_layers, small.precision, small.stored_bytes) == (10592, 1, "Q8_0", 11536)
    assert read["hub cache", "org/plain"].precision == "fp32" and not read["hub cache", "org/plain"].stored


def test_what_edge_does_not_read_is_listed_with_the_reason(machine: Path) -> None:
    unread = {one.name: one.contents for one in listed_models() if isinstance(one.contents, Unread)}
    assert {name: held.why.partition(" (")[0] for name, held in unread.items()} == {
        "org/pickled": "has pickled weights",
        "torn:latest": "is truncated or damaged: tensor 'blk.0.attn_q.weight' ends at byte 2,048 of 2,000",
        "void:latest": "has a damaged manifest",
        "me/Rare": "has tensors of type IQ2_XXS",
    }
    assert unread["me/Rare"].precision == "IQ2_XXS" and unread["me/Rare"].stored_bytes
    assert unread["torn:latest"].stored_bytes == 2000 and unread["org/pickled"].stored_bytes == 7


def test_every_name_opens_the_model_that_it_was_listed_for(machine: Path, tmp_path: Path) -> None:
    for one in listed_models([tmp_path / "llama"]):
        if isinstance(one.contents, Sizes):
            assert find_model(one.name).exists(), f"{one.name} of {one.source} is not found"


def test_a_file_of_two_programs_is_listed_once(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [one.name for one in listed_models()]
    monkeypatch.setenv("LLAMA_CACHE", str(machine / ".cache" / "huggingface" / "hub"))
    assert [one.name for one in listed_models()] == before


def test_folders_are_added_and_an_absent_one_is_refused(machine: Path, tmp_path: Path) -> None:
    listed = list(listed_models([tmp_path / "llama", tmp_path / "small.gguf"]))
    assert [(one.source, one.name) for one in listed[-2:]] == [
        ("folder", str(tmp_path / "llama")),
        ("folder", str(tmp_path / "small.gguf")),
    ]
    with pytest.raises(MisuseError, match="there is no folder"):
        list(listed_models([tmp_path / "absent"]))


def test_reasons_are_short_and_on_one_line(machine: Path) -> None:
    for one in listed_models():
        if isinstance(one.contents, Unread):
            assert len(one.contents.why) < 130 and "\n" not in one.contents.why, one.contents.why
