"""The rules that keep the project readable, checked: imports, sizes, words, what is shipped."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("models", "export", "edge", "tui")
MODULES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
HEAVY = ("torch", "mlx", "onnx", "onnxscript", "onnxruntime", "textual", "rich", "transformers", "numpy")
MODULE_LINES, FUNCTION_LINES = 300, 50


def shown(file: Path) -> str:
    return str(file.relative_to(ROOT))


def loaded_by(code: str) -> set[str]:
    """Names in `sys.modules` after a fresh interpreter ran `code`."""
    reported = f"{code}\nimport sys; print(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", reported], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import edge",
        "from edge.cli import exit_code; exit_code(['--help'])",
        "from edge.cli import exit_code; exit_code(['run', '--help'])",
        "from edge.cli import exit_code; exit_code(['--version'])",
    ],
)
def test_what_is_heavy_waits_until_it_is_needed(code: str) -> None:
    heavy = loaded_by(code).intersection(HEAVY)
    assert not heavy, f"'{code}' loads {', '.join(sorted(heavy))}"


@pytest.mark.parametrize("name", ["edge.session", "edge.store", "edge.doctor", "edge.engines.registry"])
def test_no_runtime_is_loaded_before_an_engine_is_opened(name: str) -> None:
    runtimes = loaded_by(f"import {name}").intersection({"torch", "mlx", "onnx", "onnxruntime", "textual"})
    assert not runtimes, f"'import {name}' loads {', '.join(sorted(runtimes))}"


def test_the_onnx_engine_needs_neither_torch_nor_onnx() -> None:
    code = "import edge.engines.onnx_engine"
    exporters = loaded_by(code).intersection({"torch", "onnx", "onnx_ir", "onnxscript"})
    assert not exporters, f"'{code}' loads {', '.join(sorted(exporters))}; a bundled model runs without"


def test_onnxruntime_is_imported_in_one_place() -> None:
    importing = re.compile(r"^\s*(import onnxruntime\b|from onnxruntime\b)", re.MULTILINE)
    found = [shown(file) for file in MODULES if importing.search(file.read_text(encoding="utf8"))]
    assert found == ["export/onnx_runtime.py"], f"{found} import onnxruntime; what switches its telemetry off is one"


def test_import_contracts_are_kept() -> None:
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run([sys.executable, "-c", code, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", MODULES, ids=shown)
def test_modules_are_small_and_say_what_they_are(file: Path) -> None:
    text = file.read_text(encoding="utf8")
    tree = ast.parse(text)
    lines = text.count("\n")
    assert lines <= MODULE_LINES, f"{shown(file)} has {lines} lines, more than {MODULE_LINES}: split it"
    assert ast.get_docstring(tree), f"{shown(file)} does not open with a sentence that says what it is"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LINES, f"{shown(file)}:{node.lineno} {node.name} has {length} lines: split it"


@pytest.mark.parametrize("file", MODULES, ids=shown)
def test_names_say_what_a_thing_is(file: Path) -> None:
    vague = re.compile(r"utils?|helpers?|manager|misc|common|data|info")
    assert not vague.fullmatch(file.stem), f"{shown(file)} is named after nothing in particular"
    left = re.search(r"#\s*(TODO|FIXME|XXX|HACK)\b.*", file.read_text(encoding="utf8"))
    assert not left, f"{shown(file)} has unfinished work: {left and left.group()}"


def test_everything_that_is_installed_has_an_exact_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf8").splitlines()
    split = [line.partition("==") for line in lines if "==" in line]
    pinned = {name.lower().replace("_", "-"): version for name, _, version in split}
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.split(r"[^\w-]", one)[0].lower() for one in wanted} - {"edge-lens"}
    assert not names - pinned.keys(), f"constraints.txt gives no version for {', '.join(sorted(names - pinned.keys()))}"
    assert pinned["torch"] == "2.13.0", "a local version such as 2.13.0+cpu installs on one index only"


def test_the_wheel_holds_what_running_needs_and_no_tests(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    built = next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"]))
    names = zipfile.ZipFile(built).namelist()
    missing = [shown(file) for file in MODULES if shown(file) not in names]
    assert not missing, f"the wheel lacks {missing}"
    kinds = (".json", ".safetensors", ".onnx")
    zoo = [shown(file) for file in (ROOT / "models" / "zoo").rglob("*") if file.suffix in kinds]
    assert zoo and not set(zoo) - set(names), f"the wheel lacks {sorted(set(zoo) - set(names))} of the zoo"
    assert "tui/app.tcss" in names, "the wheel lacks the UI's style sheet"
    tops = {name.split("/")[0] for name in names} - set(PACKAGES)
    assert all(top.startswith("edge_lens-") for top in tops), f"the wheel ships {sorted(tops)}"
