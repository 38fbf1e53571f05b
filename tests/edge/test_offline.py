"""Nothing calls home: a process that runs a model opens no socket, not even to look up a name, and leaves no file."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.offline import can_forbid_sockets

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not can_forbid_sockets(), reason="needs Linux's filter of system calls")

SECONDS = 20
"""ONNX Runtime 1.32 waits ten after its session opens."""

RUNS = f"""
import sys, threading, edge
with edge.load("fable-relu", engine=sys.argv[1]) as model:
    assert model.run("Once upon a time", max_new_tokens=3).generated
    threading.Event().wait({SECONDS})
"""


def offline(code: str, *arguments: str, home: Path) -> "subprocess.Popen[str]":
    """A process without sockets, whose home and temporary folder are `home`."""
    for name in ("tmp", "cache"):
        (home / name).mkdir(parents=True)
    mine = {"HOME": str(home), "TMPDIR": str(home / "tmp"), "XDG_CACHE_HOME": str(home / "cache")}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "HF_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.offline", code, *arguments],
        env=inherited | mine, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def left_in(home: Path) -> list[str]:
    return [str(file.relative_to(home)) for file in sorted(home.rglob("*")) if file.is_file()]


def test_the_filter_ends_a_process_that_looks_up_a_name(tmp_path: Path) -> None:
    asking = offline("import socket; socket.getaddrinfo('example.invalid', 443)", home=tmp_path)
    asking.communicate(timeout=60)
    assert asking.returncode == -signal.SIGSYS, "a look-up passed the filter, so that the test below proves nothing"


def test_no_engine_opens_a_socket_or_leaves_a_file(tmp_path: Path) -> None:
    running = {name: offline(RUNS, name, home=tmp_path / name) for name in ("onnx", "torch", "mlx")}
    for name, process in running.items():
        _, err = process.communicate(timeout=120)
        assert process.returncode != -signal.SIGSYS, f"{name} asked for a socket within {SECONDS} s"
        assert process.returncode == 0, err
        assert not left_in(tmp_path / name), f"{name} left {left_in(tmp_path / name)}"


@pytest.mark.parametrize(
    "words",
    [("run", "some/typo", "x"), ("trace", "some/typo", "x", "-o", "t"), ("models", "show", "a/typo"), ("doctor",)],
    ids=" ".join,
)
def test_only_a_pull_asks_the_hub(words: tuple[str, ...], tmp_path: Path) -> None:
    code = "import sys; from edge.cli import exit_code; sys.exit(exit_code(sys.argv[1:]))"
    asking = offline(code, *words, home=tmp_path)
    _, err = asking.communicate(timeout=120)
    assert asking.returncode != -signal.SIGSYS, f"'edge {' '.join(words)}' asked for a socket"
    assert asking.returncode == (0 if words == ("doctor",) else 2), err
