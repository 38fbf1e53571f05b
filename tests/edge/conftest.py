"""What tests of commands share: a command line, run in this process."""

from collections.abc import Callable

import pytest

from edge.cli import exit_code

Said = Callable[..., tuple[int, str, str]]
"""Runs a command line: exit code, stdout, stderr."""


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str]) -> Said:
    """Runs a command line in this process: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = exit_code([str(argument) for argument in arguments])
        written = capfd.readouterr()
        return code, written.out, written.err

    return run
