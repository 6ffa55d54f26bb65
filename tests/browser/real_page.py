"""The real Open WebUI on pods of a sandbox: what the tests of this folder do with it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import requests
from playwright.sync_api import Page

from tests.clones import Clone
from tests.pod_processes import processes_of

MAC_CHROME = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
CANDIDATES = (os.environ.get("CHROME", ""), "chromium", "google-chrome", MAC_CHROME)
ANSWER_MS = 90_000
DEPLOY_SECONDS = 900
"""1.3 GB are installed and the page starts twice: a minute, and many on a busy machine."""
INSTALL_ONCE = """\
#!/bin/bash
# uv, but that the environment of Open WebUI is installed once and then copied.
set -euo pipefail
venv=''
for word; do
  case $word in */venv-webui/bin/python) venv=${{word%/bin/python}} ;; esac
done
if [[ -z $venv ]]; then
  exec {uv} "$@"
elif [[ -d {kept} ]]; then
  rm -rf "$venv"
  cp -al {kept} "$venv" 2>/dev/null || cp -R {kept} "$venv"
else
  {uv} "$@"
  cp -al "$venv" {kept} 2>/dev/null || cp -R "$venv" {kept}
fi
mv "$venv/bin/python" "$venv/bin/recorded"
printf '#!/bin/bash\\nexec %s "%s" "$@"\\n' {recorder} "$venv/bin/recorded" >"$venv/bin/python"
chmod +x "$venv/bin/python"
"""
"""A copy is told where it is by its folder alone, as only its Python is run."""
STRACE = (
    *("strace", "--seccomp-bpf", "-f", "-ff", "-qq", "-e", "signal=none"),
    *("-e", "trace=connect,sendto,sendmsg,sendmmsg"),
)
ADDRESS = re.compile(
    r'sa_family=AF_INET6?, sin6?_port=htons\((\d+)\).*?inet_(?:addr|pton)\((?:AF_INET6, )?"([^"]+)"'
)


def browser() -> str:
    """The path of a Chromium, or nothing."""
    for name in CANDIDATES:
        found = shutil.which(name)
        if found:
            return found
    return ""


def install_open_webui_once(clone: Clone, kept: Path, record: Path) -> None:
    """Has the clone's sandbox copy Open WebUI from `kept` once it is there, and the kernel's record
    of every address that its processes call go to `record` and their process ids.
    """
    uv = clone.root / ".venv/bin/uv"
    real = uv.with_name("uv-itself")
    uv.rename(real)
    recorder = ["env"]
    if shutil.which("strace"):
        recorder = [*STRACE, "-o", str(record)]
    words = {
        "uv": shlex.quote(str(real)),
        "kept": shlex.quote(str(kept)),
        "recorder": shlex.quote(shlex.join(recorder)),
    }
    uv.write_text(INSTALL_ONCE.format(**words))
    uv.chmod(0o755)


def called(record: Path) -> set[tuple[str, int]]:
    """The addresses and ports that the recorded processes tried to reach."""
    found = set()
    for file in record.parent.glob(f"{record.name}.*"):
        for port, address in ADDRESS.findall(file.read_text(errors="replace")):
            found.add((address, int(port)))
    return found


@dataclass(frozen=True)
class Served:
    """A pod's chat page. `log` is what the pod has logged."""

    url: str
    email: str
    password: str
    pod: str
    log: Path

    def sign_in(self, password: str = "") -> requests.Response:
        """The page's answer to a sign-in without a browser."""
        body = {"email": self.email, "password": password or self.password}
        return requests.post(f"{self.url}/api/v1/auths/signin", json=body, timeout=20)

    @cached_property
    def token(self) -> str:
        """The admin's, who signs in once for all tests: the page allows few sign-ins."""
        return str(self.sign_in().json()["token"])

    def admin(self) -> requests.Session:
        """A session that is signed in; a connection a request, as Open WebUI closes the one of an
        answer 500 while the next request may be on its way.
        """
        session = requests.Session()
        session.headers["Connection"] = "close"
        session.headers["Authorization"] = f"Bearer {self.token}"
        return session


class RealPage:
    """A sandbox with the real Open WebUI, and the pod that serves it at the moment."""

    def __init__(self, clone: Clone, record: Path) -> None:
        self.clone = clone
        self.record = record
        self.model_ports: set[int] = set()
        self._served: Served | None = None

    def served(self) -> Served:
        return self._served or self._deploy()

    def deploy_with(self, password: str) -> Served:
        """Ends the pod and serves the page from another, with this password."""
        stopped = self.clone.run("stop_pod.sh", "--all", "--yes", "--sandbox")
        assert stopped.returncode == 0, stopped.stderr
        settings = self.clone.root / ".podkit/sandbox/secrets.env"
        old = secret(self.clone, "WEBUI_ADMIN_PASSWORD")
        settings.write_text(settings.read_text().replace(old, password))
        return self._deploy()

    def _deploy(self) -> Served:
        self._served = deploy(self.clone)
        for process in processes_of(self._served.pod):
            with suppress(psutil.NoSuchProcess):  # it has just ended
                port = process.environ().get("PODKIT_API_PORT", "")
                if port:
                    self.model_ports.add(int(port))
        return self._served


def deploy(clone: Clone) -> Served:
    done = clone.run("deploy_olmocr.sh", "--sandbox", "--json", seconds=DEPLOY_SECONDS)
    assert done.returncode == 0, done.stderr
    return served_by(clone, json.loads(done.stdout.splitlines()[-1]))


def served_by(clone: Clone, told: dict[str, Any]) -> Served:
    """The page of a deploy, from what its --json told."""
    pod = told["pod"]["id"]
    return Served(
        url=told["webui_url"],
        email=secret(clone, "WEBUI_ADMIN_EMAIL") or "admin@podkit.local",
        password=secret(clone, "WEBUI_ADMIN_PASSWORD"),
        pod=pod,
        log=clone.root / f".podkit/sandbox/logs/{pod}.log",
    )


def secret(clone: Clone, name: str) -> str:
    """One of the settings that the sandbox has made for itself; empty if it has not."""
    for line in (clone.root / ".podkit/sandbox/secrets.env").read_text().splitlines():
        found, _, value = line.partition("=")
        if found == name:
            return value
    return ""


def sign_in(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/auth", wait_until="domcontentloaded", timeout=ANSWER_MS)
    page.fill("input[type=email]", served.email, timeout=ANSWER_MS)
    page.fill("input[type=password]", served.password)
    page.press("input[type=password]", "Enter")
    page.wait_for_selector("#chat-input", timeout=ANSWER_MS)
    welcome = page.get_by_role("button", name="Okay, Let's Go!")
    page.add_locator_handler(welcome, welcome.click)  # whenever it comes up
