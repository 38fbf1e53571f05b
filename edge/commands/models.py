"""`edge models`: lists the models on this machine, shows a model's sizes, and downloads models of the hub."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.commands.options import table_options
from edge.picture.units import show_bytes, show_count
from edge.tables import Cell, Column, Table
from models.sites import ATTENTION, FFN

if TYPE_CHECKING:
    from edge.listed_models import ListedModel
    from models.checkpoint import Checkpoint
    from models.spec import LayerSpec

_LIST = (
    Column("model", "model"),
    Column("source", "source"),
    Column("parameters", "parameters", show_count),
    Column("precision", "precision"),
    Column("size_bytes", "size", show_bytes),
    Column("readable", "readable"),
    Column("why_not", "why not"),
)
_FACTS = (Column("what", "what"), Column("value", "value"))


class _OrFolders(click.Group):
    """A group whose first word may also be a folder: it is then listed."""

    def resolve_command(
        self, context: click.Context, words: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if words[0] in self.commands or words[0].startswith("-"):
            return super().resolve_command(context, words)
        return "list", list_models, words

    def collect_usage_pieces(self, context: click.Context) -> list[str]:
        return ["[OPTIONS]", "[FOLDER... | COMMAND]"]


@click.group(
    cls=_OrFolders,
    invoke_without_command=True,
    epilog="""\b
    Examples:
      edge models
      edge models path/to/models
      edge models show fable-relu
      edge models pull openai-community/gpt2
    """,
)
@table_options
@click.pass_context
def models(context: click.Context, layout: str | None) -> None:
    """List the models on this machine, show a model's sizes, or download a model.

    Lists bundled models, and models in the hub's cache and in the folders of Ollama, LM Studio and llama.cpp, and in
    every FOLDER. Other commands take their names as MODEL.
    """
    context.obj = layout
    if context.invoked_subcommand is None:
        click.echo(_list_table(()).write(layout or "text"))


@click.command("list")
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path))
@table_options
@click.pass_context
def list_models(context: click.Context, folders: tuple[Path, ...], layout: str | None) -> None:
    """List the models on this machine and those in FOLDERS."""
    click.echo(_list_table(folders).write(layout or context.obj or "text"))


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

    MODEL is a checkpoint folder, a GGUF file, or a name that 'edge models' lists.
    """
    from models.checkpoint import open_checkpoint
    from models.find_model import find_model

    click.echo(_facts(open_checkpoint(find_model(model))).write(layout or "text"))


@models.command(
    epilog="""\b
    Examples:
      edge models pull openai-community/gpt2
      edge models pull owner/model-GGUF:Q4_K_M
    """
)
@click.argument("id")
def pull(id: str) -> None:
    """Download or update model ID from the Hugging Face hub.

    ID is a name such as openai-community/gpt2, or the URL of the model's page. Downloads weights (safetensors), configs
    and tokenizer into the hub's cache, resumes interrupted downloads, and prints the folder. Other commands then take
    the id as MODEL; they never connect to the hub. Gated models need 'hf auth login' first.

    A tag such as :Q4_K_M downloads one GGUF file instead, and prints its path. If a repository has only GGUF files, an
    id without a tag means Q4_K_M, or else Q8_0, or else any of them.
    """
    from models.other_formats import name_in_url
    from models.pull import pull as fetched

    click.echo(str(fetched(name_in_url(id) or id)))


def _list_table(folders: Sequence[Path]) -> Table:
    from edge.listed_models import listed_models

    return Table(_LIST, [_listed_row(one) for one in listed_models(folders)])


def _listed_row(one: "ListedModel") -> tuple[Cell, ...]:
    from edge.listed_models import Unread

    held = one.contents
    if isinstance(held, Unread):
        return (one.name, one.source, None, held.precision, held.stored_bytes, "no", held.why)
    return (one.name, one.source, held.parameters, held.precision, held.stored_bytes, "yes", "")


def _facts(held: "Checkpoint") -> Table:
    """One fact per row; sizes have the names used in the papers."""
    from edge.mixture_neurons import sizes_text
    from edge.stored_kinds import precision_name
    from models.parameters import parameter_count
    from models.tokenizer import open_tokenizer

    spec, first = held.spec, held.spec.layers[0]
    tokenizer = open_tokenizer(held.source.texts())
    rows: list[tuple[Cell, Cell]] = [
        ("model", held.name),
        ("path", str(held.source.path)),
        ("parameters", f"{parameter_count(spec):,}"),
        *_active(held),
        ("in attention", _share_of(held, ATTENTION)),
        ("in FFN", _share_of(held, FFN)),
        ("stored", f"{show_bytes(held.stored_bytes)} as {precision_name(held)}"),
        ("types", _types(held)),
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


def _types(held: "Checkpoint") -> str:
    """The types of all matrices and vectors, and the share of the parameters in each."""
    from edge.stored_kinds import stored_kinds

    return ", ".join(
        f"{one.kind} {one.count} ({f'{one.share:.0%}' if one.share >= 0.005 else '<1%'})" for one in stored_kinds(held)
    )


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
