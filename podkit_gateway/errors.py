"""What can go wrong, as the caller is told it. No message holds a key, a URL of a backend, or what
people wrote.

GatewayError
    ConfigurationError      the settings or gateway.toml: exit code 2
    Refusal                 an HTTP answer in OpenAI's envelope
    ClientGone              nobody is left to answer
    NobodyAwake             every backend of the model sleeps
"""

from __future__ import annotations


class GatewayError(Exception):
    """The base of everything that the gateway raises on purpose."""


class ConfigurationError(GatewayError):
    """A setting or gateway.toml is wrong; the message names the place and the fix."""


class ClientGone(GatewayError):
    """The client closed its connection before it had an answer."""


class NobodyAwake(GatewayError):
    """Nothing that serves the model is awake, but a request that waits may wake it."""


class Refusal(GatewayError):
    """An answer that is no success: its HTTP status, and the fields of OpenAI's error object."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.code = code
        self.param = param
        self.headers = headers
