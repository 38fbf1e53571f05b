"""Pulls from a hub on loopback: what is downloaded, and a clear message where nothing can be."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from edge.cli import exit_code
from models.errors import CheckpointError
from models.find_model import find_model
from models.pull import pull
from tests.models.found.layouts import IQ2_XXS, LLAMA, llama_tensors, small_llama, use_machine
from tests.models.hub_command import edge
from tests.models.hub_server import Hub, serving
from tests.models.sources.gguf_writer import write_split_gguf
from tests.reference import REFERENCES, write_reference

ID = "someone/tiny-gpt2"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A checkpoint, and what repositories hold beside one."""
    folder = tmp_path_factory.mktemp("repository")
    write_reference(REFERENCES["gpt2-tied"](), folder)
    held = {file.name: file.read_bytes() for file in folder.iterdir()}
    return held | {"pytorch_model.bin": b"pickled", "onnx/model.safetensors": b"a copy", "README.md": b"# tiny"}


def test_a_page_of_the_hub_can_be_pulled(tmp_path: Path, files: dict[str, bytes]) -> None:
    with serving(Hub(ID, files)) as endpoint:
        done = edge(tmp_path, "models", "pull", f"https://huggingface.co/{ID}/tree/main", endpoint=endpoint)
    assert done.returncode == 0, done.stderr


def test_a_pull_fetches_what_is_needed_and_a_run_then_asks_nobody(tmp_path: Path, files: dict[str, bytes]) -> None:
    hub = Hub(ID, files)
    with serving(hub) as endpoint:
        done = edge(tmp_path, "models", "pull", ID, endpoint=endpoint)
        assert done.returncode == 0, done.stderr
        folder = Path(done.stdout.strip())
        assert (folder / "model.safetensors").read_bytes() == files["model.safetensors"]
        assert {"config.json", "model.safetensors"} <= hub.fetched()
        assert not hub.fetched() & {"pytorch_model.bin", "onnx/model.safetensors", "README.md"}, "copies were fetched"
        hub.asked.clear()
        done = edge(tmp_path, "run", ID, "--ids", "1,2,3", "-n", "4", "-e", "torch", endpoint=endpoint)
        assert done.returncode == 0 and len(done.stdout.split()) == 4, done.stderr
        assert hub.asked == [], f"a cached model asked the hub: {hub.asked}"


def test_a_broken_fetch_is_gone_on_with(tmp_path: Path) -> None:
    """From the last ten million bytes that arrived: the client writes no smaller pieces."""
    content = os.urandom(24_000_000)
    hub = Hub(ID, {"model.safetensors": content}, break_once="model.safetensors")
    with serving(hub) as endpoint:
        done = edge(tmp_path, "models", "pull", ID, endpoint=endpoint)
    assert done.returncode == 0, done.stderr
    assert (Path(done.stdout.strip()) / "model.safetensors").read_bytes() == content
    asked = [line for line in hub.asked if "model.safetensors" in line and line.startswith("GET")]
    assert any("bytes=" in line for line in asked), f"the whole file was asked for again: {asked}"


def test_a_half_fetched_model_is_not_taken_for_whole(tmp_path: Path, files: dict[str, bytes]) -> None:
    """Killed between two files: a run says so, and the next pull fetches the rest."""
    hub = Hub(ID, files)
    with serving(hub) as endpoint:
        folder = Path(edge(tmp_path, "models", "pull", ID, endpoint=endpoint).stdout.strip())
        (folder / "model.safetensors").unlink()
        hub.asked.clear()
        done = edge(tmp_path, "run", ID, "--ids", "1,2,3", "-n", "4", "-e", "torch", endpoint=endpoint)
        assert done.returncode == 2 and "the model is incomplete in the hub's cache" in done.stderr and not hub.asked
        done = edge(tmp_path, "models", "pull", ID, endpoint=endpoint)
    assert done.returncode == 0 and (folder / "model.safetensors").is_file(), done.stderr


def test_a_login_is_used(tmp_path: Path, files: dict[str, bytes]) -> None:
    hub = Hub(ID, files, token="hf_secret")
    with serving(hub) as endpoint:
        refused = edge(tmp_path, "models", "pull", ID, endpoint=endpoint)
        assert refused.returncode == 1 and "no such model, or you have no access" in refused.stderr
        done = edge(tmp_path, "models", "pull", ID, endpoint=endpoint, token="hf_secret")
    assert done.returncode == 0 and "hf_secret" not in done.stdout + done.stderr, done.stderr


@pytest.mark.parametrize(
    ("hub", "id", "said"),
    [
        (Hub(ID, {}, gated=True), ID, "requires a license"),
        (Hub(ID, {}), "someone/else", "has no such model"),
        (Hub(ID, {"config.json": b"{}", "pytorch_model.bin": b"pickled"}), ID, "has no *.safetensors"),
        (Hub(ID, {}), "nothing", "is not a hub id"),
    ],
)
def test_what_cannot_be_pulled_is_refused_in_one_line(tmp_path: Path, hub: Hub, id: str, said: str) -> None:
    with serving(hub) as endpoint:
        done = edge(tmp_path, "models", "pull", id, endpoint=endpoint)
    assert done.returncode in (1, 2) and said in done.stderr and "Traceback" not in done.stderr, done.stderr


# ---- GGUF files ---------------------------------------------------------------------------------------------

