"""The commands in the order of `edge --help`. Each imports heavy packages only when it is called."""

import click

from edge.commands.compare import compare
from edge.commands.doctor import doctor
from edge.commands.export import export
from edge.commands.lab import lab
from edge.commands.look import look
from edge.commands.models import models
from edge.commands.profile import profile
from edge.commands.report import report
from edge.commands.run import run
from edge.commands.trace import trace

COMMANDS: list[click.Command] = [look, run, trace, report, export, profile, compare, lab, models, doctor]
