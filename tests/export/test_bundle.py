"""Weightless graphs on disk: found, made when missing, whole or not there at all."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from export import bundle as bundles
from export.bundle import main, open_bundle, prepare, write_bundle
from export.manifest import graph_key, read_manifest
from models.atomic_folder import atomic_folder, remove_leftovers
from models.cache_folder import cache_folder
from models.checkpoint import Checkpoint, open_checkpoint
from models.errors import EdgeError, MissingPackageError
from tests.tiny import TINY_SPECS, FakeCheckpoint, tiny_checkpoint, tiny_weights

NAME = "gpt2-learned-positions-tied"
OTHER = "neox-full-rotary-relu"
ROOT = Path(__file__).parents[2]


def quiet(_: str) -> None:
    """Progress that is not read."""


def refuse(*_: object) -> None:
    raise AssertionError("graphs were exported although a bundle was there")


def beside(folder: Path, name: str) -> Checkpoint:
    """A checkpoint in `folder`, from memory."""
    return FakeCheckpoint(TINY_SPECS[name], tiny_weights(TINY_SPECS[name], 0), folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder with graphs for `NAME`."""
    folder = tmp_path_factory.mktemp("checkpoint")
    write_bundle(TINY_SPECS[NAME], folder / "graphs", "", quiet)
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; its graphs lie in the folder returned."""
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path))
    return tmp_path / "graphs"


def test_graphs_beside_the_checkpoint_come_first(whole: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "write_graphs", refuse)
    found = prepare(beside(whole, NAME), quiet)
    assert found.folder == whole / "graphs" and found.graph("fast").stat().st_size < 30_000
    assert not cache.exists(), "the cache was touched although the checkpoint has graphs"


def test_graphs_are_made_once_and_serve_every_checkpoint_of_the_spec(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    first = prepare(tiny_checkpoint(NAME), said.append)
    assert first.folder.parent == cache == cache_folder("graphs") and any("exporting" in line for line in said)
    monkeypatch.setattr(bundles, "write_graphs", refuse)
    assert prepare(tiny_checkpoint(NAME, seed=7), quiet) == first


def test_graphs_of_another_spec_are_no_graphs(whole: Path) -> None:
    assert open_bundle(whole / "graphs", TINY_SPECS[NAME]) is not None
    assert open_bundle(whole / "graphs", TINY_SPECS[OTHER]) is None
    assert graph_key(TINY_SPECS[NAME]) != graph_key(TINY_SPECS[OTHER])


@pytest.mark.parametrize(
    "damage", ["truncated graph", "absent graph", "torn manifest", "older format", "other spec", "odd spec"]
)
def test_a_damaged_bundle_is_no_bundle(whole: Path, tmp_path: Path, damage: str) -> None:
    for file in (whole / "graphs").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    graph, manifest = tmp_path / "probe.onnx", tmp_path / "manifest.json"
    table = json.loads(manifest.read_text())
    match damage:
        case "truncated graph":
            graph.write_bytes(graph.read_bytes()[:-9])
        case "absent graph":
            graph.unlink()
        case "torn manifest":
            manifest.write_text(manifest.read_text()[:-40])
        case "older format":
            manifest.write_text(json.dumps(table | {"format": 0}))
        case "other spec":
            table["spec"]["context"] -= 1
            manifest.write_text(json.dumps(table))
        case "odd spec":
            table["spec"]["n_heads"] = 0
            manifest.write_text(json.dumps(table))
    assert open_bundle(tmp_path, TINY_SPECS[NAME]) is None, f"a bundle with a {damage} was taken for whole"


def test_a_manifest_comes_back_as_it_was_written(whole: Path) -> None:
    manifest = read_manifest(whole / "graphs")
    assert manifest is not None and manifest.spec == TINY_SPECS[NAME]
    assert manifest.to_json() == (whole / "graphs" / "manifest.json").read_text()


_SLOW_EXPORT = """
import sys, time
from export import bundle
from tests.tiny import tiny_checkpoint
def stall(spec, layout, folder, names, progress):
    (folder / "fast.onnx").write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(600)
bundle.write_graphs = stall
bundle.prepare(tiny_checkpoint(sys.argv[1]), print)
"""


def test_a_killed_export_leaves_nothing_usable_and_the_next_one_works(cache: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _SLOW_EXPORT, NAME], cwd=ROOT, stdout=subprocess.PIPE) as exporting:
        assert exporting.stdout is not None and exporting.stdout.readline() == b"writing\n"
        (leftover,) = cache.iterdir()
        remove_leftovers(cache)
        assert leftover.exists(), "the folder of a living export was swept away"
        os.kill(exporting.pid, signal.SIGKILL)
        exporting.wait()
    assert leftover.exists() and open_bundle(leftover, TINY_SPECS[NAME]) is None
    made = prepare(tiny_checkpoint(NAME), quiet)
    assert list(cache.iterdir()) == [made.folder], "what the killed export left is still there"


def test_a_cache_that_cannot_be_written_names_itself_and_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()  # a folder below a file cannot be made, not even by root
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path / "file"))
    with pytest.raises(EdgeError, match=r"file/graphs/.* cannot be written: .*EDGE_CACHE"):
        prepare(tiny_checkpoint(NAME), quiet)


@pytest.mark.parametrize("package", ["torch", "onnx", "onnxscript"])
def test_without_the_exporter_the_message_says_what_to_install(
    cache: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"'{package}'.*edge-lens\[export\]"):
        prepare(tiny_checkpoint(NAME), quiet)
    assert not cache.exists(), "a cache was made for nothing"


def test_a_folder_is_replaced_whole_or_stays(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    for text in ("old", "new"):
        with atomic_folder(target, "") as folder:
            (folder / text).touch()
            assert not (target / text).exists(), "the target changed before the block ended"
    with pytest.raises(ZeroDivisionError), atomic_folder(target, "") as folder:
        (folder / "broken").touch()
        raise ZeroDivisionError
    assert [file.name for file in target.iterdir()] == ["new"] and list(tmp_path.iterdir()) == [target]


def test_the_command_writes_graphs_into_a_checkpoint_folder(
    byte_llama: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in byte_llama.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    assert main([str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder / 'graphs'}\n"
    monkeypatch.setattr(bundles, "write_graphs", refuse)
    assert prepare(open_checkpoint(folder), quiet).folder == folder / "graphs"
    assert main([]) == 2 and main([str(tmp_path / "absent")]) == 1


def test_sweeping_touches_nothing_of_somebody_elses(tmp_path: Path) -> None:
    mine = [tmp_path / name for name in (".backup.partial", ".edge-partial", ".notes.edge-partial", "model.7")]
    for folder in mine:
        folder.mkdir()
    remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(mine), "a folder that Edge did not write was removed"


def test_a_kill_between_two_renames_loses_no_older_export(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for leftover in (f".out-old.{dead.pid}.edge-partial", f".out.{dead.pid}.edge-partial"):
        (tmp_path / leftover).mkdir()
    (tmp_path / f".out-old.{dead.pid}.edge-partial" / "std.onnx").write_bytes(b"whole")
    remove_leftovers(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["out"], "leftovers stayed"
    assert (tmp_path / "out" / "std.onnx").read_bytes() == b"whole", "the older export did not come back"
