"""Selects the attention kernel of ONNX Runtime: flash attention (tiled), or plain matrix products.

On x86-64, plain products use a kernel for a single row, which is faster for one token at every depth. Prompts take as
long with either (docs/decisions/0017-attention-of-one-row.md).
"""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

SWITCH = "ORT_GQA_DISABLE_FLASH_ATTENTION"
"""Environment variable that each session reads when it is created."""

_opening = Lock()


@contextmanager
def without_flash_attention() -> Iterator[None]:
    """Disables flash attention for sessions created inside the block, on x86-64. Keeps a value set by the user."""
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
