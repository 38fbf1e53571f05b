"""`edge export` in its own process, which is killed at a chosen change to the disk."""

import multiprocessing
import os
import signal
import sys
from itertools import count
from pathlib import Path

_CHANGES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}
"""Audit events of Python that change files."""

_WRITING = os.O_WRONLY | os.O_RDWR


def killed_at(change: int, below: Path, cache: Path, graphs: Path, command: list[str]) -> int:
    """Runs `edge` with the words of `command` and kills it before the `change`th change to a path below `below`.

    Args:
        graphs: Holds every graph that is needed, since tracing takes long and changes no file.

    Returns:
        The exit code: that of the command where it made fewer changes, `-SIGKILL` else.
    """
    # Forked from a process that has imported all that an export needs; macOS forbids that.
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    if sys.platform == "linux":
        context.set_forkserver_preload(["edge.commands.export", "export.check", "export.graphs", "export.standalone"])
    process = context.Process(target=_export, args=(change, below, cache, graphs, command))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _export(change: int, below: Path, cache: Path, graphs: Path, command: list[str]) -> None:
    import onnx_ir as ir

    import export.graphs
    from edge.cli import exit_code

    export.graphs.builds = lambda _, names, layout: (
        ir.load(graphs / f"{name}-{layout.precision}.onnx") for name in names
    )
    os.environ["EDGE_CACHE"] = str(cache)
    changes = count(1)

    def see(event: str, arguments: tuple[object, ...]) -> None:
        if event not in _CHANGES or not str(arguments[0]).startswith(str(below)):
            return
        if event == "open" and not int(str(arguments[2])) & _WRITING:
            return
        if next(changes) == change:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(see)
    sys.exit(exit_code(command))
