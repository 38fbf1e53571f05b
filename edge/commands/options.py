"""Options that several commands share, and what they mean."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edge.error_message import redact_in_reports
from edge.picture.escape import escape_line
from models.errors import MisuseError

if TYPE_CHECKING:
    from edge.sampling import Sampling
    from edge.session import Model

Command = TypeVar("Command", bound=Callable[..., Any])


def _all(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


engine_options = _all(
    click.option(
        "-e",
        "--engine",
        default="onnx",
        show_default=True,
        help="Runtime: onnx, torch or mlx; its precision: onnx:int4, mlx:bf16; onnx's provider: onnx+cuda.",
    ),
    click.option("--threads", type=int, help="Threads to compute with.  [default: the physical cores]"),
)

run_options = _all(
    click.option("--ids", help="Token ids instead of text, such as 1,5,2."),
    click.option("-n", "--max-new-tokens", type=int, default=64, show_default=True, help="Tokens to generate at most."),
    click.option("--greedy", is_flag=True, help="Always the likeliest token; so it is without the next three, too."),
    click.option("--temperature", type=float, help="Draw tokens; the logits are divided by this."),
    click.option("--top-k", type=int, help="Draw among the k likeliest tokens."),
    click.option("--top-p", type=float, help="Draw among the likeliest tokens that together have this probability."),
    click.option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Of the draws; equal seeds give equal text.",
    ),
)


def chosen_sampling(greedy: bool, temperature: float | None, top_k: int | None, top_p: float | None) -> "Sampling":
    """The sampling that options ask for; greedy where they say nothing."""
    from edge.sampling import Sampling

    if (temperature, top_k, top_p) == (None, None, None):
        return Sampling.greedy()
    if greedy:
        raise MisuseError("--greedy takes the likeliest token, --temperature, --top-k and --top-p draw one; choose")
    return Sampling(temperature=1.0 if temperature is None else temperature, top_k=top_k, top_p=top_p)


def parsed_ids(text: str | None) -> list[int] | None:
    """`"1,5,2"` is `[1, 5, 2]`."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise MisuseError(f"--ids takes whole numbers with commas between, such as 1,5,2, not '{text}'") from error


def is_number(text: str) -> bool:
    """Whether text is a whole number of 18 digits at most, with nothing before it but spaces."""
    return text.strip().isdecimal() and len(text.strip()) <= 18


def text_argument(text: str | None, name: str) -> str | None:
    """Words as they were given; `-` is what stdin holds, without the end of its last line.

    Raises:
        MisuseError: they are no text in UTF-8, or stdin holds none.
    """
    if text is None:
        return None
    if text == "-":
        text = _read_stdin(name)
    redact_in_reports(text)
    try:
        text.encode("utf8")
    except UnicodeEncodeError as error:
        raise MisuseError(f"{name} is no text in UTF-8, from character {error.start} on; convert it to UTF-8") from None
    return text


def _read_stdin(name: str) -> str:
    if sys.stdin is None or sys.stdin.closed:
        raise MisuseError(f"{name} is to be read from stdin, which is closed; give it as an argument")
    if sys.stdin.isatty():
        print_message(f"type {name}; ctrl-d on a line of its own ends it")
    try:
        text = sys.stdin.buffer.read().decode("utf8")
    except UnicodeDecodeError as error:
        raise MisuseError(f"stdin is no text in UTF-8, from byte {error.start} on; convert it to UTF-8") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise MisuseError(f"{name} is to be read from stdin, which holds nothing; pipe some text in")
    return text


def open_model(model: str, engine: str, threads: int | None) -> "Model":
    """Loads a model; long work, and keys of its config that mean nothing, are told on stderr."""
    from edge.session import load
    from models.checkpoint import unread_keys
    from models.families.config import shown
    from models.rebuilt import built_otherwise

    with _interrupt_leaves():
        opened = load(model, engine, threads=threads, progress=print_message)
    if unread := unread_keys(opened.checkpoint.folder):
        names = ", ".join(shown(key) for key in unread[:8])
        print_message(f"edge: config.json has keys that this family does not know, so they change nothing: {names}")
    built, parts = built_otherwise(opened.checkpoint.folder)
    if parts:
        print_message(
            f"edge: tokenizer.json is used as it stands, as in transformers 4; {built} of transformers 5 replaces its "
            f"{' and '.join(parts)}, so some texts have other tokens there"
        )
    return opened


@contextmanager
def _interrupt_leaves() -> Iterator[None]:
    """While an engine is built, an interrupt ends the process: nothing can stop the thread that builds it.

    What it was writing has not taken its place yet, and is removed.
    """
    from export.atomic_folder import remove_leftovers
    from export.bundle import cache_folder

    def leave(*_: object) -> None:
        print_message("edge: interrupted")
        for kind in ("graphs", "weights"):
            remove_leftovers(cache_folder(kind))
        os._exit(130)

    before = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def print_message(message: str) -> None:
    """One line for whoever watches, beside the results."""
    print(escape_line(message), file=sys.stderr, flush=True)


def table_options(command: Command) -> Command:
    """Adds `--json`, `--csv` and `--md`; the command receives `layout`."""
    for layout, name in (("md", "Markdown"), ("csv", "CSV"), ("json", "JSON")):
        command = click.option(f"--{layout}", "layout", flag_value=layout, help=f"Print {name}.")(command)
    return command
