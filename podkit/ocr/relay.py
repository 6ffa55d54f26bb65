"""Stands between the olmOCR toolkit and the pods, on this machine's loopback.

The toolkit gets a key of the relay's own, so that the pods' keys stay in this process. It must
never listen on another address.
"""

from __future__ import annotations

import secrets
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from podkit.ocr.page_reader import CONNECTIONS, PageReader

SHUT_SECONDS = 0.05


class Relay(ThreadingHTTPServer):
    """Answers as soon as it is made, with what `reader` gives; `url`, `key` and `model` are for its
    only client.
    """

    daemon_threads = True
    request_queue_size = CONNECTIONS

    def __init__(self, reader: PageReader, model: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reader = reader
        self.model = model
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.key = secrets.token_hex(32)  # never with a dash in front, as an option has
        threading.Thread(target=self.serve_forever, args=[SHUT_SECONDS], daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Called for a defect, which the toolkit would take for a broken connection, and try for
        hours.

        A connection that really breaks is none: any program of this machine may do that.
        """
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self.reader.fail(f"the relay failed ({type(error).__name__})")


class _Handler(BaseHTTPRequestHandler):
    server: Relay

    def do_GET(self) -> None:
        self._answer(200, b'{"data": []}')

    def do_POST(self) -> None:
        given = self.headers.get("Authorization", "").encode("utf-8", "replace")
        if secrets.compare_digest(given, f"Bearer {self.server.key}".encode()):
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(*self.server.reader.completion(asked))
        else:
            self._answer(401, b"")

    def _answer(self, status: int, body: bytes) -> None:
        with suppress(OSError):  # the toolkit was ended
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing: the toolkit tells what fails."""
