"""`edge export`: writes a model as ONNX files for other tools, or for Edge without torch."""

from pathlib import Path

import click

from edge.commands.options import print_message, table_options
from edge.export_summary import parity_lines, parity_table, prepared
from edge.picture.units import show_bytes
from edge.tables import Column, Table

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
    help="Tool that will open the export.",
)
@click.option("--precision", default="fp32", show_default=True, help="fp32, or int4, int8, int4-g128-sym ...")
@click.option(
    "--keep", multiple=True, metavar="MATRIX", help="Keep this matrix in float32: head, 'layers.0.*', '*.ffn.down' ..."
)
@click.option(
    "--dry-run", is_flag=True, help="Print which files would be written and the memory needed, without exporting."
)
@table_options
def export(
    model: str, out: Path, tool: str, precision: str, keep: tuple[str, ...], dry_run: bool, layout: str | None
) -> None:
    """Export MODEL as ONNX to the folder OUT.

    Use it to open a model in other tools, or to run it on a machine without torch.

    \b
    std    standard ONNX operators, with the input and output names that other tools expect
    genai  a folder that onnxruntime-genai opens and generates from
    edge   a checkpoint with graphs that Edge runs without torch; --precision int4 makes it smaller

    It prints one row per comparison: each graph with torch on the same weights, on a built-in text. With int8 or int4,
    the row 'quantization' compares quantized with original weights. An existing OUT is overwritten only if it is an
    export; a failed export leaves no files. Needs torch and onnx: pip install 'edge-lens[export]'.
    """
    from export.layout import layout_of
    from export.standalone import check_target, export_checkpoint, peak_bytes
    from export.targets import TARGETS
    from models.checkpoint import open_checkpoint
    from models.find_model import find_model
    from models.precision import precision_of

    chosen, original = precision_of(precision), open_checkpoint(find_model(model))
    check_target(original, out.expanduser().absolute())
    held = prepared(original, chosen, print_message, keep)
    if dry_run:
        given = layout_of(held, chosen)
        click.echo(Table(_FILES, TARGETS[tool].planned(held, given)).write(layout or "text"))
        held_at_most = show_bytes(peak_bytes(held, given, TARGETS[tool]))
        print_message(f"at most {held_at_most} of memory; a graph without weights is under 1 MB")
        return
    quantized = None if held is original else original
    written = export_checkpoint(held, out, print_message, TARGETS[tool], chosen, quantized)
    click.echo(parity_table(written).write(layout or "text"))
    for line in parity_lines(written):
        print_message(line)
    size = sum(file.stat().st_size for file in written.rglob("*") if file.is_file())
    print_message(f"{written}: {show_bytes(size)}")
