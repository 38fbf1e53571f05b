"""`edge look`: the terminal UI."""

import os
import sys
from pathlib import Path

import click

from edge.commands.options import engine_options
from models.errors import MisuseError


@click.command(
    epilog="""\b
    Examples:
      edge look
      edge look path/to/checkpoint -e torch
      edge look once.trace
    """
)
@click.argument("target", metavar="[MODEL|TRACE]", default="fable-relu")
@engine_options
def look(target: str, engine: str, threads: int | None) -> None:
    """Open the terminal UI on a model or a saved trace.

    Use it to run prompts and to see attention weights, activation sparsity and latency. MODEL is a checkpoint folder,
    a GGUF file, or a name that 'edge models' lists (default: fable-relu). TRACE is a file written by 'edge trace',
    which opens without running a model. Press ? in the UI for help.
    """
    from edge.engines.choice import check_sites
    from models.find_model import find_model

    check_sites(engine, "edge look")
    if not Path(target).expanduser().is_file():
        find_model(target)
    is_served = "TEXTUAL_DRIVER" in os.environ  # as by `textual serve`, to a browser over pipes
    if not is_served and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise MisuseError("the terminal UI needs a terminal; 'edge run' and 'edge trace' work without one")
    from tui.start import look as open_screen

    open_screen(target, engine, threads)
