"""The doctor reports what works, and how to fix what does not."""

import json
import sys
from pathlib import Path

import pytest

from edge import doctor
from edge.cli import exit_code
from edge.doctor import Check, can_run, run_checks


@pytest.fixture(scope="module")
def checks() -> dict[str, Check]:
    return {check.name: check for check in run_checks()}


def test_every_part_is_looked_at(checks: dict[str, Check]) -> None:
    wanted = {
        "providers of onnx",
        "engine onnx",
        "engine torch",
        "engine mlx",
        "BLAS behind mlx",
        "export",
        "cores",
        "memory",
        "cache",
    }
    assert wanted <= checks.keys()


def test_what_does_not_work_has_a_way_out(checks: dict[str, Check]) -> None:
    for check in checks.values():
        assert check.works or check.fix, f"{check.name} does not work, and nothing says what to do"


def test_a_missing_engine_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_import_failure", lambda module: "gone" if module.startswith("mlx") else None)
    monkeypatch.setattr(doctor, "_version", lambda package: None if package.startswith("mlx") else "1.0")
    found = {check.name: check for check in run_checks()}
    mlx = found["engine mlx"]
    assert not mlx.works and mlx.detail == "mlx is not installed"
    assert mlx.fix == f"{sys.executable} -m pip install 'edge-lens[mlx]'"
    assert can_run(tuple(found.values())), "onnx alone is enough to run"


def test_an_engine_that_is_installed_but_broken_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"export.onnx_runtime": "no libgomp"}
    monkeypatch.setattr(doctor, "_import_failure", broken.get)
    found = {check.name: check for check in run_checks()}
    assert "its import fails: no libgomp" in found["engine onnx"].detail and not can_run(tuple(found.values()))
    assert found["engine onnx"].fix.endswith("-m pip install --force-reinstall onnxruntime")


def test_a_cache_that_cannot_be_written_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("EDGE_CACHE", str(blocked))
    cache = next(check for check in run_checks() if check.name == "cache")
    assert not cache.works and str(blocked) in cache.detail and cache.fix


def test_the_cache_reports_its_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path / "cache"))
    reported = [next(check.detail for check in run_checks() if check.name == "cache")]
    for part, size in (("graphs", 1_500_000), ("weights", 2_500_000)):
        (tmp_path / "cache" / part / "key").mkdir(parents=True)
        (tmp_path / "cache" / part / "key" / "file").write_bytes(bytes(size))
    reported.append(next(check.detail for check in run_checks() if check.name == "cache"))
    held = [text.removeprefix(f"{tmp_path / 'cache'}: ").partition(" MB")[0] for text in reported]
    assert held == ["0", "4"], f"graphs and quantized weights of 4 MB are reported as {reported}"


def test_exit_code_shows_whether_models_run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["doctor", "--json"]) == 0
    rows = json.loads(capfd.readouterr().out)
    assert all(set(row) == {"what", "works", "found", "fix"} for row in rows)
    monkeypatch.setattr(doctor, "_import_failure", lambda module: "gone" if module == "export.onnx_runtime" else None)
    assert exit_code(["doctor"]) == 1
