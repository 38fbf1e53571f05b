"""The oldest ONNX Runtime that a manifest names, and that the package allows, opens and runs what Edge wrote."""

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

import edge
from edge.session import Model
from export.bundle import write_graph
from export.layout import layout_of
from export.manifest import read_manifest
from export.names import OLDEST_OPERATOR, OLDEST_RUNTIME, OPSET
from export.oldest_runtime import oldest_runtime
from export.quantizing import prepare_quantized
from models.errors import EdgeError
from models.precision import Scheme, Zero
from models.spec import FFN, MoE
from models.zoo import zoo_folder
from tests.tiny import TINY_SPECS, FakeCheckpoint, tiny_weights

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


def mixture() -> FakeCheckpoint:
    """A mixture whose experts have sizes that the fused operator needs."""
    spec = TINY_SPECS["experts-in-groups-shared-and-a-dense-layer"]
    spec = replace(spec, layers=(replace(spec.layers[0], ffn=_wide(spec.layers[0].ffn)),))
    return FakeCheckpoint(spec, tiny_weights(spec, 0))


def _wide(ffn: FFN) -> MoE:
    assert isinstance(ffn, MoE)
    return replace(ffn, expert=replace(ffn.expert, d_ff=64))


def test_quantized_mixtures_name_the_first_runtime_with_their_operator(tmp_path: Path) -> None:
    layout = layout_of(prepare_quantized(mixture(), Scheme(4, 32, Zero.WHOLE), lambda _: None))
    for name in ("fast", "std"):
        write_graph(mixture().spec, layout, name, tmp_path / f"{name}.onnx")
    fused, both = [tmp_path / "fast.onnx"], sorted(tmp_path.iterdir())
    assert oldest_runtime(OPSET, fused) == oldest_runtime(OPSET, both) == OLDEST_OPERATOR["QMoE"] == "1.31"
    assert oldest_runtime(OPSET, both[1:]) == OLDEST_RUNTIME[OPSET], "the portable graph has no such operator"


def test_the_error_of_an_older_runtime_says_what_the_graphs_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.engines.onnx_engine.ort.__version__", "1.30.0")

    def refuse(*_: object) -> None:
        raise RuntimeError("No Op registered for QMoE")

    monkeypatch.setattr("edge.engines.onnx_engine.Graph", refuse)
    with pytest.raises(EdgeError, match=r"1\.30\.0 cannot open .* need ONNX Runtime 1\.31 or newer"):
        Model(mixture(), "onnx:int4", 1, lambda _: None)


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
