"""Servers on a real socket of the loopback, as tests of clients want them."""

import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class Handler(http.server.BaseHTTPRequestHandler):
    """A handler that keeps quiet and answers in one line."""

    def asked(self) -> Any:
        """Return the JSON that was sent."""
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """Answer with bytes or text as they are, with anything else as JSON."""
        data = (
            body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else json.dumps(body).encode()
        )
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@contextmanager
def serving(handler: type[Handler], **state: Any) -> Iterator[Any]:
    """Serve on a free port while the block runs; `state` lies on the server, and so does its `url`.

    `release`, an event on which a handler may hang, is set at the end.
    """
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.url, server.release = f"http://127.0.0.1:{server.server_address[1]}", threading.Event()
    for name, value in state.items():
        setattr(server, name, value)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        thread.join()
        server.server_close()
