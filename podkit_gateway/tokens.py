"""Short JWTs for programs that sign in: HS256, 15 minutes, two signing keys accepted so that they
can be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import jwt

from podkit_gateway.errors import ConfigurationError
from podkit_gateway.settings import Secret

TOKEN_LIFE = 900.0
ALGORITHM = "HS256"
AUDIENCE = "podkit-gateway"
SHORTEST_KEY = 32
REQUIRED = ["aud", "exp", "iat", "iss", "jti", "sub"]


class Tokens:
    """Makes and reads tokens of this gateway; `issuer` is its public URL."""

    def __init__(self, keys: dict[str, bytes], issuer: str, clock: Callable[[], float]) -> None:
        self._keys = keys
        self._issuer = issuer
        self._clock = clock

    def make(self, person_id: int, scopes: Iterable[str], token_id: str) -> str:
        now = int(self._clock())
        claims = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": str(person_id),
            "scope": " ".join(sorted(scopes)),
            "jti": token_id,
            "iat": now,
            "exp": now + int(TOKEN_LIFE),
        }
        key_id = next(iter(self._keys))
        return jwt.encode(claims, self._keys[key_id], ALGORITHM, headers={"kid": key_id})

    def read(self, token: str) -> str | None:
        """The id of a token of ours; None if it is forged, expired, or for somebody else."""
        try:
            key = self._keys[jwt.get_unverified_header(token).get("kid", "")]
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=self._issuer,
                options={"require": REQUIRED, "verify_exp": False},
            )
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
            return None
        if claims["exp"] <= self._clock():
            return None
        return str(claims["jti"])


def parse_token_keys(text: Secret | None, random_bytes: Callable[[int], bytes]) -> dict[str, bytes]:
    """The signing keys of `id:secret,...`; without any, one for this process alone."""
    if text is None:
        return {"process": random_bytes(32)}
    keys = {}
    for pair in text.reveal().split(","):
        key_id, colon, secret = pair.strip().partition(":")
        if not (key_id and colon and len(secret) >= SHORTEST_KEY):
            raise ConfigurationError(
                "GATEWAY_TOKEN_KEYS is ID:SECRET[,ID:SECRET], "
                f"each secret of {SHORTEST_KEY} characters or more"
            )
        keys[key_id] = secret.encode("utf-8")
    return keys
