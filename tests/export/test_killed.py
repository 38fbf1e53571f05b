"""`kill -9` at any moment of `edge export`: its folder is whole or not there, and the next run works."""

import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import onnx_ir as ir
import pytest

from export.graphs import build
from export.layout import DENSE, layout_of
from export.manifest import FILE, file_sha256, read_manifest
from export.quantizing import prepare_quantized
from models.checkpoint import open_checkpoint
from models.precision import Grouped, precision_of
from tests.export.killing import killed_at

KINDS = {
    "std": ["--for", "std"],
    "genai": ["--for", "genai"],
    "edge": ["--for", "edge"],
    "int4": ["--precision", "int4"],
}


@pytest.fixture(scope="module")
def graphs(byte_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every graph that these exports hold, traced once."""
    folder, held, int4 = tmp_path_factory.mktemp("graphs"), open_checkpoint(byte_llama), precision_of("int4")
    assert isinstance(int4, Grouped)
    quantized = layout_of(prepare_quantized(held, int4.scheme, lambda _: None), int4)
    wanted = [("std", DENSE), ("genai", DENSE), ("fast", DENSE), ("probe", DENSE), ("edit", DENSE), ("std", quantized)]
    for name, layout in wanted:
        ir.save(build(held.spec, name, layout), folder / f"{name}-{layout.precision}.onnx")
    return folder


def is_whole(folder: Path) -> bool:
    """Every file is there and as the manifest says, and no other."""
    manifest = read_manifest(folder)
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    return manifest is not None and manifest.sha256 == {
        name: file_sha256(file) for name, file in files.items() if name != FILE
    }


def endings(out: Path, cache: Path, graphs: Path, command: list[str]) -> Iterator[int]:
    """Exit codes of exports killed at their first change to the disk, at their second ... until one gets through."""
    for change in count(1):
        code = killed_at(change, out.parents[1], cache, graphs, command)
        yield code
        if code != -signal.SIGKILL:
            return


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_export_is_not_there_and_the_next_one_works(
    byte_llama: Path, tmp_path: Path, graphs: Path, kind: str
) -> None:
    """Each run finds what the one before left, and gets one change further."""
    out, cache = tmp_path / "exports" / "out", tmp_path / "cache"
    command = ["export", str(byte_llama), str(out), *KINDS[kind]]
    codes = []
    for code in endings(out, cache, graphs, command):
        codes.append(code)
        assert is_whole(out) or not out.exists(), f"killed at change {len(codes)}, an export is there in part"
    assert len(codes) > 8 and codes[-1] == 0, f"an export after {len(codes) - 1} killed ones ends with {codes[-1]}"
    assert is_whole(out) and list(out.parent.iterdir()) == [out], "the last export is not all that is there"
    assert not list(cache.rglob("*edge-partial*")), "something half quantized is left in the cache"


def test_an_older_export_stays_until_the_new_one_is_whole(byte_llama: Path, tmp_path: Path, graphs: Path) -> None:
    """Killed between two renames, the older one lies beside its place, and the next run puts it back first."""
    out, cache = tmp_path / "exports" / "out", tmp_path / "cache"
    command = ["export", str(byte_llama), str(out)]
    assert killed_at(0, tmp_path, cache, graphs, command) == 0
    codes = []
    for code in endings(out, cache, graphs, command):
        codes.append(code)
        kept = [folder for folder in out.parent.iterdir() if folder == out or "-old" in folder.name]
        assert any(map(is_whole, kept)), f"killed at change {len(codes)}, the older export is gone"
    assert codes[-1] == 0 and is_whole(out) and list(out.parent.iterdir()) == [out]
