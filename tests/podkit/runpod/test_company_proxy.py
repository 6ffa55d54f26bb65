"""A company's proxy that opens TLS with a certificate of its own, which the machine trusts by
REQUESTS_CA_BUNDLE or SSL_CERT_FILE.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from podkit.errors import ApiError, S3Failed
from podkit.runpod.client import RunpodClient
from podkit.runpod.session import bounded_session
from podkit.s3 import Bucket
from podkit.secret import Secret
from tests.clones import Clone
from tests.s3.servers import access

pytestmark = pytest.mark.slow
NAMES = ("api.example.test", "s3.example.test", "localhost")


def make_certificates(folder: Path) -> tuple[Path, Path]:
    """A company's own authority, and a certificate of NAMES with its key that it has signed."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.now(UTC)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Company")])

    def builder(name: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().subject_name(name).issuer_name(authority_name)
        made = made.public_key(public).serial_number(x509.random_serial_number())
        made = made.not_valid_before(now - timedelta(hours=1))
        return made.not_valid_after(now + timedelta(days=1))

    authority = builder(authority_name, authority_key.public_key())
    authority = authority.add_extension(x509.BasicConstraints(True, None), critical=True)
    leaf_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAMES[0])])
    names = x509.SubjectAlternativeName([x509.DNSName(name) for name in NAMES])
    leaf = builder(leaf_name, key.public_key()).add_extension(names, critical=False)
    pem = serialization.Encoding.PEM
    bundle = folder / "company.pem"
    signed = authority.sign(authority_key, hashes.SHA256())
    bundle.write_bytes(signed.public_bytes(pem))
    served = folder / "served.pem"
    plain = serialization.NoEncryption()
    own = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    served.write_bytes(leaf.sign(authority_key, hashes.SHA256()).public_bytes(pem) + own)
    return bundle, served


class Answers(BaseHTTPRequestHandler):
    """An account without pods, and a bucket with one file; a CONNECT is answered by itself."""

    server: Proxy
    timeout = 10

    def do_CONNECT(self) -> None:
        self.send_response(200)
        self.end_headers()
        opened = self.server.context.wrap_socket(self.connection, server_side=True)
        self.rfile = opened.makefile("rb")
        self.wfile = opened.makefile("wb", buffering=0)  # type: ignore[assignment]
        self.handle_one_request()

    def do_GET(self) -> None:
        body = json.dumps({"pods": []}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "7")
        self.send_header("ETag", '"0"')
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


class Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, served: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(served)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """Who does not trust it breaks the handshake off."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificates(tmp_path_factory.mktemp("company"))


@pytest.fixture
def company(certificates: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine whose every request goes through the proxy; the file with the authority."""
    proxy = Proxy(certificates[1])
    for name in ("REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.server_port}")
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    yield certificates[0]
    proxy.shutdown()
    proxy.server_close()


def client() -> RunpodClient:
    return RunpodClient(
        bounded_session(),
        "https://api.example.test/v2",
        Secret("rpa_key"),
        clock=lambda: 0.0,
        sleep=lambda _: None,
        backoff=lambda _: 0.0,
        say=print,
    )


def test_the_api_and_s3_are_reached_where_the_machine_trusts_the_companys_authority(
    company: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(company))
    assert client().list_pods() == []
    found = Bucket(access("https://s3.example.test"), "models").find("a.txt")
    assert found
    assert found.size == 7


@pytest.mark.usefixtures("company")
def test_a_machine_that_does_not_trust_it_is_told_and_sends_no_key() -> None:
    with pytest.raises(ApiError) as refused:
        client().list_pods()
    assert "rpa_key" not in str(refused.value)
    with pytest.raises(S3Failed, match="SSLError"):
        Bucket(access("https://s3.example.test"), "models").find("a.txt")


def test_the_scripts_trust_what_ssl_cert_file_names(
    clone: Clone, certificates: tuple[Path, Path]
) -> None:
    assert clone.run("podkit.sh", "--version").returncode == 0
    server = Proxy(certificates[1])
    server.socket = server.context.wrap_socket(server.socket, server_side=True)
    env = {
        "RUNPOD_API_URL": f"https://localhost:{server.server_port}/v2",
        "RUNPOD_API_KEY": "rpa_key",
        "SSL_CERT_FILE": str(certificates[0]),
        "NO_PROXY": "localhost",
    }
    listed = clone.run("list_pods.sh", "--json", env=env)
    server.shutdown()
    server.server_close()
    assert listed.returncode == 0, listed.stderr
    assert json.loads(listed.stdout)["pods"] == []
