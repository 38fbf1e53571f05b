"""Models of Ollama: names, manifests and blobs, whole and damaged."""

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.checkpoint import open_checkpoint
from models.errors import CheckpointError
from models.find_model import find_model
from models.found.ollama import Ollama, ollama_folders, ollama_name
from models.found.place import BrokenModel, FoundModel
from tests.models.found.layouts import MODEL, small_llama, use_machine, write_manifest, write_ollama

REGISTRY = "registry.ollama.ai"
LLAMA = (REGISTRY, "library", "llama3.2", "1b")
WEIGHTS = b"GGUF weights"


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return use_machine(tmp_path, monkeypatch)


@pytest.fixture
def root(machine: Path) -> Path:
    return machine / ".ollama" / "models"


def refusal(root: Path, name: str = "llama3.2:1b") -> str:
    with pytest.raises(CheckpointError) as refused:
        Ollama(root).find(name)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("llama3.2:1b", (REGISTRY, "library", "llama3.2", "1b")),
        ("llama3.2", (REGISTRY, "library", "llama3.2", "latest")),
        ("me/mine:q4", (REGISTRY, "me", "mine", "q4")),
        ("hf.co/org/repo:Q4_K_M", ("hf.co", "org", "repo", "Q4_K_M")),
        ("localhost:5000/me/mine", ("localhost:5000", "me", "mine", "latest")),
        ("registry.ollama.ai/library/llama3.2:1b", (REGISTRY, "library", "llama3.2", "1b")),
    ],
)
def test_names_lead_to_their_manifest(root: Path, name: str, parts: tuple[str, str, str, str]) -> None:
    write_ollama(root, (REGISTRY, "library", "other", "latest"), b"other")
    write_ollama(root, parts, WEIGHTS)
    found = find_model(name)
    assert found.read_bytes() == WEIGHTS and found.parent == root / "blobs"


def test_case_does_not_count(root: Path) -> None:
    write_ollama(root, ("hf.co", "Org", "Repo-GGUF", "Q4_K_M"), WEIGHTS)
    assert Ollama(root).find("HF.co/org/repo-gguf:q4_k_m") is not None


def test_any_known_host_and_both_trees_are_searched(root: Path) -> None:
    """`manifests-v2` has links to manifests among the blobs."""
    manifest = write_ollama(root, ("elsewhere", "x", "y", "z"), WEIGHTS)
    link = root.joinpath("manifests-v2", "ollama.com", "library", "llama3.2", "1b")
    link.parent.mkdir(parents=True)
    link.symlink_to(os.path.relpath(manifest, link.parent))
    found = Ollama(root).find("llama3.2:1b")
    assert found is not None and found.read_bytes() == WEIGHTS
    assert [one.name for one in Ollama(root).models()] == ["elsewhere/x/y:z", "llama3.2:1b"]


def test_every_folder_is_searched_and_the_variable_first(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(machine / "chosen"))
    assert ollama_folders() == (machine / "chosen", machine / ".ollama" / "models", machine / "service")
    write_ollama(machine / "service", LLAMA, b"of the service")
    assert find_model("llama3.2:1b").read_bytes() == b"of the service"
    write_ollama(machine / "chosen", LLAMA, b"chosen")
    assert find_model("llama3.2:1b").read_bytes() == b"chosen"


@given(st.text(), st.text(min_size=1), st.text(min_size=1), st.text(min_size=1))
def test_a_name_is_read_as_it_is_written(host: str, namespace: str, model: str, tag: str) -> None:
    parts = (host, namespace, model, tag)
    if any("/" in part for part in parts) or ":" in model + tag or not host:
        return
    read = ollama_name(f"{host}/{namespace}/{model}:{tag}")
    assert read is not None and (read.hosts, read.namespace, read.model, read.tag) == ((host,), *parts[1:])
    assert ollama_name(str(read)) in (read, ollama_name(f"{namespace}/{model}:{tag}"))


