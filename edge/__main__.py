"""Entry point of the console script and of `python -m edge`. Handles Ctrl-C during imports too."""

import sys
import threading

from edge.errors import INTERRUPTED


def main() -> None:
    """Runs the command line and exits with its code."""
    threading.excepthook = lambda failed: _print_error(failed.exc_value)
    try:
        from edge.cli import exit_code

        code = exit_code(sys.argv[1:])
    except KeyboardInterrupt:
        print("edge: interrupted", file=sys.stderr)
        code = INTERRUPTED
    except Exception as error:  # raised by an import, before `edge.cli` handles errors
        code = _print_error(error)
    sys.exit(code)


def _print_error(error: BaseException | None) -> int:
    """Prints an error raised outside any command, such as on another thread; returns the exit code."""
    from edge.error_message import error_message

    shown = error_message(error or RuntimeError("unknown"), "edge")
    print(f"edge: {shown.message}", file=sys.stderr)
    return shown.code


if __name__ == "__main__":
    main()
