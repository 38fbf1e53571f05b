"""`edge models`: lists the bundled models, shows a model's sizes, and downloads models from the Hugging Face hub."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from edge.commands.options import table_options
from edge.picture.units import show_bytes
from edge.tables import Cell, Column, Table
from models.errors import MisuseError
from models.sites import ATTENTION, FFN

if TYPE_CHECKING:
    from models.checkpoint import Checkpoint
    from models.spec import LayerSpec

_LIST = (
    Column("model", "model"),
    Column("parameters", "parameters", ","),
    Column("layers", "layers"),
    Column("context", "context, tokens"),
    Column("size", "size"),
)
_FACTS = (Column("what", "what"), Column("value", "value"))


@click.group(
    invoke_without_command=True,
    epilog="""\b
    Examples:
      edge models
      edge models show fable-relu
      edge models pull openai-community/gpt2
    """,
)
@table_options
@click.pass_context
def models(context: click.Context, layout: str | None) -> None:
    """List the bundled models, show a model's sizes, or download a model."""
    if context.invoked_subcommand is None:
        click.echo(_zoo_table().write(layout or "text"))


@models.command(
    epilog="""\b
    Example:
      edge models show fable-relu --json
    """
)
@click.argument("model")
@table_options
def show(model: str, layout: str | None) -> None:
    """Show the architecture and sizes of MODEL.

    MODEL is a checkpoint folder, a hub model that 'edge models pull' downloaded, or a name that 'edge models' lists.
    """
    from models.checkpoint import open_checkpoint
    from models.find_model import find_model

    click.echo(_facts(open_checkpoint(find_model(model))).write(layout or "text"))


@models.command(
    epilog="""\b
    Example:
      edge models pull openai-community/gpt2
    """
)
@click.argument("id")
def pull(id: str) -> None:
    """Download or update model ID from the Hugging Face hub.

    ID is a name such as openai-community/gpt2, or the URL of the model's page. Downloads weights (safetensors), configs
    and tokenizer into the hub's cache, resumes interrupted downloads, and prints the folder. Other commands then take
    the id as MODEL; they never connect to the hub. Gated models need 'hf auth login' first.
    """
    from models.hub import is_hub_id
    from models.hub import pull as fetched
    from models.other_formats import id_in_url

    id = id_in_url(id) or id
    if not is_hub_id(id):
        raise MisuseError(f"'{id}' is not a hub id; give one such as openai-community/gpt2")
    click.echo(str(fetched(id)))


def _zoo_table() -> Table:
    from models.checkpoint import open_checkpoint
    from models.parameters import parameter_count
    from models.zoo import zoo_folder, zoo_names

    rows: list[tuple[Cell, ...]] = []
    for name in zoo_names():
        folder = zoo_folder(name)
        if folder is not None:
            held = open_checkpoint(folder)
            spec = held.spec
            rows.append((name, parameter_count(spec), spec.n_layers, spec.context, show_bytes(held.stored_bytes)))
    return Table(_LIST, rows)


def _facts(held: "Checkpoint") -> Table:
    """One fact per row; sizes have the names used in the papers."""
    from edge.mixture_neurons import sizes_text
    from export.quantizing import stored_precision
    from models.parameters import parameter_count
    from models.tokenizer import open_tokenizer

    spec, first = held.spec, held.spec.layers[0]
    tokenizer = open_tokenizer(held.folder)
    precision = stored_precision(held)
    stored = (*([] if precision is None else [str(precision)]), *held.float_kinds)
    rows: list[tuple[Cell, Cell]] = [
        ("model", held.name),
        ("folder", str(held.folder)),
        ("parameters", f"{parameter_count(spec):,}"),
        *_active(held),
        ("in attention", _share_of(held, ATTENTION)),
        ("in FFN", _share_of(held, FFN)),
        ("stored", f"{show_bytes(held.stored_bytes)} as {', '.join(stored)}"),
        ("layers", str(spec.n_layers)),
        ("d_model", str(spec.d_model)),
        ("n_heads", _each(f"{one.n_heads}, {one.n_kv_heads} for keys and values" for one in spec.attentions)),
        ("head_dim", _each(str(one.head_dim) for one in spec.attentions)),
        ("d_ff", sizes_text(spec, ", ")),
        ("vocab_size", str(spec.vocab_size)),
        ("context", f"{spec.context} tokens"),
        ("FFN", _each(_ffn(one) for one in spec.layers)),
        ("norm", type(first.norm).__name__),
        ("positions", _positions(held)),
        ("residual", type(first.residual).__name__.lower()),
        ("lm_head", "tied to the embedding" if spec.tied else "not tied to the embedding"),
        ("tokenizer", "none; only token ids can be run" if tokenizer is None else "tokenizer.json"),
    ]
    return Table(_FACTS, rows)


def _active(held: "Checkpoint") -> list[tuple[Cell, Cell]]:
    """Parameters that one token uses, if they are not all."""
    from models.parameters import active_count, parameter_count

    active, total = active_count(held.spec), parameter_count(held.spec)
    return [] if active == total else [("active", f"{active:,} per token ({active / total:.0%} of all)")]


def _each(texts: Iterable[str]) -> str:
    """Different texts of layers, in order of layers."""
    return "; ".join(dict.fromkeys(texts))


def _ffn(layer: "LayerSpec") -> str:
    """The kind of the FFN of a layer, and its activation."""
    from models.spec import MoE

    kind = layer.ffn
    name = f"mixture of {type(kind.expert).__name__.lower()} experts" if isinstance(kind, MoE) else type(kind).__name__
    return f"{name.lower()}, {kind.activation.value}"


def _positions(held: "Checkpoint") -> str:
    """How positions are encoded: in layers first, then in the embedding."""
    kinds = [*(attention.position for attention in held.spec.attentions), held.spec.positions]
    names = dict.fromkeys(type(kind).__name__ for kind in kinds if type(kind).__name__ != "NoPosition")
    return " and ".join(names).lower() or "none"


def _share_of(held: "Checkpoint", sublayer: str) -> str:
    """Parameters in one kind of sublayer, its norms included: their shares of all parameters and of the layers'."""
    from math import prod

    from models.parameters import parameter_count, parameter_shapes

    shapes = parameter_shapes(held.spec)
    count = sum(prod(shape) for name, shape in shapes.items() if f".{sublayer}." in name)
    in_layers = sum(prod(shape) for name, shape in shapes.items() if name.startswith("layers."))
    return f"{count:,} ({count / parameter_count(held.spec):.0%} of all, {count / in_layers:.0%} of the layers)"
