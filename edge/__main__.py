"""What the console script and `python -m edge` call: quiet under an interrupt from the first moment on."""

import sys
import threading

from edge.errors import INTERRUPTED


def main() -> None:
    """Runs the command line and leaves with its exit code."""
    threading.excepthook = lambda failed: _tell_of(failed.exc_value)
    try:
        from edge.cli import exit_code

        code = exit_code(sys.argv[1:])
    except KeyboardInterrupt:
        print("edge: interrupted", file=sys.stderr)
        code = INTERRUPTED
    except Exception as error:  # of an import: the border is not there yet
        code = _tell_of(error)
    sys.exit(code)


def _tell_of(error: BaseException | None) -> int:
    """Tells of what was raised outside any command, such as on a thread of its own; returns the exit code."""
    from edge.error_message import error_message

    told = error_message(error or RuntimeError("unknown"), "edge")
    print(f"edge: {told.message}", file=sys.stderr)
    return told.code


if __name__ == "__main__":
    main()
