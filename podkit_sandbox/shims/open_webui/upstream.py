"""The model server behind the page, which the page's own key is for: it never reaches
the browser.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from urllib.parse import urlsplit

CHUNK = 65_536
SECONDS = 600.0


class Upstream:
    """One request to the model server, and its answer as it comes."""

    def __init__(self, method: str, path: str, body: bytes | None = None) -> None:
        base = urlsplit(os.environ["OPENAI_API_BASE_URLS"])
        self._connection = HTTPConnection(base.netloc, timeout=SECONDS)
        self._request = (method, base.path + path, body)
        self._socket: socket.socket | None = None
        self.answer: HTTPResponse | None = None

    async def open(self) -> HTTPResponse | None:
        """The head of the answer; None if nobody answers."""
        try:
            self.answer = await asyncio.to_thread(self._send)
        except (OSError, HTTPException):
            self.close()
        except asyncio.CancelledError:
            self.close()
            raise
        return self.answer

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Closed early, it hangs up, so that the model server stops working
        for nobody.
        """
        try:
            while self.answer:
                chunk = await asyncio.to_thread(self.answer.read1, CHUNK)
                if not chunk:
                    return
                yield chunk
        finally:
            self.close()

    def close(self) -> None:
        """Hangs up, also under a thread that still reads."""
        if self._socket:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _send(self) -> HTTPResponse:
        method, path, body = self._request
        headers = {
            "Authorization": f"Bearer {os.environ['OPENAI_API_KEYS']}",
            "Content-Type": "application/json",
        }
        self._connection.connect()
        self._socket = self._connection.sock
        self._connection.request(method, path, body, headers)
        return self._connection.getresponse()
