"""A server of one folder on this machine, for the page and for nobody else."""

from __future__ import annotations

import errno
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ..errors import CompileError, Problem

HOST = "127.0.0.1"
INDEX = "index.html"
PAGE = Path(__file__).resolve().parents[2] / "site" / "dist"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".zip": "application/zip",
}
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,  # a worker has that of its own response
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
NAMED_BY_CONTENT = ("/assets/", "/data-")
USUAL_PORT = 8424  # browsers keep what they know of a page by its port


def server(folder: Path, port: int | None = None) -> ThreadingHTTPServer:
    """A server of a built page, not yet running. Raises `CompileError`.

    Port 0 is any free one; None is the usual one, or a free one where that is taken.
    """
    if not (folder / INDEX).is_file():
        raise CompileError(
            Problem(
                "the page is not built",
                at=str(folder),
                hint="run `npm ci && npm run build` in the folder site/ of a checkout, or name the"
                " folder of a built page with --folder",
            )
        )
    handler = partial(_Handler, directory=str(folder))
    if port is None:
        try:
            return _Server((HOST, USUAL_PORT), handler)
        except OSError:
            port = 0
    try:
        return _Server((HOST, port), handler)
    except (OSError, OverflowError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        why = "another program uses it" if taken else str(error)
        hint = "leave --port out for a free one"
        raise CompileError(Problem(f"--port {port} cannot be used: {why}", hint=hint)) from None


def address(running: ThreadingHTTPServer) -> str:
    """The address of a server's page."""
    return f"http://{HOST}:{running.server_address[1]}/"


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Browsers leave when they like: that is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def guess_type(self, path: Any) -> str:
        return TYPES.get(Path(path).suffix, super().guess_type(path))

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        lasting = self.path.startswith(NAMED_BY_CONTENT)
        cached = "public, max-age=31536000, immutable" if lasting else "no-cache"
        self.send_header("Cache-Control", cached)
        super().end_headers()

    def list_directory(self, path: Any) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a page is some twenty requests."""
