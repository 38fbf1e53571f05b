"""Models of the hub: read from its cache, and a clear word where they cannot be had. Nothing here uses the network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.hub import id_of, is_hub_id
from tests.reference import REFERENCES, write_reference

ROOT = Path(__file__).parents[2]


def edge(hub: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One command line, with `hub` as the hub's cache and no network."""
    environment = os.environ | {"HF_HUB_CACHE": str(hub), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
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
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "no folder 'someone/nothing' here, and the hub did not give it" in done.stderr


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("openai-community/gpt2", True), ("gpt2", False), ("a/b/c", False), ("./here", False), ("", False)],
)
def test_ids_are_told_from_paths_and_names(name: str, is_one: bool) -> None:
    assert is_hub_id(name) is is_one


def test_a_cached_model_is_called_by_its_id() -> None:
    assert id_of(Path("/cache/models--openai-community--gpt2/snapshots/607a30")) == "openai-community/gpt2"
    assert id_of(Path("/home/me/models--mine")) is None and id_of(Path("gpt2")) is None
