"""Runs a command line with its own cache of the hub, and with a hub on loopback or none."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def edge(
    hub: Path, *arguments: str, endpoint: str | None = None, token: str | None = None
) -> subprocess.CompletedProcess[str]:
    """One command line, with `hub` as the hub's cache and no network but a hub at `endpoint`."""
    environment = os.environ | {"HF_HUB_CACHE": str(hub), "HF_HOME": str(hub / "home"), "PYTHONPATH": str(ROOT)}
    environment |= {"HF_HUB_OFFLINE": "1"} if endpoint is None else {"HF_ENDPOINT": endpoint}
    environment |= {} if token is None else {"HF_TOKEN": token}
    command = [sys.executable, "-m", "edge", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
