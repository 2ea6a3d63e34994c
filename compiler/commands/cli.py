"""The command line as a whole: its commands, warnings, errors and exit codes."""

from __future__ import annotations

import contextlib
import importlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import click

from .. import __version__
from ..errors import CompileError, CompileWarning, Problem, escaped, suggest

COMMANDS = {  # and the modules that hold them, imported for the one that is called
    "emit": "emit",
    "list": "show",
    "show": "show",
    "plan": "plan",
    "lint": "show",
    "draw": "draw",
    "check": "check",
    "diff": "update",
    "update": "update",
    "sync": "sync",
    "verify": "verify",
    "convert": "convert",
    "new": "new",
    "schema": "new",
    "page": "page",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Returns 0, 1 where a difference is found, 2 for bad input."""
    try:
        with _warnings_in_a_line():
            code = _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except OSError as error:  # of stdout or stderr; the modules below report those of files
        with contextlib.suppress(OSError):
            print(Problem(f"cannot write: {error.strerror}", at="stdout"), file=sys.stderr)
        with contextlib.suppress(OSError):
            sys.stdout.close()  # or Python tries again at exit
        return 2


@contextlib.contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    """Where our own warnings are printed as errors are, without a place in this code."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", CompileWarning)
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
            if issubclass(category, CompileWarning):
                print(f"warning: {escaped(message)}", file=sys.stderr)
            else:
                usual(message, category, *rest, **more)

        warnings.showwarning = show
        yield


def _run(arguments: list[str] | None) -> int:
    try:
        result = cli.main(arguments, prog_name="plainnet", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except CompileError as error:
        print(error, file=sys.stderr)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.ctx.get_help() if error.ctx else error, file=sys.stderr)
    except click.UsageError as error:
        hint = f"`{error.ctx.command_path} --help` shows what there is" if error.ctx else ""
        message = error.format_message().rstrip(".")
        print(Problem(message[:1].lower() + message[1:], hint=hint), file=sys.stderr)
    except click.Abort:
        print("stopped", file=sys.stderr)
        return 130
    return 2


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{COMMANDS[cmd_name]}", __package__)
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise CompileError(
                Problem(
                    f"unknown command {args[0]!r}.{suggest(args[0], COMMANDS)}",
                    hint=f"one of {', '.join(COMMANDS)}",
                )
            )
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="plainnet", message="%(prog)s %(version)s")
def cli() -> None:
    """Turn a network's name into one readable source file, in PyTorch or Keras 3, 2D or 3D."""