@pytest.mark.parametrize(
    "name",
    [
        "llama3.2:../../x", "../../x:1b", "..", "../..", "/etc/passwd", "llama3.2:", ":1b", "", "/", "a//b",
        "llama3.2:1b\0", "llama3.2:%2e%2e", "..\\..\\x:1b", "library/../llama3.2:1b", "./llama3.2:1b", "llama3.2:.",
    ],
)  # fmt: skip
def test_a_name_with_a_path_in_it_is_no_model(root: Path, name: str) -> None:
    write_ollama(root, LLAMA, WEIGHTS)
    write_ollama(root.parent, ("x", "y", "z", "1b"), WEIGHTS)
    assert Ollama(root).find(name) is None


def test_a_fifth_part_is_refused_where_the_host_is_known(root: Path) -> None:
    write_ollama(root, LLAMA, WEIGHTS)
    write_manifest(root, (REGISTRY, "library", "skill", "search", "latest"), {"layers": []})
    assert "5 parts" in refusal(root, f"{REGISTRY}/library/skill/search:latest")
    assert Ollama(root).find("some/path/to/a/folder") is None
    assert Ollama(root).find(f"{REGISTRY}/library/skill:search") is None, "a folder was taken for a manifest"
    assert [one.name for one in Ollama(root).models()] == ["llama3.2:1b"]


DIGEST = "sha256:" + "a" * 64
DAMAGED: dict[str, tuple[object, str]] = {
    "empty": (b"", "damaged manifest"),
    "not JSON": (b"{", "damaged manifest"),
    "not text": (b"\xff\xfe\x00\xd8", "damaged manifest"),
    "nested": (b'{"layers":' + b"[" * 100_000, "damaged manifest"),
    "huge": (b'{"layers":[]' + b" " * (2 << 20) + b"}", r"damaged manifest.*bytes"),
    "a list": ([], "damaged manifest"),
    "a number": (7, "damaged manifest"),
    "no layers": ({}, "damaged manifest"),
    "layers that are a table": ({"layers": {"mediaType": MODEL}}, "damaged manifest"),
    "layers that are texts": ({"layers": [MODEL]}, "damaged manifest"),
    "layers that are numbers": ({"layers": [1, 2]}, "damaged manifest"),
    "a layer without a kind": ({"layers": [{"digest": DIGEST, "size": 1}]}, "damaged manifest"),
    "a kind that is a table": (
        {"layers": [{"mediaType": {}, "digest": DIGEST, "size": 1}]},
        "no weights on this machine",
    ),
    "a kind of another program": ({"layers": [{"mediaType": "model", "digest": DIGEST}]}, "no weights on this machine"),
    "no weights": ({"layers": []}, "no weights on this machine.*cloud"),
    "two": ({"layers": [{"mediaType": MODEL, "digest": DIGEST, "size": 1}] * 2}, "2 files of weights"),
    "no hash": ({"layers": [{"mediaType": MODEL, "size": 1}]}, "no valid hash or size"),
    "no size": ({"layers": [{"mediaType": MODEL, "digest": DIGEST}]}, "no valid hash or size"),
    "no blob": ({"layers": [{"mediaType": MODEL, "digest": DIGEST, "size": 1}]}, r"lacks its weights.*ollama pull"),
    "an adapter": ({"layers": [{"mediaType": MODEL}, {"mediaType": f"{MODEL[:-5]}adapter"}]}, "adapter.*merge"),
    "tensors": ({"layers": [{"mediaType": f"{MODEL[:-5]}tensor; name=x; dtype=F16"}]}, "safetensors layers"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_manifest_is_one_sentence_and_does_not_end_the_list(root: Path, kind: str) -> None:
    content, said = DAMAGED[kind]
    write_manifest(root, LLAMA, content)
    write_ollama(root, (REGISTRY, "library", "whole", "1b"), WEIGHTS)
    found = refusal(root)
    assert found.startswith("'llama3.2:1b' of Ollama has ") or "lacks" in found
    assert re.search(said, found), found
    broken, whole = Ollama(root).models()
    assert isinstance(broken, BrokenModel) and broken.name == "llama3.2:1b" and broken.problem in found
    assert isinstance(whole, FoundModel)


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:../../outside", "sha256-" + "/" * 64, "../outside", "sha256:" + "g" * 64, "sha256:" + "a" * 63,
        "sha512:" + "a" * 64, "sha256:" + "a" * 64 + "\n", "sha256:" + "\N{FULLWIDTH DIGIT ONE}" * 64, "", 7, None, [],
    ],
)  # fmt: skip
def test_a_hash_that_is_none_opens_nothing(root: Path, digest: object) -> None:
    (root.parent / "outside").parent.mkdir(parents=True)
    (root.parent / "outside").write_bytes(WEIGHTS)
    write_ollama(root, LLAMA, WEIGHTS, digest=digest)
    assert "no valid hash or size" in refusal(root)