GGUF_ID = "someone/tiny-GGUF"


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A repository of one model in several types, one of them split."""
    folder = tmp_path_factory.mktemp("quantized")
    tensors = list(llama_tensors().items())
    split = write_split_gguf(folder, "tiny-F16", LLAMA, [dict(tensors[:4]), dict(tensors[4:])])
    held = {f"F16/{file.name}": file.read_bytes() for file in split}
    held |= {f"tiny-{tag}.gguf": small_llama(folder / f"{tag}.gguf").read_bytes() for tag in ("Q4_K_M", "Q8_0")}
    return held | {"mmproj-tiny.gguf": b"GGUF", "README.md": b"# tiny", "config.json": b"{}", "imatrix.gguf": b"GGUF"}


def downloaded(hub: Hub) -> set[str]:
    """Files whose content was sent."""
    contents = f"GET /{hub.id}/resolve/"
    return {line.removeprefix(contents).partition("/")[2] for line in hub.asked if line.startswith(contents)}


@pytest.fixture
def hub(quantized: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub that pulls of this process reach, and an empty cache."""
    use_machine(tmp_path, monkeypatch)
    hub = Hub(GGUF_ID, dict(quantized))
    with serving(hub) as endpoint:
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield hub


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (GGUF_ID, {"tiny-Q4_K_M.gguf"}),
        (f"{GGUF_ID}:q8_0", {"tiny-Q8_0.gguf"}),
        (f"{GGUF_ID}:F16", {"F16/tiny-F16-00001-of-00002.gguf", "F16/tiny-F16-00002-of-00002.gguf"}),
    ],
)
def test_a_pull_downloads_one_file_and_its_parts(hub: Hub, name: str, wanted: set[str]) -> None:
    file = pull(name)
    assert downloaded(hub) == wanted
    assert file.read_bytes() == hub.files[min(wanted)] and file.name == Path(min(wanted)).name
    assert find_model(name) == file


def test_a_repository_with_both_is_a_checkpoint_unless_a_tag_is_named(hub: Hub, files: dict[str, bytes]) -> None:
    hub.files = files | {"tiny-Q8_0.gguf": hub.files["tiny-Q8_0.gguf"]}
    folder = pull(GGUF_ID)
    assert folder.is_dir() and "tiny-Q8_0.gguf" not in downloaded(hub)
    hub.asked.clear()
    assert pull(f"{GGUF_ID}:Q8_0") == folder / "tiny-Q8_0.gguf" and downloaded(hub) == {"tiny-Q8_0.gguf"}
    assert find_model(GGUF_ID) == folder


def test_a_pull_that_broke_off_between_two_parts_continues(hub: Hub) -> None:
    name = f"{GGUF_ID}:F16"
    second = pull(name).with_name("tiny-F16-00002-of-00002.gguf")
    second.unlink()
    with pytest.raises(CheckpointError, match=f"'edge models pull {name}' downloads the rest"):
        find_model(name)
    assert pull(name) == find_model(name) and second.is_file()


def test_a_tag_of_no_file_is_refused_with_those_that_can_be_pulled(hub: Hub) -> None:
    with pytest.raises(CheckpointError, match="no GGUF file with 'Q5_K_M'; use one of F16, Q4_K_M, Q8_0"):
        pull(f"{GGUF_ID}:Q5_K_M")
    hub.files = {"model.safetensors": b""}
    with pytest.raises(CheckpointError, match="it has no GGUF files; leave the tag out"):
        pull(f"{GGUF_ID}:Q8_0")
    assert downloaded(hub) == set()


def test_a_repository_that_lacks_a_part_is_not_downloaded(hub: Hub) -> None:
    hub.files = {"tiny-Q2_K-00001-of-00002.gguf": b"GGUF"}
    with pytest.raises(CheckpointError, match=r"lacks tiny-Q2_K-00002-of-00002\.gguf of 2 parts"):
        pull(f"{GGUF_ID}:Q2_K")
    assert downloaded(hub) == set()


def test_a_file_that_edge_does_not_read_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.files = {"tiny-IQ2_XXS.gguf": small_llama(tmp_path / "tiny.gguf", IQ2_XXS).read_bytes()}
    with pytest.raises(CheckpointError, match=r"cannot be run: .*IQ2_XXS"):
        pull(GGUF_ID)


@pytest.mark.parametrize(
    "name", [f"hf.co/{GGUF_ID}:Q8_0", f"https://huggingface.co/{GGUF_ID}/blob/main/tiny-Q8_0.gguf"]
)
def test_the_command_takes_names_of_ollama_and_pages_of_files(
    hub: Hub, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(["models", "pull", name]) == 0
    assert capfd.readouterr().out.strip().endswith("tiny-Q8_0.gguf") and downloaded(hub) == {"tiny-Q8_0.gguf"}


def test_what_was_pulled_runs_by_its_name_without_the_hub(tmp_path: Path, quantized: dict[str, bytes]) -> None:
    hub = Hub(GGUF_ID, quantized)
    with serving(hub) as endpoint:
        assert edge(tmp_path, "models", "pull", f"{GGUF_ID}:F16", endpoint=endpoint).returncode == 0
        hub.asked.clear()
        done = edge(tmp_path, "run", f"{GGUF_ID}:f16", "--ids", "1,2,3", "-n", "4", "-e", "torch", endpoint=endpoint)
    assert done.returncode == 0 and len(done.stdout.split()) == 4, done.stderr
    assert hub.asked == []
