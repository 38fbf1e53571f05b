"""`edge doctor`: checks what works on this machine, and prints a fix for what does not."""

import click

from edge.commands.options import table_options
from edge.tables import Column, Table

_COLUMNS = (
    Column("what", "check"),
    Column("works", "works"),
    Column("found", "found"),
    Column("fix", "fix"),
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
    """Check the installation and print how to fix each problem.

    Use it if a command reports that a package or an engine is missing. One row per check. The exit code is 0 if models
    can run, and 1 if not even the onnx engine works.
    """
    from edge.doctor import can_run, run_checks

    checks = run_checks()
    rows = [(one.name, "yes" if one.works else "no", one.detail, one.fix) for one in checks]
    click.echo(Table(_COLUMNS, rows).write(layout or "text"))
    if not can_run(checks):
        context.exit(1)