@pytest.mark.parametrize("mark", [":", "-"])
def test_both_ways_to_write_a_hash_are_read(root: Path, mark: str) -> None:
    manifest = write_ollama(root, LLAMA, WEIGHTS)
    manifest.write_text(manifest.read_text().replace("sha256:", f"sha256{mark}"))
    assert Ollama(root).find("llama3.2:1b") is not None


@pytest.mark.parametrize("size", [0, 11, 13, 10**12, -1])
def test_a_blob_of_another_size_is_refused(root: Path, size: int) -> None:
    write_ollama(root, LLAMA, WEIGHTS, size=size)
    assert f"weights of 12 bytes, and its manifest says {size:,}" in refusal(root)


@pytest.mark.parametrize("size", [True, 12.0, "12", None])
def test_a_size_of_another_type_is_refused(root: Path, size: object) -> None:
    write_ollama(root, LLAMA, WEIGHTS, size=size)
    assert "no valid hash or size" in refusal(root)


def test_a_pipe_in_place_of_a_manifest_is_not_read(root: Path) -> None:
    manifest = root.joinpath("manifests", *LLAMA)
    manifest.parent.mkdir(parents=True)
    os.mkfifo(manifest)
    assert "not a file" in refusal(root)


def test_a_folder_that_cannot_be_read_is_named_with_the_variable(machine: Path) -> None:
    """Whether it is missing rights or a loop of links; also the tests of a superuser can make the latter."""
    service, own = machine / "service", machine / ".ollama" / "models"
    service.mkdir()
    (service / "manifests").symlink_to("manifests")
    said = refusal(service)
    assert str(service) in said and "OLLAMA_MODELS" in said, said
    (one,) = Ollama(service).models()
    assert isinstance(one, BrokenModel) and str(service) in one.name and "OLLAMA_MODELS" in one.problem
    write_ollama(own, LLAMA, WEIGHTS)
    assert find_model("llama3.2:1b").read_bytes() == WEIGHTS, "one folder that cannot be read hides the others"


def test_the_weights_of_a_model_open_without_an_ending(root: Path, tmp_path: Path) -> None:
    write_ollama(root, LLAMA, small_llama(tmp_path / "small.gguf").read_bytes())
    assert open_checkpoint(find_model("llama3.2:1b")).spec.d_model == 32


def test_a_manifest_from_the_program_is_read(root: Path) -> None:
    """As `ollama pull` writes one."""
    blob = root / "blobs" / f"sha256-{'b' * 64}"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(WEIGHTS)
    layers = [
        {"mediaType": MODEL, "digest": f"sha256:{'b' * 64}", "size": len(WEIGHTS)},
        {"mediaType": "application/vnd.ollama.image.license", "digest": DIGEST, "size": 7},
        {"mediaType": "application/vnd.ollama.image.params", "digest": DIGEST, "size": 7},
    ]
    config = {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": DIGEST, "size": 7}
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    content = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers})
    write_manifest(root, (REGISTRY, "library", "gemma3", "latest"), content.encode())
    assert Ollama(root).find("gemma3") == blob
