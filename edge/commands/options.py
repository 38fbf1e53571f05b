"""Options shared by several commands, and how their values are parsed."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edge.error_message import redact_in_reports
from edge.picture.escape import escape_line
from models.errors import MisuseError

if TYPE_CHECKING:
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
        help="Engine: onnx, torch or mlx; with a precision: onnx:int4, mlx:bf16; with a provider: onnx+cuda.",
    ),
    click.option("--threads", type=int, help="Number of CPU threads.  [default: physical cores]"),
)

_SAMPLING = _all(
    click.option("--greedy", is_flag=True, help="Greedy decoding (default unless a sampling option is given)."),
    click.option("--temperature", type=float, help="Sampling temperature; logits are divided by it."),
    click.option("--top-k", type=int, help="Sample from the k most probable tokens."),
    click.option(
        "--top-p",
        type=float,
        help="Nucleus sampling: sample from the most probable tokens that sum to this probability.",
    ),
    click.option(
        "--min-p",
        type=float,
        help="Sample from tokens at least this many times as probable as the most probable one.",
    ),
    click.option(
        "--repetition-penalty",
        type=float,
        default=1.0,
        show_default=True,
        help="Above 1: tokens of the text so far get less probable, with greedy decoding too.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Random seed for sampling.",
    ),
)


def _sampling_options(command: Command) -> Command:
    """Adds the options of sampling, which the command gets as one `Sampling`."""

    @wraps(command)
    def with_sampling(
        *arguments: Any,
        greedy: bool,
        temperature: float | None,
        top_k: int | None,
        top_p: float | None,
        min_p: float | None,
        repetition_penalty: float,
        **others: Any,
    ) -> Any:
        from edge.sampling import Sampling

        given = (temperature, top_k, top_p, min_p) != (None, None, None, None)
        if greedy and given:
            raise MisuseError(
                "--greedy cannot be combined with --temperature, --top-k, --top-p or --min-p; remove one of them"
            )
        if temperature is None:
            temperature = 1.0 if given else 0.0
        sampling = Sampling(
            temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition_penalty=repetition_penalty
        )
        return command(*arguments, sampling=sampling, **others)

    return _SAMPLING(with_sampling)  # type: ignore[return-value]


run_options = _all(
    click.option("--ids", help="Token ids instead of a text, such as 1,5,2."),
    click.option(
        "-n", "--max-new-tokens", type=int, default=64, show_default=True, help="Maximum number of tokens to generate."
    ),
    _sampling_options,
    click.option("--stop", "stop_texts", multiple=True, help="Stop after this text; may be repeated."),
)
"""What a run feeds and generates. The command gets the sampling as `sampling`."""


def parsed_ids(text: str | None) -> list[int] | None:
    """`"1,5,2"` is `[1, 5, 2]`."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise MisuseError(
            f"--ids is '{text}', which is not a list of token ids; give comma-separated integers such as 1,5,2"
        ) from error


def check_prompt(prompt: str | None, ids: list[int] | None, example: str) -> None:
    """Requires a prompt, as text or as token ids; `example` is a command that has one.

    Raises:
        MisuseError: there is neither.
    """
    if prompt is None and ids is None:
        raise MisuseError(f"no prompt; try: {example}")


def is_number(text: str) -> bool:
    """Whether text is a non-negative integer of at most 18 digits, with optional spaces around it."""
    return text.strip().isdecimal() and len(text.strip()) <= 18


def text_argument(text: str | None, name: str) -> str | None:
    """The text of an argument; `-` reads it from stdin, without the last line break.

    Raises:
        MisuseError: it is not valid UTF-8, or stdin is empty or closed.
    """
    if text is None:
        return None
    if text == "-":
        text = _read_stdin(name)
    redact_in_reports(text)
    try:
        text.encode("utf8")
    except UnicodeEncodeError as error:
        raise MisuseError(f"{name} is not valid UTF-8 at character {error.start}; convert it to UTF-8") from None
    return text


def _read_stdin(name: str) -> str:
    if sys.stdin is None or sys.stdin.closed:
        raise MisuseError(f"{name} is '-', but stdin is closed; give {name} as an argument")
    if sys.stdin.isatty():
        print_message(f"type {name}, then press ctrl-d on an empty line")
    try:
        text = sys.stdin.buffer.read().decode("utf8")
    except UnicodeDecodeError as error:
        raise MisuseError(f"stdin is not valid UTF-8 at byte {error.start}; convert it to UTF-8") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise MisuseError(f"{name} is '-', but stdin is empty; pipe a text into the command")
    return text


def open_model(model: str, engine: str, threads: int | None, looks_inside: str | None = None) -> "Model":
    """Loads a model; reports progress, and config keys that have no effect, on stderr.

    Args:
        looks_inside: The command, if it needs an engine with sites.
    """
    from edge.engines.choice import check_sites
    from edge.session import load

    if looks_inside is not None:
        check_sites(engine, looks_inside)
    with _interrupt_leaves():
        opened = load(model, engine, threads=threads, progress=print_message)
    for note in opened.checkpoint.source.notes():
        print_message(f"edge: {note}")
    return opened


@contextmanager
def _interrupt_leaves() -> Iterator[None]:
    """Ends the process on an interrupt while an engine is built, since its thread cannot be stopped.

    Removes the files that were being written.
    """
    from models.atomic_folder import remove_leftovers
    from models.cache_folder import cache_folder

    def leave(*_: object) -> None:
        print_message("edge: interrupted")
        for kind in cache_folder().glob("*/"):
            remove_leftovers(kind)
        os._exit(130)

    before = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def print_message(message: str) -> None:
    """Prints one line to stderr; results go to stdout."""
    print(escape_line(message), file=sys.stderr, flush=True)


def table_options(command: Command) -> Command:
    """Adds `--json`, `--csv` and `--md`; the command receives `layout`."""
    for layout, name in (("md", "Markdown"), ("csv", "CSV"), ("json", "JSON")):
        command = click.option(f"--{layout}", "layout", flag_value=layout, help=f"Print {name}.")(command)
    return command
