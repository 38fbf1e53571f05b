"""The oldest ONNX Runtime that a manifest names, and that the package allows, opens and runs what Edge wrote."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import edge
from export.manifest import read_manifest
from export.names import OLDEST_RUNTIME, OPSET
from models.zoo import zoo_folder

ROOT = Path(__file__).parents[2]

RUN = """
import edge, onnxruntime
print(onnxruntime.__version__)
with edge.load("fable-relu") as model:
    print(model.run("Once upon a time", max_new_tokens=4).generated)
"""


def floor() -> str:
    """The oldest release that pip may install."""
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]["dependencies"]
    found = [match[1] for package in packages if (match := re.match(r"onnxruntime>=([\d.]+)", package))]
    assert len(found) == 1
    return found[0]


def test_the_package_allows_no_runtime_that_refuses_its_graphs() -> None:
    assert floor() == OLDEST_RUNTIME[OPSET]
    manifest = read_manifest(Path(str(zoo_folder("fable-relu"))) / "graphs")
    assert manifest is not None and manifest.oldest_onnxruntime == floor() and manifest.opset == OPSET


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="that release has no build for this Python")
def test_the_oldest_runtime_runs_a_bundled_model(tmp_path: Path) -> None:
    wanted = f"onnxruntime=={floor()}.*"
    asked = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--disable-pip-version-check"]
    if subprocess.run([*asked, "--target", str(tmp_path / "old"), wanted], capture_output=True).returncode:
        pytest.skip(f"needs {wanted}, which pip could not install here")
    path = os.pathsep.join([str(tmp_path / "old"), str(ROOT)])
    ran = subprocess.run(
        [sys.executable, "-c", RUN],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    version, tokens = ran.stdout.split("\n")[:2]
    assert version.startswith(f"{floor()}."), f"{version} ran it"
    with edge.load("fable-relu") as model:
        assert tokens == str(model.run("Once upon a time", max_new_tokens=4).generated)
