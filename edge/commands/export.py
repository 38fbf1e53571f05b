"""`edge export`: a model as files that other tools open, or that run without torch."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.commands.options import tell
from edge.commands.tables import Column, Table, table_options
from edge.picture.units import show_bytes

if TYPE_CHECKING:
    from export.parity import Parity
    from models.checkpoint import Checkpoint
    from models.precision import Precision
    from models.progress import Progress

_PARITY = (
    Column("compared", "compared"),
    Column("max_logit_difference", "largest logit difference", ".1e"),
    Column("mean_kl_nats", "mean KL, nats", ".1e"),
    Column("p99_kl_nats", "p99 KL, nats", ".1e"),
    Column("top1_agreement", "same next token", ".1%"),
    Column("perplexity", "perplexity", ".2f"),
    Column("reference_perplexity", "reference's", ".2f"),
    Column("positions", "positions"),
)
LARGE_LOSS = 0.05
"""The rise of perplexity above which a quantization is called a large loss; our own choice."""

_FILES = (Column("file", "file"), Column("bytes", "bytes", ","))


@click.command(
    epilog="""\b
    Examples:
      edge export path/to/checkpoint path/to/onnx
      edge export path/to/checkpoint path/to/genai --for genai --precision int4
      edge export fable-relu path/to/small --for edge --precision int8 --dry-run
    """
)
@click.argument("model")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--for",
    "tool",
    type=click.Choice(["std", "genai", "edge"]),
    default="std",
    show_default=True,
    help="Who will open it.",
)
@click.option("--precision", default="fp32", show_default=True, help="fp32, or int4, int8, int4-g128-sym ...")
@click.option(
    "--keep", multiple=True, metavar="MATRIX", help="Leave it in float32: head, 'layers.0.*', '*.ffn.down' ..."
)
@click.option("--dry-run", is_flag=True, help="Say what would be written, and the memory it takes; write no export.")
@table_options
def export(
    model: str, out: Path, tool: str, precision: str, keep: tuple[str, ...], dry_run: bool, layout: str | None
) -> None:
    """Write MODEL to folder OUT, for other tools or other machines.

    \b
    std    ONNX in standard operators, inputs and outputs named as the ecosystem expects
    genai  what onnxruntime-genai opens and generates from
    edge   a checkpoint with graphs, which Edge runs without torch; --precision makes it small

    Each graph is compared with torch on the same weights, token by token, on a text that comes with Edge. With int8 or
    int4, the row 'quantization' compares the quantized weights with the original ones. OUT appears whole or not at all,
    and only an export may be written over. Needs torch and onnx: pip install 'edge-lens[export]'.
    """
    from export.layout import layout_of
    from export.standalone import check_target, export_checkpoint, peak_bytes
    from export.targets import TARGETS
    from models.checkpoint import open_checkpoint
    from models.find import find_model
    from models.precision import precision_of

    chosen, original = precision_of(precision), open_checkpoint(find_model(model))
    check_target(original, out.expanduser().absolute())
    held = prepared(original, chosen, tell, keep)
    if dry_run:
        given = layout_of(held, chosen)
        click.echo(Table(_FILES, TARGETS[tool].planned(held, given)).write(layout or "text"))
        held_at_most = show_bytes(peak_bytes(held, given, TARGETS[tool]))
        tell(f"{held_at_most} of memory at most; a graph without weights is under 1 MB")
        return
    quantized = None if held is original else original
    written = export_checkpoint(held, out, tell, TARGETS[tool], chosen, quantized)
    click.echo(parity_table(written).write(layout or "text"))
    for line in parity_lines(written):
        tell(line)
    size = sum(file.stat().st_size for file in written.rglob("*") if file.is_file())
    tell(f"{written}: {show_bytes(size)}")


def prepared(
    original: "Checkpoint", chosen: "Precision", progress: "Progress", keep: tuple[str, ...] = ()
) -> "Checkpoint":
    """The checkpoint in the precision of its export."""
    from export.quantizing import as_quantized, prepare_quantized
    from models.errors import MisuseError
    from models.precision import FP32, Grouped

    if original.quantized:
        as_quantized(original, chosen)  # refuses what its weights cannot become
        return original
    if isinstance(chosen, Grouped):
        return prepare_quantized(original, chosen.scheme, progress, keep)
    if keep:
        raise MisuseError("--keep says which matrices are not quantized; add --precision int4 or int8")
    if chosen != FP32:
        raise MisuseError(f"graphs in {chosen} are not exported; --precision takes fp32, int4 and int8")
    return original


def parity_table(written: Path) -> Table:
    """How far an export is from torch, as its manifest says."""
    from export.manifest import read_manifest

    manifest = read_manifest(written)
    rows = [
        (
            name,
            one.max_logit_difference,
            one.mean_kl_nats,
            one.p99_kl_nats,
            one.top1_agreement,
            one.perplexity,
            one.reference_perplexity,
            one.positions,
        )
        for name, one in (manifest.parity if manifest else {}).items()
    ]
    return Table(_PARITY, rows)


def parity_lines(written: Path) -> list[str]:
    """What the numbers of `parity_table` mean, in sentences; and the ONNX Runtime that the graphs need."""
    from export.manifest import read_manifest
    from export.parity import QUANTIZATION

    manifest = read_manifest(written)
    if manifest is None:
        return []
    lines = [f"the graphs need ONNX Runtime {manifest.oldest_onnxruntime} or newer (opset {manifest.opset})"]
    cost = manifest.parity.get(QUANTIZATION)
    return lines if cost is None else [*lines, quantization_line(cost)]


def quantization_line(cost: "Parity") -> str:
    """What quantization did to the model: its next tokens, and how well it predicts a text."""
    same = f"the most likely next token is the same at {cost.top1_agreement:.1%} of {cost.positions} positions"
    if cost.perplexity is None or cost.reference_perplexity is None:
        return f"quantization: {same} (of random ids: the checkpoint has no tokenizer, so this says little about text)"
    ratio = cost.perplexity / cost.reference_perplexity
    told = (
        f"quantization: {same} of a text, and perplexity is {cost.perplexity:.2f} where the original weights have "
        f"{cost.reference_perplexity:.2f} ({ratio - 1:+.1%}; lower is better)"
    )
    if ratio <= 1 + LARGE_LOSS:
        return told
    return (
        f"{told}. That is a large loss: the text becomes visibly worse; int8, or --keep for some matrices, loses less"
    )
