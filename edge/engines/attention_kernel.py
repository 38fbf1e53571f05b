"""Which of its two kernels ONNX Runtime computes attention with: tiles of a row, or plain products.

For one token its tiled kernel has loops of its own. Plain products end, on x86-64, in a kernel made for a single row,
which is quicker at every depth; prompts take as long with either (docs/decisions/0017-attention-of-one-row.md).
"""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

SWITCH = "ORT_GQA_DISABLE_FLASH_ATTENTION"
"""Read from the environment by every session while it is made."""

_opening = Lock()


@contextmanager
def without_flash_attention() -> Iterator[None]:
    """Has a session that is made inside use plain products where they are quicker; a switch already set stays."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        yield
        return
    with _opening:
        before = os.environ.get(SWITCH)
        os.environ.setdefault(SWITCH, "1")
        try:
            yield
        finally:
            if before is None:
                del os.environ[SWITCH]
