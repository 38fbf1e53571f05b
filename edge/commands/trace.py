"""`edge trace`: saves the activations of a run to a file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.commands.options import (
    check_prompt,
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
    from edge.sampling import Sampling
    from edge.session import Model
    from edge.trace import Trace
    from edge.watch import Watch

_COLUMNS = (
    Column("layer", "layer"),
    Column("entropy_bits", "entropy, bits", ".2f"),
    Column("first_token_share", "first-token share", ".1%"),
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
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Output file.")
@click.option(
    "--part",
    "parts",
    multiple=True,
    help="Record only this part of each layer; may be repeated.  [default: every part]",
)
@click.option("--layers", help="Record only these layers, such as 0,2-4.  [default: every layer]")
@click.option(
    "--ablate",
    "ablations",
    multiple=True,
    help="Set to 0 at every token: head:3.5 (layer 3, head 5), neuron:4.1023, expert:2.7, attention:2 or ffn:2; may be "
    "repeated.",
)
@click.option("--logits", is_flag=True, help="Also record the logits of every token.")
@click.option("--half", is_flag=True, help="Store values as float16: half the size, about three digits.")
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
    sampling: "Sampling",
    seed: int,
    stop_texts: tuple[str, ...],
    engine: str,
    threads: int | None,
    layout: str | None,
) -> None:
    """Run a prompt and save the activations of MODEL to a file.

    Use it to open a run later with 'edge look', or to write a page with 'edge report'. PROMPT can be '-' to read it
    from stdin; put -- before a PROMPT that begins with a dash.

    It prints one row per layer. Entropy and first-token share are means over heads and over the queries
    after the first. Activation sparsity is a mean over tokens. Means leave out what is ablated.
    """
    from edge.edits import ablation_of
    from edge.output import check_output

    check_output(output)
    prompt_ids = parsed_ids(ids)
    prompt = text_argument(prompt, "PROMPT")
    check_prompt(prompt, prompt_ids, f'edge trace {model} "Hello" -o {output}')
    watch = _chosen_watch(parts, layers, logits, half)
    with open_model(model, engine, threads, "edge trace") as loaded:
        _print_cost(loaded, watch, prompt, prompt_ids, max_new_tokens)
        seen = loaded.run(
            prompt,
            ids=prompt_ids,
            max_new_tokens=max_new_tokens,
            watch=watch,
            sampling=sampling,
            seed=seed,
            stop_texts=stop_texts,
            edits=tuple(ablation_of(text) for text in ablations),
        )
    seen.save(output)
    _print_written(seen, output)
    click.echo(layer_table(seen).write(layout or "text"))


def _chosen_watch(parts: tuple[str, ...], layers: str | None, logits: bool, half: bool) -> "Watch":
    from edge.watch import Watch

    return Watch(parts=parts or None, layers=parsed_layers(layers), logits=logits, half=half)


def _print_written(seen: "Trace", output: Path) -> None:
    from edge.output import file_bytes

    if seen.edits:
        print_message(f"edits: {', '.join(seen.edits)}")
    size = file_bytes(output)
    written = "" if size is None else f"{show_bytes(size)}, "
    print_message(f"{output}: {written}{seen.n_fed} tokens fed; open it with 'edge look {output}'")


MOST_LAYERS = 10_000
"""More layers than any decoder has; a longer range would not fit in memory."""


def parsed_layers(text: str | None) -> tuple[int, ...] | None:
    """`"0,2-4"` is `(0, 2, 3, 4)`; None is every layer."""
    if text is None:
        return None
    chosen: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not (is_number(first) and is_number(last or first)):
            raise MisuseError(
                f"--layers is '{text}', which is not a list of layers; give numbers and ranges such as 0,2-4"
            )
        if int(last or first) > MOST_LAYERS:
            raise MisuseError(f"--layers has layer {int(last or first):,}; no decoder has that many layers")
        chosen += range(int(first), int(last or first) + 1)
    return tuple(dict.fromkeys(chosen))


def layer_table(seen: "Trace") -> Table:
    """Mean entropy, first-token weight and sparsity of each layer; a dash if it was not recorded."""
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
    """Prints the maximum size of the recorded values, before the run."""
    given = prompt_ids or (loaded.tokenizer.encode(prompt) if loaded.tokenizer and prompt else [])
    tokens = min(len(given) + max(0, max_new_tokens - 1), loaded.spec.context)
    cost = watch.cost_bytes(loaded.spec, tokens)
    print_message(f"recording {len(watch.sites(loaded.spec))} sites, at most {tokens} tokens: {show_bytes(cost)}")
