"""A web server on loopback that serves a folder and takes posts; it misbehaves when told to."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class FolderServer:
    """`fault(path, number)` says what becomes of the request of this number for a path.

    That is None for an answer as it should be, a status, "reset", "stall" or "truncate".
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self.fault: Callable[[str, int], int | str | None] = lambda path, number: None
        self.requests: list[str] = []
        self.posts: list[dict[str, Any]] = []
        """What was posted as JSON, and answered as it should be."""
        self.stopped = threading.Event()

    def number_of(self, path: str) -> int:
        return self.requests.count(path)


@contextmanager
def serving(folder: Path) -> Iterator[FolderServer]:
    state = FolderServer(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            state.requests.append(self.path)
            fault = state.fault(self.path, state.number_of(self.path))
            file = folder / self.path.lstrip("/")
            if fault == "reset":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if fault == "stall":
                state.stopped.wait()
                return
            if isinstance(fault, int) or not file.is_file():
                self.send_response(fault if isinstance(fault, int) else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = file.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Last-Modified", time.ctime(0))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if fault == "truncate" else content)
            if fault == "truncate":
                self.close_connection = True

        do_HEAD = do_GET

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            state.requests.append(self.path)
            fault = state.fault(self.path, state.number_of(self.path))
            if fault == "stall":
                state.stopped.wait()
                return
            if not fault:
                state.posts.append(json.loads(body))
            self.send_response(fault if isinstance(fault, int) else 200)
            if fault in (301, 302):
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        state.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
