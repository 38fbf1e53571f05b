"""What the console script and `python -m edge` call: quiet under an interrupt from the first moment on."""

import sys

from edge.errors import INTERRUPTED


def main() -> None:
    """Runs the command line and leaves with its exit code."""
    try:
        from edge.cli import exit_code

        code = exit_code(sys.argv[1:])
    except KeyboardInterrupt:
        print("edge: interrupted", file=sys.stderr)
        code = INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()
