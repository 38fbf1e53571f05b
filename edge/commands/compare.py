"""`edge compare`: how variants of a model differ in predictions and activations, and what each costs."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.commands.compare_tables import choices_table, layer_tables, places_table, summary_table, variant_table
from edge.commands.options import parsed_ids, print_message, table_options
from edge.picture.units import show_tolerance
from edge.tables import Table
from models.errors import MisuseError
from models.json_text import json_text

if TYPE_CHECKING:
    from edge.compare.result import Comparison
    from edge.compare.tokenized_text import TokenizedText
    from edge.compare.variants import ChosenVariant

_LEGEND = {
    "near ties": "other top-1 token, reference's margin over its second below 0.1 nats",
    "heads": "Jensen-Shannon divergence of attention, bits: mean of heads, largest",
    "pp": "share minus the reference's share, in percentage points",
}
_ROUTING_LEGEND = {
    "same experts": "tokens for which the router chooses the reference's experts",
    "flips (near ties)": "tokens with other experts; of these, reference's last expert leads the next by under 0.1",
}


@click.command(
    epilog="""\b
    Examples:
      edge compare fable-relu -e torch -e onnx -e onnx:int4 -e mlx
      edge compare fable-relu fable-gelu
      edge compare path/to/checkpoint -e torch -e onnx:int8 --text path/to/text --tokens 4096 --json
    """
)
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "-e",
    "--engine",
    "engines",
    multiple=True,
    default=("onnx",),
    help="Engine: onnx, torch, mlx, onnx:int4 ...; may be repeated.  [default: onnx]",
)
@click.option("--threads", type=int, help="Number of CPU threads.  [default: physical cores]")
@click.option("--text", type=click.Path(path_type=Path), help="Text file to compare on.  [default: a built-in text]")
@click.option("--ids", help="Token ids instead of a text, such as 1,5,2.")
@click.option("--tokens", type=int, default=512, show_default=True, help="Maximum number of tokens of the text.")
@click.option("--rounds", type=int, default=5, show_default=True, help="Timing rounds of each variant, interleaved.")
@click.option(
    "--tolerance", type=float, help="Largest relative error of a site that counts as equal.  [default: by precision]"
)
@table_options
def compare(
    models: tuple[str, ...],
    engines: tuple[str, ...],
    threads: int | None,
    text: Path | None,
    ids: str | None,
    tokens: int,
    rounds: int,
    tolerance: float | None,
    layout: str | None,
) -> None:
    """Compare speed, memory and predictions of engines, precisions or models.

    Use it to choose an engine and a precision, or to find where two variants differ. Every MODEL runs on every engine,
    each in its own process. The first variant is the reference.

    \b
    Speed        medians over interleaved rounds; memory of each process before activations are recorded
    Predictions  next-token distributions at every position of a text (teacher forcing), compared by KL divergence and
                 top-1 agreement; perplexity with its standard error. A near tie is a position where the reference's
                 top-1 token leads by less than 0.1 nats
    Sites        relative error of each site, max |a - b| / max |b|, b being the reference; the first site over its
                 tolerance, in the order of computation. Tolerance of the coarser precision: fp32 5e-5, fp16 1e-2,
                 bf16 4e-2, int8 5e-2, int4 3e-1
    Layers       Jensen-Shannon divergence of attention patterns per head, in bits; activation sparsity of the FFN; in
                 a mixture of experts, the share of tokens with the reference's experts. A flip is a token with others,
                 and a near tie if the reference's k-th score exceeds the next one by less than 0.1

    CSV has one row per variant; JSON has all results.
    """
    from edge.compare.measure import compare as compare_members
    from edge.compare.result import to_json
    from edge.compare.variants import chosen_variants, opened

    _check(tokens, rounds, tolerance, threads)
    chosen = chosen_variants(models, engines, threads)
    passage = _passage(chosen[0], text, parsed_ids(ids), tokens)
    with opened(chosen, print_message) as members:
        found = compare_members(members, passage, rounds=rounds, tolerance=tolerance, progress=print_message)
    match layout:
        case "json":
            click.echo(json_text(to_json(found)))
        case "csv":
            click.echo(variant_table(found).csv())
        case _:
            columns = shutil.get_terminal_size().columns
            click.echo("\n\n".join(sections(found, layout or "text", columns)))


def _check(tokens: int, rounds: int, tolerance: float | None, threads: int | None) -> None:
    from edge.compare.tokenized_text import FEWEST_TOKENS
    from edge.engines.choice import check_threads

    if tokens < FEWEST_TOKENS:
        raise MisuseError(f"--tokens is {tokens}; the minimum is {FEWEST_TOKENS}")
    if rounds < 1:
        raise MisuseError(f"--rounds is {rounds}; the minimum is 1")
    if tolerance is not None and not tolerance > 0:
        raise MisuseError(f"--tolerance is {tolerance}; give a number above 0")
    check_threads(threads, "--threads")


def _passage(reference: "ChosenVariant", text: Path | None, ids: list[int] | None, tokens: int) -> "TokenizedText":
    from edge.compare.tokenized_text import text_of_ids, tokenize_text

    if ids is None:
        return tokenize_text(reference.tokenizer, text, tokens)
    if text is not None:
        raise MisuseError("--text cannot be combined with --ids; remove one of them")
    return text_of_ids(ids, reference.spec.vocab_size, tokens)


def sections(found: "Comparison", layout: str, columns: int) -> list[str]:
    """The printed sections, most important first."""
    reference, prompt = found.reference.name, found.text.prompt_tokens
    shown = [
        _opening(found),
        summary_table(found).write(layout),
        _titled(f"First site over tolerance, compared with {reference}", [places_table(found)], layout) + _tied(found),
        _titled(
            f"First different token in greedy decoding, after {prompt} tokens of the text",
            [choices_table(found)],
            layout,
        ),
    ]
    for one in found.variants:
        title = f"{one.name}, layer by layer: relative error of sites; * exceeds {show_tolerance(one.tolerance)}"
        shown.append(_titled(title, layer_tables(found, one, columns), layout))
    mark = "- " if layout == "md" else ""
    legend = _LEGEND | (_ROUTING_LEGEND if any(one.routing for one in found.variants) else {})
    return [*shown, "\n".join(f"{mark}{word}: {meaning}" for word, meaning in legend.items())]


def _tied(found: "Comparison") -> str:
    """Names the variants whose first site over tolerance follows a near tie of a router."""
    tied = [one.name for one in found.variants if one.router_near_tie]
    return f"\n\nRouter near tie at that token, which has other experts: {', '.join(tied)}" if tied else ""


def _titled(title: str, tables: list[Table], layout: str) -> str:
    shown = "\n\n".join(table.write(layout) for table in tables)
    return f"### {title}\n\n{shown}" if layout == "md" else f"{title}\n{shown}"


def _opening(found: "Comparison") -> str:
    """What was compared on which text, and a warning if timing is unreliable."""
    from edge.profile.summary import UNRELIABLE_SPREAD

    text, rounds = found.text, len(found.reference.speed.rounds)
    unreliable = [one.name for one in (found.reference, *found.variants) if one.speed.spread > UNRELIABLE_SPREAD]
    warning = (
        f"\nUnreliable timing, medians of rounds differ by over {UNRELIABLE_SPREAD:.0%}: {', '.join(unreliable)}"
        if unreliable
        else ""
    )
    return (
        f"Compared with {found.reference.name} on {text.tokens} tokens of text ({text.source}); sites on the first "
        f"{text.site_tokens}.\nTimes are medians over {rounds} interleaved rounds.{warning}"
    )
