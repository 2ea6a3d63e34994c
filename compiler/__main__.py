"""`python -m compiler`: the same as `plainnet`, if no other `compiler` is in the folder."""

import io
import signal
import sys

from .commands.cli import main


def run() -> None:
    """Run the command line as a process, with its exit code and a robust stdout."""
    if hasattr(signal, "SIGPIPE"):  # end silently when the reader of a pipe has gone, as cat does
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main())


if __name__ == "__main__":
    run()
