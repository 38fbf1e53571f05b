"""Models of the hub: fetched from one on loopback, read from its cache, and a clear word where they cannot be had."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.errors import CheckpointError
from models.find_model import find_model
from models.hub import id_of, is_hub_id
from tests.models.hub_server import Hub, serving
from tests.reference import REFERENCES, write_reference

ROOT = Path(__file__).parents[2]


def edge(
    hub: Path, *arguments: str, endpoint: str | None = None, token: str | None = None
) -> subprocess.CompletedProcess[str]:
    """One command line, with `hub` as the hub's cache and no network but a hub at `endpoint`."""
    environment = os.environ | {"HF_HUB_CACHE": str(hub), "HF_HOME": str(hub / "home"), "PYTHONPATH": str(ROOT)}
    environment |= {"HF_HUB_OFFLINE": "1"} if endpoint is None else {"HF_ENDPOINT": endpoint}
    environment |= {} if token is None else {"HF_TOKEN": token}
    command = [sys.executable, "-m", "edge", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def test_a_model_in_the_hub_s_cache_runs_by_its_id(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--someone--tiny-gpt2" / "snapshots" / "abc123"
    write_reference(REFERENCES["gpt2-tied"](), snapshot)
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc123")
    done = edge(tmp_path, "run", "someone/tiny-gpt2", "--ids", "1,2,3", "-n", "4", "-e", "torch")
    assert done.returncode == 0 and len(done.stdout.split()) == 4, done.stderr


def test_a_model_that_cannot_be_had_is_refused_in_one_line(tmp_path: Path) -> None:
    done = edge(tmp_path, "run", "someone/nothing", "Once")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "there is no folder 'someone/nothing'" in done.stderr and "edge models pull someone/nothing" in done.stderr


@pytest.mark.parametrize("command", ["run", "profile", "compare", "lab", "export", "look", "models"])
def test_only_a_pull_asks_the_hub(tmp_path: Path, command: str) -> None:
    """A folder's mistyped name looks like an id."""
    more = {"run": ["hi"], "export": ["out"], "compare": ["-e", "torch", "-e", "onnx"]}
    hub = Hub("my/folder", {"config.json": b"{}"})
    with serving(hub) as endpoint:
        first = ["models", "show"] if command == "models" else [command]
        done = edge(tmp_path, *first, "my/folder", *more.get(command, []), endpoint=endpoint)
    assert done.returncode == 2 and "'edge models pull my/folder'" in done.stderr, done.stderr
    assert hub.asked == [], f"'edge {command}' asked the hub: {hub.asked}"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("openai-community/gpt2", True), ("gpt2", False), ("a/b/c", False), ("./here", False), ("", False)],
)
def test_ids_are_distinguished_from_paths_and_names(name: str, is_one: bool) -> None:
    assert is_hub_id(name) is is_one


def test_a_cached_model_is_called_by_its_id() -> None:
    assert id_of(Path("/cache/models--openai-community--gpt2/snapshots/607a30")) == "openai-community/gpt2"
    assert id_of(Path("/home/me/models--mine")) is None and id_of(Path("gpt2")) is None


def test_a_model_s_folder_in_the_cache_is_opened_where_it_leads(tmp_path: Path) -> None:
    entry = tmp_path / "models--someone--tiny"
    for commit in ("abc", "def"):
        (entry / "snapshots" / commit).mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"several checkpoints; name one: .*abc.*, .*def"):
        find_model(entry)
    (entry / "refs").mkdir()
    (entry / "refs" / "main").write_text("def")
    assert find_model(entry) == entry / "snapshots" / "def"
    (entry / "refs" / "main").write_text("../../../elsewhere")
    with pytest.raises(CheckpointError, match="not a plain file name"):
        find_model(entry)


def test_a_page_of_the_hub_can_be_pulled(tmp_path: Path, files: dict[str, bytes]) -> None:
    with serving(Hub(ID, files)) as endpoint:
        done = edge(tmp_path, "models", "pull", f"https://huggingface.co/{ID}/tree/main", endpoint=endpoint)
    assert done.returncode == 0, done.stderr


ID = "someone/tiny-gpt2"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A checkpoint, and what repositories hold beside one."""
    folder = tmp_path_factory.mktemp("repository")
    write_reference(REFERENCES["gpt2-tied"](), folder)
    held = {file.name: file.read_bytes() for file in folder.iterdir()}
    return held | {"pytorch_model.bin": b"pickled", "onnx/model.safetensors": b"a copy", "README.md": b"# tiny"}


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
