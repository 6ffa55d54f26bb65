"""Real S3 servers on this machine: moto's, the provider's limits in front of it, and s3rver."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from podkit.s3 import S3Access
from podkit.secret import Secret
from tests.ports import free_port
from tests.waiting import eventually

LARGEST = 500 * 10**6
S3RVER = "3.7.1"


def access(url: str, key: str = "user_test", word: str = "rps_word", token: str = "") -> S3Access:
    """Keys to a server; moto takes any."""
    return S3Access(url, "EU-RO-1", Secret(key), Secret(word), Secret(token))


def start_moto() -> tuple[Any, str]:
    """moto's server, and its URL."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return server, f"http://{host}:{port}"


class Server:
    """Files straight onto a server, past every door."""

    def __init__(self, url: str) -> None:
        import boto3

        self.url = url
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id="user_test",
            aws_secret_access_key="rps_word",
            region_name="us-east-1",
        )

    def make_bucket(self, name: str) -> None:
        self._client.create_bucket(Bucket=name)

    def put(self, bucket: str, key: str, content: bytes) -> None:
        self._client.put_object(Bucket=bucket, Key=key, Body=content)

    def get(self, bucket: str, key: str) -> bytes:
        return bytes(self._client.get_object(Bucket=bucket, Key=key)["Body"].read())


def start_s3rver(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """s3rver with the bucket `models`, a poor server: no conditional writes, no checksums. Key and
    secret are S3RVER.
    """
    program = s3rver_program()
    if not program:
        pytest.skip(f"s3rver is missing: npm install --prefix .ci/node s3rver@{S3RVER}")
    port = free_port()
    argv = [program, "-a", "127.0.0.1", "-p", str(port), "-d", str(folder), "-s"]
    process = subprocess.Popen([*argv, "--configure-bucket", "models"])

    def answers() -> bool:
        assert process.poll() is None
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        return False

    eventually(answers)
    return process, f"http://127.0.0.1:{port}"


def s3rver_program() -> str:
    """Where s3rver is: S3RVER, or below .ci/node; empty if it is nowhere."""
    installed = Path(__file__).parents[2] / ".ci/node/node_modules/.bin/s3rver"
    return os.environ.get("S3RVER", "") or shutil.which("s3rver", path=str(installed.parent)) or ""


@dataclass
class Fault:
    """What a door does once to a matching request instead of passing it on."""

    method: str
    path: str
    act: str
    times: int = 1


@dataclass
class Asked:
    """A request that came to a door."""

    method: str
    path: str
    headers: dict[str, str] = field(repr=False)
    size: int = 0


class Door(ThreadingHTTPServer):
    """The provider's limits in front of a server: parts and single files of at most 500 MB, no
    DeleteObjects, no calls on buckets, and listings that repeat themselves at first. `faults` break
    requests: `502`, `reset` in the middle of a body, `flip` a byte of it, `404`.
    """

    daemon_threads = True

    def __init__(self, behind: str, bad_listings: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = behind.removeprefix("http://")
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.bad_listings = bad_listings
        self.largest = LARGEST
        self.hides_etags = False
        self.faults: list[Fault] = []
        self.asked: list[Asked] = []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def fault(self, method: str, path: str) -> str:
        for one in self.faults:
            if one.times and one.method == method and re.search(one.path, path):
                one.times -= 1
                return one.act
        return ""


class _Handler(BaseHTTPRequestHandler):
    server: Door
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        size = int(self.headers.get("Content-Length", "0"))
        self.server.asked.append(Asked(self.command, self.path, dict(self.headers), size))
        body = self.rfile.read(size)
        refusal = self._refusal(size)
        if refusal:
            self._answer(refusal, {}, b"<Error><Code>Refused</Code></Error>")
            return
        status, headers, content = self._pass_on(body)
        act = self.server.fault(self.command, self.path)
        acts: dict[str, Callable[[], None]] = {
            "502": lambda: self._answer(502, {}, b""),
            "empty": lambda: self._answer(200, headers, b""),
            "404": lambda: self._answer(404, {}, b"<Error><Code>NoSuchKey</Code></Error>"),
            "reset": lambda: self._reset(status, headers, content),
            "flip": lambda: self._answer(status, headers, bytes([content[0] ^ 1]) + content[1:]),
        }
        acts.get(act, lambda: self._answer(status, headers, content))()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def _refusal(self, size: int) -> int:
        bucket, _, rest = self.path.lstrip("/").partition("/")
        is_listing = "list-type" in self.path
        if size > self.server.largest:
            return 413
        if "?delete" in self.path or (not rest.partition("?")[0] and not is_listing and bucket):
            return 501
        return 0

    def _pass_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        path = re.sub(r"&?continuation-token=t\b", "", self.path)
        connection = http.client.HTTPConnection(self.server.behind, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name != "Connection"}
        connection.request(self.command, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        kept = {name: value for name, value in answer.getheaders() if name != "Transfer-Encoding"}
        connection.close()
        if "list-type" in self.path and self.server.bad_listings:
            self.server.bad_listings -= 1 if "continuation-token" in self.path else 0
            content = _repeating(content)
        if self.server.hides_etags and "ETag" in kept and "partNumber" not in self.path:
            kept["ETag"] = '"0"'
        return answer.status, kept, content

    def _reset(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        length = headers.pop("Content-Length", "") if self.command == "HEAD" else ""
        headers.pop("Content-Length", "")
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


def _repeating(listing: bytes) -> bytes:
    """A listing that says that there is more, with a token that is always the same."""
    text = listing.decode()
    text = re.sub(r"<IsTruncated>\w+</IsTruncated>", "", text)
    text = re.sub(r"<NextContinuationToken>.*?</NextContinuationToken>", "", text)
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
    return text.replace("</ListBucketResult>", f"{more}</ListBucketResult>").encode()


def manifest_of(files: dict[str, bytes], repo: str, revision: str) -> bytes:
    """What podkit-manifest.json of these files has to be, written another way."""
    import hashlib

    listed = []
    for name in sorted(files):
        digest = hashlib.sha256(files[name]).hexdigest()
        listed.append({"path": name, "size": len(files[name]), "sha256": digest})
    told = {"schema": 1, "repo": repo, "revision": revision, "files": listed}
    return json.dumps(told).encode()
