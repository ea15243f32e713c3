"""A model server on this machine that behaves as a test tells it to, and notes what it was asked."""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Step:
    """How one request is answered; the plain `Step()` is a server that knows ranges.

    `send`: so many bytes of the body, then the connection is cut. `gate`: the rest is sent once `Zoo.gate` is open.
    `headers` replace those of the answer; None takes one away. `chunked` bodies have no length.
    """

    status: int = 0
    headers: dict[str, str | None] = field(default_factory=dict)
    send: int | None = None
    gate: bool = False
    ranges: bool = True
    body: bytes | None = None
    chunked: bool = False


@dataclass
class Asked:
    """One request."""

    path: str
    range: str | None
    if_range: str | None


class Zoo:
    """Files by path, answered by the next of `steps` each, plainly once they are used up."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.files: dict[str, bytes] = {}
        self.steps: list[Step] = []
        self.asked: list[Asked] = []
        self.gate, self.reached = threading.Event(), threading.Event()
        self.lock = threading.Lock()


@contextmanager
def open_zoo() -> Iterator[Zoo]:
    """A running server on a port of the system's choice."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    zoo = Zoo(f"http://127.0.0.1:{server.server_port}")
    handler.zoo = zoo  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield zoo
    finally:
        zoo.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    zoo: Zoo
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        zoo = self.zoo
        with zoo.lock:
            zoo.asked.append(Asked(self.path, self.headers["Range"], self.headers["If-Range"]))
            step = zoo.steps.pop(0) if zoo.steps else Step()
        body = step.body if step.body is not None else zoo.files.get(self.path)
        status = step.status or (404 if body is None else 200)
        body = b"" if body is None else body
        headers: dict[str, str | None] = {"ETag": f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'}
        start = self._start(step, body, headers["ETag"]) if status == 200 else 0
        if start:
            status, headers["Content-Range"] = 206, f"bytes {start}-{len(body) - 1}/{len(body)}"
        headers["Content-Length"] = None if step.chunked else str(len(body) - start)
        headers["Transfer-Encoding"] = "chunked" if step.chunked else None
        self._answer(status, headers | step.headers, body[start:], step)

    def _start(self, step: Step, body: bytes, tag: str | None) -> int:
        """Where the answer begins: at 0 without a range that this file has."""
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        same = self.headers["If-Range"] in (None, tag, step.headers.get("Last-Modified"))
        return int(wanted[1]) if wanted and step.ranges and same and int(wanted[1]) < len(body) else 0

    def _answer(self, status: int, headers: dict[str, str | None], body: bytes, step: Step) -> None:
        self.send_response(status)
        for key, value in headers.items():
            if value is not None:
                self.send_header(key, value)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        end = len(body) if step.send is None else step.send
        try:
            self._send(body[:end], step.chunked)
            self.zoo.reached.set()
            if step.gate:
                self.zoo.gate.wait(60)
                self._send(body[end:], step.chunked)
                end = len(body)
            if step.chunked and end == len(body):
                self.wfile.write(b"0\r\n\r\n")
        except OSError:  # the other side has gone
            pass

    def _send(self, data: bytes, chunked: bool) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if chunked and data else data)
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        pass
