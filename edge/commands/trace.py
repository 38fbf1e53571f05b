"""`edge trace`: a run, with what was seen inside saved to a file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.commands.options import (
    chosen_sampling,
    engine_options,
    is_number,
    open_model,
    parsed_ids,
    print_message,
    run_options,
    table_options,
    text_argument,
)
from edge.picture.units import show_bytes
from edge.tables import Column, Table
from models.errors import MisuseError

if TYPE_CHECKING:
    from edge.session import Model
    from edge.trace import Trace
    from edge.watch import Watch

_COLUMNS = (
    Column("layer", "layer"),
    Column("entropy_bits", "entropy, bits", ".2f"),
    Column("first_token_share", "on first token", ".1%"),
)


@click.command(
    epilog="""\b
    Examples:
      edge trace fable-relu "Once upon a time" -o once.trace
      edge trace fable-relu "Once upon a time" -o once.trace --part ffn.neurons --layers 0,2-4 --half
      edge trace fable-relu "Once upon a time" -o without.trace --ablate head:3.5 --ablate ffn:2
      edge look once.trace
    """
)
@click.argument("model")
@click.argument("prompt", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The file to write.")
@click.option("--part", "parts", multiple=True, help="Watch this part of each layer only; may be repeated.")
@click.option("--layers", help="Watch these layers only, such as 0,2-4.")
@click.option(
    "--ablate",
    "ablations",
    multiple=True,
    help="Set to 0 at every token: head:3.5, neuron:4.1023, attention:2 or ffn:2, the layer first; may be repeated.",
)
@click.option("--logits", is_flag=True, help="Watch the logits of every token, too.")
@click.option("--half", is_flag=True, help="Keep values as float16: half the bytes, three digits.")
@run_options
@engine_options
@table_options
def trace(
    model: str,
    prompt: str | None,
    output: Path,
    parts: tuple[str, ...],
    layers: str | None,
    ablations: tuple[str, ...],
    logits: bool,
    half: bool,
    ids: str | None,
    max_new_tokens: int,
    greedy: bool,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    seed: int,
    engine: str,
    threads: int | None,
    layout: str | None,
) -> None:
    """Save what happens inside MODEL on PROMPT, and sum it up.

    PROMPT - is read from stdin; one that begins with a dash comes after --.

    The columns are means over tokens, and over heads for attention: the entropy of a row of the attention pattern and
    its share of the first token, both over the rows after the first; and the FFN's activation sparsity, as neurons that
    are exactly zero, and by top-p 0.9. What --ablate sets to 0 is left out of them.
    """
    from edge.edits import ablation_of
    from edge.output import check_output

    check_output(output)
    sampling, prompt_ids = chosen_sampling(greedy, temperature, top_k, top_p), parsed_ids(ids)
    prompt = text_argument(prompt, "PROMPT")
    watch = _chosen_watch(parts, layers, logits, half)
    edits = tuple(ablation_of(text) for text in ablations)
    with open_model(model, engine, threads) as loaded:
        _print_cost(loaded, watch, prompt, prompt_ids, max_new_tokens)
        seen = loaded.run(
            prompt,
            ids=prompt_ids,
            max_new_tokens=max_new_tokens,
            watch=watch,
            sampling=sampling,
            seed=seed,
            edits=edits,
        )
    seen.save(output)
    _print_written(seen, output)
    click.echo(layer_table(seen).write(layout or "text"))


def _chosen_watch(parts: tuple[str, ...], layers: str | None, logits: bool, half: bool) -> "Watch":
    from edge.watch import Watch
    from models.sites import PARTS

    return Watch(parts=parts or tuple(PARTS), layers=parsed_layers(layers), logits=logits, half=half)


def _print_written(seen: "Trace", output: Path) -> None:
    from edge.output import file_bytes

    if seen.edits:
        print_message(f"edits: {', '.join(seen.edits)}")
    size = file_bytes(output)
    told = "" if size is None else f"{show_bytes(size)}, "
    print_message(f"{output}: {told}{seen.n_fed} tokens fed; 'edge look {output}' shows it")


MOST_LAYERS = 10_000
"""More than any decoder has; a longer range would not fit into memory."""


def parsed_layers(text: str | None) -> tuple[int, ...] | None:
    """`"0,2-4"` is `(0, 2, 3, 4)`; nothing said is all of them."""
    if text is None:
        return None
    chosen: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not (is_number(first) and is_number(last or first)):
            raise MisuseError(f"--layers takes numbers and ranges with commas between, such as 0,2-4, not '{text}'")
        if int(last or first) > MOST_LAYERS:
            raise MisuseError(f"--layers names layer {int(last or first):,}; no decoder has that many")
        chosen += range(int(first), int(last or first) + 1)
    return tuple(dict.fromkeys(chosen))


def layer_table(seen: "Trace") -> Table:
    """What each layer did, in a few numbers; a dash where it was not watched."""
    from edge.measure.overview import survey
    from edge.measure.registry import MEASURES

    *_, known = survey(seen)
    columns = (*_COLUMNS, *(Column(measure.key, measure.title, measure.unit.show) for measure in MEASURES))
    rows = [
        (
            str(layer),
            *(known.head_mean(score, layer) for score in ("entropy_bits", "first_token")),
            *(known.sparsity_mean(measure.key, layer) for measure in MEASURES),
        )
        for layer in range(seen.spec.n_layers)
    ]
    return Table(columns, rows)


def _print_cost(
    loaded: "Model", watch: "Watch", prompt: str | None, prompt_ids: list[int] | None, max_new_tokens: int
) -> None:
    """What the capture will hold at most, said before it runs."""
    given = prompt_ids or (loaded.tokenizer.encode(prompt) if loaded.tokenizer and prompt else [])
    tokens = min(len(given) + max(0, max_new_tokens - 1), loaded.spec.context)
    cost = watch.cost_bytes(loaded.spec, tokens)
    print_message(f"watching {len(watch.sites(loaded.spec))} sites over up to {tokens} tokens: {show_bytes(cost)}")
