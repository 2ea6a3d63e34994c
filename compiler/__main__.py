"""`python -m compiler`, and the console script `plainnet`."""

import sys

from compiler.cli import main


def run() -> None:
    sys.exit(main())


if __name__ == "__main__":
    run()
