"""How shapes and types in signatures are checked while tests run."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from beartype import beartype


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` under beartype, but for when torch traces it: sizes are symbols then, and a check would fix them."""
    strict = beartype(function)

    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        return (function if _is_tracing() else strict)(*arguments, **named)

    return call


def _is_tracing() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and hasattr(torch, "compiler") and torch.compiler.is_exporting()
