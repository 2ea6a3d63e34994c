"""The command `page`."""

from __future__ import annotations

import contextlib
import signal

import click

from ..errors import escaped


@click.command("page")
@click.option("--port", metavar="N", help="Port to listen on. Default: 8424, or a free one.")
@click.option("--no-browser", is_flag=True, help="Print the address, and do not open a browser.")
@click.option("--folder", metavar="PATH", help="Folder of the built page. Default: site/dist.")
def page_command(port: str | None, no_browser: bool, folder: str | None) -> None:
    """Serve the page on this machine, and open it in a browser."""
    from pathlib import Path

    from ..limits import PORT
    from ..page.serving import PAGE, address, server
    from ..passes.values import count

    number = None if port is None else count("--port", port, PORT)
    with server(PAGE if folder is None else Path(folder), number) as running:
        url = address(running)
        click.echo(f"The page is at {escaped(url)} until you press Ctrl-C.")
        if not no_browser:
            import webbrowser

            webbrowser.open(url)
        if hasattr(signal, "SIGPIPE"):  # by which a browser that leaves would end the process
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        with contextlib.suppress(KeyboardInterrupt):
            running.serve_forever()
