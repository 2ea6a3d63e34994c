"""`python -m compiler`, which is `plainnet` where no other `compiler` is in the folder."""

import io
import signal
import sys

from .cli import main


def run() -> None:
    """The command line as a process: how it ends, and what its output can spell."""
    if hasattr(signal, "SIGPIPE"):  # a reader that has gone ends us without a word, as it ends cat
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main())


if __name__ == "__main__":
    run()
