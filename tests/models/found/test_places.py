"""All places together: whatever is typed, the file that opens is in one of them; what is listed is found."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import EdgeError
from models.find_model import find_model
from models.found.place import FoundModel, Place
from models.found.places import models_of, places
from tests.models.found.layouts import small_llama, use_machine, write_hub, write_ollama


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A machine with a model in every place, and models outside of them that paths would lead to."""
    folder = tmp_path_factory.mktemp("machine")
    with pytest.MonkeyPatch.context() as monkeypatch:
        machine = use_machine(folder / "home" / "me", monkeypatch)
        weights = small_llama(folder / "x").read_bytes()
        write_ollama(machine / ".ollama" / "models", ("registry.ollama.ai", "library", "x", "1b"), weights)
        write_ollama(machine / ".ollama" / "models", ("hf.co", "org", "x", "Q8_0"), weights)
        write_hub(machine / ".cache" / "huggingface" / "hub", "org/x", {"x-Q8_0.gguf": weights, "x-F16.gguf": weights})
        for place in (".lmstudio/models/org/x", ".lmstudio/models/me/x", ".lmstudio/org/x", "org/x", ".lmstudio"):
            small_llama(machine / place / "x.gguf")
        small_llama(machine / ".cache" / "llama.cpp" / "org_x_x-Q4_0.gguf")
        small_llama(machine / ".cache" / "x.gguf")
        write_ollama(machine, ("registry.ollama.ai", "library", "outside", "1b"), weights)
        write_ollama(machine / ".ollama", ("x", "x", "x", "x"), weights)
        yield machine


PARTS = st.sampled_from(
    ["x", "org", "me", "1b", "Q8_0", "hf.co", "registry.ollama.ai", "library", "..", ".", "", "/", "//", ":", "\\",
     "\0", "%2e%2e", "%2f", "~", "x.gguf", "models", "manifests", "blobs", "org_x_x-Q4_0", "outside", "C:", "@", "*"]
)  # fmt: skip
NAMES = st.lists(PARTS | st.sampled_from(["/", ":", "../"]) | st.text(max_size=3), max_size=9).map("".join)


@given(name=NAMES)
def test_whatever_is_typed_the_file_found_lies_in_the_folder_of_its_place(machine: Path, name: str) -> None:
    for place in places():
        try:
            found = place.find(name)
        except EdgeError as error:
            assert "\n" not in str(error)
            continue
        assert found is None or _is_in(found, place), f"{name!r} leads {place.title} to {found}"


def _is_in(found: Path, place: Place) -> bool:
    inside = os.path.realpath(found).startswith(os.path.realpath(place.folder) + os.sep)
    return inside and ".." not in found.parts and found.exists()


@given(name=NAMES)
def test_a_name_is_found_or_refused_in_one_line(machine: Path, name: str) -> None:
    try:
        assert find_model(name).exists()
    except EdgeError as error:
        assert "\n" not in str(error).replace(name, "")


def test_what_is_listed_is_found_in_its_place_by_its_name(machine: Path) -> None:
    listed = [(place, one) for place in places() for one in models_of(place)]
    assert len(listed) == 7, [one.name for _, one in listed]
    for place, one in listed:
        assert isinstance(one, FoundModel) and place.find(one.name) == one.path


def test_places_are_searched_in_order(machine: Path) -> None:
    hub = machine / ".cache" / "huggingface" / "hub"
    assert find_model("org/x").is_relative_to(hub), "LM Studio has org/x too"
    assert find_model("me/x").is_relative_to(machine / ".lmstudio" / "models")
    assert find_model("org/x:Q4_0").is_relative_to(machine / ".cache" / "llama.cpp")
    assert find_model("hf.co/org/x:Q8_0").is_relative_to(machine / ".ollama" / "models" / "blobs")
