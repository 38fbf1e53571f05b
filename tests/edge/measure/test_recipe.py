"""A sparsity measure that is added as CONTRIBUTING says, in two files, shows in every place."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[3]
FILES = ("edge/measure/sparsity.py", "edge/measure/registry.py")

SHOW = """
import asyncio

from edge.cli import exit_code
from edge.trace import open_trace
from tui.app_factory import app_on_trace
from tui.help import sections
from tui.widgets.ffn.sparsity_definitions import SparsityDefinitions

assert exit_code(["trace", "fable-relu", "Once upon", "-n", "2", "-o", "once.trace", "--csv"]) == 0
assert exit_code(["report", "once.trace", "-o", "once.html"]) == 0
print(sections()["ffn"].text)


async def show() -> None:
    app = app_on_trace(open_trace("once.trace"))
    async with app.run_test(size=(160, 56)) as pilot:
        await pilot.press("3")
        while not (rows := app.main.query_one(SparsityDefinitions).rows) or rows[-2].missing:
            await pilot.pause()
        print(rows[-2].title, rows[-2].show(rows[-2].value))


asyncio.run(show())
"""


def steps() -> list[str]:
    """The code that CONTRIBUTING appends to each of `FILES`."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")
    recipe = text.split("## Add a sparsity measure")[1].split("\n## ")[0]
    return [
        textwrap.dedent(code) for code in re.findall(r"^   ```python\n(.*?)^   ```", recipe, re.MULTILINE | re.DOTALL)
    ]


def test_a_measure_added_as_contributing_says_shows_everywhere(tmp_path: Path) -> None:
    for name in ("models", "export", "tui", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "edge", tmp_path / "edge", ignore=shutil.ignore_patterns("__pycache__"))
    code = steps()
    assert len(code) == len(FILES), "the recipe does not have one piece of code for each file"
    for file, added in zip(FILES, code, strict=True):
        with (tmp_path / file).open("a", encoding="utf8") as opened:
            opened.write("\n\n" + added)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", SHOW]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert "below_tenth_share" in ran.stdout, "edge trace has no column for the measure"
    assert "mean(|a| < max|a| / 10), a share of neurons   (an example)" in ran.stdout, "the help does not list it"
    assert re.search(r"^below 10% \d.*%$", ran.stdout, re.MULTILINE), "the pane does not list it"
    report = (tmp_path / "once.html").read_text(encoding="utf8")
    assert "below 10%: mean(|a| &lt; max|a| / 10)" in report, "the report does not define it"
