"""An OpenID provider on a real socket that signs what a test wants: for tokens that must be
refused.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwk, jwt

CLIENT = "client-1"


class Provider:
    """Answers at once; `claims` and `sign` say what its id token is."""

    def __init__(self) -> None:
        self.key = jwk.RSAKey.generate_key(2048, {"kid": "one"})
        self.claims: dict[str, Any] = {}
        self.sign: Callable[[dict[str, Any]], str] = self.sign_well
        self.nonce = ""
        self.used: set[str] = set()
        self.challenges: list[str] = []
        provider = self

        class Answers(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                provider.answer(self, urlsplit(self.path))

            def do_POST(self) -> None:
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                provider.exchange(self, parse_qs(text))

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def reset(self) -> None:
        self.claims = {"sub": "g-1", "email": "fatou@example.com", "email_verified": True}
        self.sign = self.sign_well

    def sign_well(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)

    def answer(self, request: Any, url: Any) -> None:
        if url.path == "/authorize":
            query = parse_qs(url.query)
            self.nonce = query["nonce"][0]
            self.challenges.append(query["code_challenge_method"][0])
            back = urlencode({"code": f"code-{time.monotonic_ns()}", "state": query["state"][0]})
            request.send_response(302)
            request.send_header("Location", f"{query['redirect_uri'][0]}?{back}")
            request.end_headers()
            return None
        if url.path == "/jwks":
            return reply(request, 200, {"keys": [self.key.as_dict(private=False)]})
        metadata = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "id_token_signing_alg_values_supported": ["RS256"],
        }
        return reply(request, 200, metadata)

    def exchange(self, request: Any, form: dict[str, list[str]]) -> None:
        code = form["code"][0]
        if code in self.used or "code_verifier" not in form:
            return reply(request, 400, {"error": "invalid_grant"})
        self.used.add(code)
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 60}
        token = self.sign({**claims, "nonce": self.nonce, **self.claims})
        answer = {"access_token": "a", "token_type": "Bearer", "id_token": token}
        return reply(request, 200, answer)


def reply(request: Any, status: int, body: Any) -> None:
    text = json.dumps(body).encode()
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(text)))
    request.end_headers()
    request.wfile.write(text)
