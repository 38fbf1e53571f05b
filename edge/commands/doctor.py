"""`edge doctor`: what works on this machine, and the command that mends what does not."""

import click

from edge.commands.options import table_options
from edge.tables import Column, Table

_COLUMNS = (
    Column("what", "what"),
    Column("works", "works"),
    Column("found", "found"),
    Column("fix", "what to do"),
)


@click.command(
    epilog="""\b
    Examples:
      edge doctor
      edge doctor --json
    """
)
@table_options
@click.pass_context
def doctor(context: click.Context, layout: str | None) -> None:
    """Say what works here, and what mends what does not.

    Ends with 0 where models can be run, 1 where not even the onnx engine works.
    """
    from edge.doctor import can_run, run_checks

    checks = run_checks()
    rows = [(one.name, "yes" if one.works else "no", one.detail, one.fix) for one in checks]
    click.echo(Table(_COLUMNS, rows).write(layout or "text"))
    if not can_run(checks):
        context.exit(1)
