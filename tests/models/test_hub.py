"""Models of the hub by id, read from its cache."""

from pathlib import Path

import pytest

from models.errors import CheckpointError
from models.find_model import find_model
from models.hub import HubName, hub_name, id_of, is_hub_id
from tests.models.hub_command import edge
from tests.models.hub_server import Hub, serving
from tests.reference import REFERENCES, write_reference


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


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("owner/model", HubName("owner/model")),
        ("owner/model:Q4_K_M", HubName("owner/model", "Q4_K_M")),
        ("owner/model:a name", HubName("owner/model", "a name")),
        ("owner/model:", None),
        ("owner/model:../x", None),
        ("owner/model:a:b", None),
        ("owner/../model", None),
        ("model:Q4_K_M", None),
        ("hf.co/owner/model:Q4_K_M", None),
    ],
)
def test_names_of_the_hub_may_have_a_tag(text: str, name: HubName | None) -> None:
    assert hub_name(text) == name
    assert name is None or str(name) == text


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
