"""`edge export`: a model as ONNX files that other tools open."""

from pathlib import Path

import click

from edge.commands.options import tell
from edge.commands.tables import Column, Table, table_options
from edge.picture.units import show_bytes

_COLUMNS = (
    Column("graph", "graph"),
    Column("max_logit_difference", "largest logit difference to torch", ".1e"),
    Column("top1_agreement", "same next token", ".1%"),
    Column("positions", "positions compared"),
)


@click.command(
    epilog="""\b
    Example:
      edge export path/to/checkpoint path/to/onnx
    """
)
@click.argument("model")
@click.argument("out", type=click.Path(path_type=Path))
@table_options
def export(model: str, out: Path, layout: str | None) -> None:
    """Write MODEL as ONNX graphs with weights to folder OUT.

    std.onnx is for other tools: standard operators, inputs and outputs named as they expect. fast.onnx and probe.onnx
    are what Edge itself runs. The graphs are checked and compared with torch first; OUT appears whole or not at all,
    and only an export may be written over. Needs torch and onnx: pip install 'edge-lens[export]'.
    """
    from edge.session import find_model
    from export.manifest import read_manifest
    from export.standalone import export_checkpoint
    from models.checkpoint import open_checkpoint

    written = export_checkpoint(open_checkpoint(find_model(model)), out, tell)
    manifest = read_manifest(written)
    parity = manifest.parity if manifest else {}
    rows = [(name, one.max_logit_difference, one.top1_agreement, one.positions) for name, one in parity.items()]
    click.echo(Table(_COLUMNS, rows).write(layout or "text"))
    size = sum(file.stat().st_size for file in written.iterdir())
    tell(f"{written}: {show_bytes(size)}")
