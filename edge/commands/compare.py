"""`edge compare`: how variants of a model differ in predictions and activations, and what each costs."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.commands.compare_tables import choices_table, layer_tables, places_table, summary_table, variant_table
from edge.commands.options import parsed_ids, print_message, table_options
from edge.commands.tensor_table import tensors_text
from edge.picture.units import show_tolerance
from edge.tables import Table
from models.errors import MisuseError
from models.json_text import json_text

if TYPE_CHECKING:
    from edge.compare.result import Comparison
    from edge.compare.tokenized_text import TokenizedText
    from edge.compare.variants import ChosenVariant

_NEAR_TIES = "other top-1 token, reference's margin over its second below 0.1 nats"
_LEGEND = {
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
      edge compare fable-relu -e onnx -e onnx:int4 --tensors
      edge compare path/to/model.gguf -e onnx -e llama.cpp
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
    help="Engine: onnx, torch, mlx, onnx:int4 ..., or llama.cpp on a GGUF file; may be repeated.  [default: onnx]",
)
@click.option("--threads", type=int, help="Number of CPU threads.  [default: physical cores]")
@click.option("--text", type=click.Path(path_type=Path), help="Text file to compare on.  [default: a built-in text]")
@click.option("--ids", help="Token ids instead of a text, such as 1,5,2.")
@click.option("--tokens", type=int, default=512, show_default=True, help="Maximum number of tokens of the text.")
@click.option("--rounds", type=int, default=5, show_default=True, help="Timing rounds of each variant, interleaved.")
@click.option(
    "--tolerance", type=float, help="Largest relative error of a site that counts as equal.  [default: by precision]"
)
@click.option("--tensors", is_flag=True, help="What quantizing each matrix costs, for two variants.")
@click.option("--by-kind", is_flag=True, help="With --tensors: all matrices of a kind together, such as ffn.down.")
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
    tensors: bool,
    by_kind: bool,
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

    On a GGUF file, llama.cpp can be one of the engines (pip install 'edge-lens[llama]'). It has no sites, and is
    compared by speed, memory and predictions.

    CSV has one row per variant; JSON has all results.

    With --tensors, two variants of one model are compared matrix by matrix: the first with one matrix of the second at
    a time, then with one after another added, cheapest first. The price is KL divergence per megabyte saved on disk.
    An interrupted run continues where it was.
    """
    from edge.compare.variants import chosen_variants

    _check(tokens, rounds, tolerance, threads)
    _check_tensors(engines, tensors, by_kind)
    chosen = chosen_variants(models, engines, threads)
    passage = _passage(chosen[0], text, parsed_ids(ids), tokens)
    if tensors:
        click.echo(tensors_text(chosen, passage, by_kind, layout))
    else:
        click.echo(_comparison_text(chosen, passage, rounds, tolerance, layout))


def _comparison_text(
    chosen: "list[ChosenVariant]", passage: "TokenizedText", rounds: int, tolerance: float | None, layout: str | None
) -> str:
    """Compares the variants; the printed result."""
    from edge.compare.measure import compare as compare_members
    from edge.compare.result import to_json
    from edge.compare.variants import opened

    with opened(chosen, print_message) as members:
        found = compare_members(members, passage, rounds=rounds, tolerance=tolerance, progress=print_message)
    match layout:
        case "json":
            return json_text(to_json(found))
        case "csv":
            return variant_table(found).csv()
    return "\n\n".join(sections(found, layout or "text", shutil.get_terminal_size().columns))


def _check_tensors(engines: tuple[str, ...], tensors: bool, by_kind: bool) -> None:
    from edge.engines.choice import check_sites

    if by_kind and not tensors:
        raise MisuseError("--by-kind groups the matrices of --tensors; add --tensors")
    for engine in engines if tensors else ():
        check_sites(engine, "--tensors")


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
    prompt = found.text.prompt_tokens
    shown = [
        _opening(found),
        summary_table(found).write(layout),
        *_places(found, layout),
        _titled(
            f"First different token in greedy decoding, after {prompt} tokens of the text",
            [choices_table(found)],
            layout,
        ),
    ]
    compared = [one for one in found.variants if one.sites]
    for one in compared:
        title = f"{one.name}, layer by layer: relative error of sites; * exceeds {show_tolerance(one.tolerance)}"
        shown.append(_titled(title, layer_tables(found, one, columns), layout))
    mark = "- " if layout == "md" else ""
    legend = {"near ties": _NEAR_TIES} | (_LEGEND if compared else {})
    legend |= _ROUTING_LEGEND if any(one.routing for one in found.variants) else {}
    return [*shown, "\n".join(f"{mark}{word}: {meaning}" for word, meaning in legend.items())]


def _places(found: "Comparison", layout: str) -> list[str]:
    """The section of first sites over tolerance; none if no sites were compared."""
    if not any(one.sites for one in found.variants):
        return []
    title = f"First site over tolerance, compared with {found.reference.name}"
    return [_titled(title, [places_table(found)], layout) + _tied(found)]


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
    sites = f"; sites on the first {text.site_tokens}" if any(one.sites for one in found.variants) else ""
    without = [one.name for one in (found.reference, *found.variants) if not one.has_sites]
    blank = f"\nWithout sites, so compared by predictions, speed and memory: {', '.join(without)}." if without else ""
    return (
        f"Compared with {found.reference.name} on {text.tokens} tokens of text ({text.source}){sites}.\n"
        f"Times are medians over {rounds} interleaved rounds.{blank}{warning}"
    )
