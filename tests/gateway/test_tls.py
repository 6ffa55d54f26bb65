"""TLS without a proxy in front: the pages are https, the cookie is for https alone, and the
certificate's end is watched.
"""

from __future__ import annotations

import datetime
import time
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.ports import free_port
from tests.waiting import eventually

from .process import PASSWORD, Gateway

pytestmark = pytest.mark.slow

DAYS = 10


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that ends in ten days, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_path = folder / "cert.pem"
    key_path = folder / "key.pem"
    cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_path, key_path


class TlsProcess(Gateway):
    """A gateway that is asked by https."""

    cert = ""

    def is_up(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=5, verify=self.cert).ok
        except requests.RequestException:
            return False


def test_tls_is_served_and_its_end_is_watched(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path)
    port = free_port()
    gateway = TlsProcess(
        tmp_path,
        GATEWAY_PORT=str(port),
        GATEWAY_PUBLIC_URL=f"https://localhost:{port}",
        GATEWAY_TLS_CERT=str(cert),
        GATEWAY_TLS_KEY=str(key),
    )
    gateway.url = f"https://localhost:{port}"
    gateway.cert = str(cert)
    gateway.prepare()
    gateway.start()
    body = {"email": "awa@example.com", "password": PASSWORD}
    answer = requests.post(f"{gateway.url}/auth/sign-in", json=body, timeout=30, verify=str(cert))
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-session=")
    for part in ("Secure", "HttpOnly", "SameSite=lax", "Path=/"):
        assert part in cookie
    keeps_open = requests.Session()
    page = keeps_open.get(f"{gateway.url}/sign-in", timeout=10, verify=str(cert))
    assert page.headers["Strict-Transport-Security"]
    name = "gateway_certificate_expires_timestamp_seconds"
    end = eventually(lambda: gateway.metric(f"{name} "))
    left = end - datetime.datetime.now(datetime.UTC).timestamp()
    assert (DAYS - 1) * 86_400 < left <= DAYS * 86_400
    began = time.monotonic()
    gateway.stop()
    assert time.monotonic() - began < 20, "an idle connection holds up the end"
