"""`edge profile`: measures latency and memory of a model, in total and per part, for each engine and precision."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.commands.options import print_message, table_options
from models.errors import EdgeError, MisuseError
from models.json_text import json_text

if TYPE_CHECKING:
    from edge.profile.measure import Plan
    from edge.profile.record import Profile


@click.command(
    epilog="""\b
    Examples:
      edge profile fable-relu
      edge profile fable-relu -e torch -e onnx -e onnx:int4 -e mlx --json > profile.json
      edge profile path/to/checkpoint --depth 0 --depth 2048 --layers
      edge profile fable-relu --against profile.json
      edge profile path/to/model.gguf -e onnx -e llama.cpp
    """
)
@click.argument("model")
@click.option(
    "-e",
    "--engine",
    "engines",
    multiple=True,
    default=("onnx",),
    show_default=True,
    help="Engine: onnx, torch, mlx, onnx:int4 ..., or llama.cpp on a GGUF file; may be repeated.",
)
@click.option("--threads", type=int, help="Number of CPU threads.  [default: physical cores]")
@click.option(
    "--depth",
    "depths",
    type=int,
    multiple=True,
    help="Tokens in the cache; may be repeated.  [default: 0, 512 and 2048]",
)
@click.option("--prompt-tokens", type=int, default=256, show_default=True, help="Tokens of the prompt in each round.")
@click.option("-n", "--tokens", type=int, default=32, show_default=True, help="Decode steps in each round.")
@click.option(
    "--rounds", type=int, default=5, show_default=True, help="Rounds of each engine at each depth, interleaved."
)
@click.option("--repeats", type=int, default=20, show_default=True, help="Instrumented passes of each kind.")
@click.option("--layers", "by_layer", is_flag=True, help="Print every part of every layer instead of sums over layers.")
@click.option("--sparsity", is_flag=True, help="Also measure what skipping inactive FFN neurons would save.")
@click.option("--against", type=click.Path(path_type=Path), help="Print changes since the profile in this file.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File for the profile with all samples.  [default: a file in the cache]",
)
@click.option("--trace", "perfetto", type=click.Path(path_type=Path), help="Also write a timeline for ui.perfetto.dev.")
@table_options
def profile(
    model: str,
    engines: tuple[str, ...],
    threads: int | None,
    depths: tuple[int, ...],
    prompt_tokens: int,
    tokens: int,
    rounds: int,
    repeats: int,
    by_layer: bool,
    sparsity: bool,
    against: Path | None,
    output: Path | None,
    perfetto: Path | None,
    layout: str | None,
) -> None:
    """Measure latency and memory of MODEL: end to end, per layer, per part.

    Use it to choose an engine and a precision, or to find the slow part of a model. Each engine runs in its own
    process, and rounds are interleaved. Prefill and decode are measured separately, at fixed numbers of cached tokens.

    Tables show medians and percentiles in ms. Decode tok/s is the mean rate, (n - 1) / (t_last - t_first). Coverage is
    the sum of all measured parts divided by the uninstrumented pass. Bandwidth and FLOP/s of each part are compared
    with a benchmark of this machine.

    On a GGUF file, llama.cpp can be one of the engines (pip install 'edge-lens[llama]'). It is timed end to end only.
    """
    from edge.commands.profile_tables import profile_csv, profile_markdown, profile_summary, profile_text
    from edge.output import check_output
    from edge.profile.record import open_profile, profile_record

    for file in (output, perfetto):
        if file is not None:
            check_output(file)
    plan = _plan(depths, prompt_tokens, tokens, rounds, repeats)
    then = open_profile(against) if against else None
    found = _measure(model, tuple(dict.fromkeys(engines)), threads, plan, sparsity)
    record = profile_record(found)
    print_message(f"saved to {_save(found, record, output)}")
    if perfetto:
        _write_timeline(found, perfetto)
    if layout == "json":
        click.echo(json_text(record | {"summary": profile_summary(found)}))
    elif layout == "csv":
        click.echo(profile_csv(found))
    else:
        click.echo(profile_markdown(found, then) if layout == "md" else profile_text(found, then, by_layer))


def _plan(depths: tuple[int, ...], prompt: int, tokens: int, rounds: int, repeats: int) -> "Plan":
    from edge.profile.measure import Plan

    wrong = {"--prompt-tokens": prompt, "--tokens": tokens, "--rounds": rounds, "--repeats": repeats}
    for option, number in wrong.items():
        if number < 1:
            raise MisuseError(f"{option} is {number}; the minimum is 1")
    if any(depth < 0 for depth in depths):
        raise MisuseError(f"--depth is {min(depths)}; the minimum is 0")
    plan = Plan(prompt=prompt, tokens=tokens, rounds=rounds, repeats=repeats)
    return Plan(depths=depths, prompt=prompt, tokens=tokens, rounds=rounds, repeats=repeats) if depths else plan


def _measure(model: str, engines: tuple[str, ...], threads: int | None, plan: "Plan", sparsity: bool) -> "Profile":
    from edge.engines.choice import check_sites, check_threads, engine_of
    from edge.profile.measure import measure
    from edge.variant import variant_of

    check_threads(threads, "--threads")
    for engine in engines:
        engine_of(engine)  # before anything is measured
    if sparsity:
        check_sites(engines[0], "--sparsity")
    return measure([variant_of(model, engine, threads) for engine in engines], plan, print_message, sparsity=sparsity)


def _save(found: "Profile", record: dict[str, object], output: Path | None) -> Path:
    """Writes all samples to the given file, or to a file in the cache."""
    from edge.output import write_text
    from models.cache_folder import cache_folder

    if output is None:
        folder = cache_folder("profiles")
        output = folder / f"{found.model.replace('/', '--')}-{found.when.replace(':', '')[:17]}.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EdgeError(f"{folder} cannot be created: {error.strerror}; give a file with -o") from error
    return write_text(output, json_text(record))


def _write_timeline(found: "Profile", file: Path) -> None:
    from edge.output import write_text
    from edge.report.perfetto import timeline

    print_message(f"{write_text(file, json_text(timeline(found), in_ascii=True))}: open it at ui.perfetto.dev")
