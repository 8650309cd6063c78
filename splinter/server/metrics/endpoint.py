"""The HTTP server of the metrics process.

A thread serves a connection. There are ``METRICS_CONNECTIONS_MAX`` at most: one more ends the oldest, and each ends after
``METRICS_CONNECTION_SECONDS``. So a scraper that does not read, or sends a byte now and then, holds up nobody.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer, ThreadingMixIn
from typing import Any

from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from splinter import limits

PATH = "/metrics"
_LOOK_SECONDS = 0.5  # between looks for connections that have lasted too long
_INDEX = f"Splinter's metrics are at {PATH}\n".encode()


class _Handler(BaseHTTPRequestHandler):
    """One request of one connection: HTTP/1.0, so that nobody keeps a connection open."""

    server_version, sys_version = "splinter", ""
    timeout = limits.METRICS_CONNECTION_SECONDS

    def __init__(self, registry: Collector, *arguments: Any) -> None:
        self._registry = registry
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Answer with the metrics, in the format that is asked for."""
        path = self.path.partition("?")[0]
        if path == "/":
            self._reply(HTTPStatus.OK, "text/plain; charset=utf-8", _INDEX)
        elif path != PATH:
            self._reply(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"there is nothing but /metrics\n")
        else:
            try:
                encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            except Exception:  # whatever the library makes of a version that is no number
                encode, content_type = choose_encoder("")
            self._reply(HTTPStatus.OK, content_type, encode(self._registry))

    do_HEAD = do_GET

    def _reply(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Scrapes are no news."""


class Endpoint(ThreadingMixIn, BaseServer):
    """Serves on a ``listener`` that listens already."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, registry: Collector, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(listener.getsockname(), functools.partial(_Handler, registry))
        self.socket, self._clock = listener, clock
        self._lock = threading.Lock()
        self._open: dict[socket.socket, float] = {}  # since when, the oldest first
        listener.setblocking(False)

    def fileno(self) -> int:
        """What is waited for."""
        return self.socket.fileno()

    def run(self) -> None:
        """Serve until the process ends."""
        self.serve_forever(_LOOK_SECONDS)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Take a connection; raises :class:`OSError` when it is gone again."""
        taken, address = self.socket.accept()
        with self._lock:
            while len(self._open) >= limits.METRICS_CONNECTIONS_MAX:
                self._cut(next(iter(self._open)))
            self._open[taken] = self._clock()
        return taken, address

    def service_actions(self) -> None:
        """End connections that have lasted too long."""
        with self._lock:
            for taken, since in list(self._open.items()):
                if self._clock() - since >= limits.METRICS_CONNECTION_SECONDS:
                    self._cut(taken)

    def _cut(self, taken: socket.socket) -> None:
        """End a connection; its thread notices."""
        del self._open[taken]
        with contextlib.suppress(OSError):
            taken.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        """A connection was served."""
        with self._lock:
            self._open.pop(request, None)
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_WR)
        request.close()

    def close_request(self, request: Any) -> None:
        """A connection could not be served."""
        self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who hangs up, or was cut, gets no answer; what fails otherwise is told by :mod:`threading`."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)
