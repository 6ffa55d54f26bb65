"""A requests session whose every request has an end, whatever dribbles in meanwhile.

A read time-out alone bounds only the pause between two bytes: an answer of one byte in 8 seconds
held a create for over 400. Here the time-out that a request is given bounds its whole answer: when
it has passed, the connection is cut.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any

import requests
import urllib3.connection
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


def bounded_session() -> requests.Session:
    """A session in which (connect, total) are the seconds of `timeout`."""
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _BoundedAdapter())
    return session


class _Bounded:
    """What cuts a connection its time-out after each request; a new request stops the old clock."""

    sock: socket.socket | None
    timeout: float | None
    _cut: threading.Timer | None = None

    def getresponse(self) -> Any:
        if self._cut:
            self._cut.cancel()
        late = threading.Event()
        if self.sock and self.timeout:
            self._cut = threading.Timer(self.timeout, _shut, [self.sock, late])
            self._cut.daemon = True
            self._cut.start()
        response = super().getresponse()  # type: ignore[misc]
        if late.is_set():  # headers that are cut off read like whole ones
            raise TimeoutError("the answer was not whole in time")
        return response


class _BoundedHttp(_Bounded, urllib3.connection.HTTPConnection):
    pass


class _BoundedHttps(_Bounded, urllib3.connection.HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _BoundedHttp


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _BoundedHttps


class _BoundedAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
        return manager


def _shut(sock: socket.socket, late: threading.Event) -> None:
    late.set()
    with suppress(OSError):  # it is closed already
        sock.shutdown(socket.SHUT_RDWR)
