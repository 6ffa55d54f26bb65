"""Open WebUI in front of the model. It must never be public before its login is proven."""

import json
import os
import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from chats import DATABASE, Chats, known_schemas
from pod_http import request

from boot.configuration import Configuration
from boot.failures import Fatal
from boot.packages import install
from boot.services import Service, Services

WITHOUT_LOGIN = ("/usr/bin/env", "-u", "WEBUI_ADMIN_EMAIL", "-u", "WEBUI_ADMIN_PASSWORD")
"""Before a command: the page that strangers reach does not hold the login, of which its database
has a hash.
"""
Ask = Callable[..., tuple[int, str]]
"""`pod_http.request`, or what stands for it in a test."""


def serve_page(
    services: Services,
    configuration: Configuration,
    chats: Chats,
    ask: Ask = request,
) -> Service:
    """Open WebUI, public. Raises Fatal, with it ended, unless the admin gets in and nobody else
    can.

    It is proven on a port of its own, which nothing outside is led to, then started again on the
    public one. That is another process: the sign-in here does not count for its limit of 15 in
    3 minutes.
    """
    overrides = str(configuration.startup / "webui-overrides.txt")
    binaries = install(services, configuration, "webui", "--override", overrides)
    python = str(binaries / "python")
    chats.restore(time.time(), known_schemas(binaries.parent))
    if (chats.data / DATABASE).exists():
        login = str(configuration.startup / "page_login.py")
        services.run("webui", [python, "-P", login])
    # -P: else the pod's own modules, such as watchdog, would hide Open WebUI's of that name.
    serve = [python, "-P", str(configuration.startup / "page_server.py")]

    port = _free_port()
    service = services.start("webui", [*serve, "127.0.0.1", str(port)])
    service.wait_until_healthy(port, services.closing)
    failed = failed_proofs(f"http://127.0.0.1:{port}/api", configuration, ask)
    service.stop(5)
    if failed:
        reason = f"Open WebUI is not safe to show: {', '.join(failed)}"
        raise Fatal(reason, "read its lines above; deploy again")

    port = configuration.webui_port
    public = [*WITHOUT_LOGIN, *serve, configuration.webui_host, str(port)]
    service = services.start("webui", public)
    service.wait_until_healthy(port, services.closing)
    chats.live = True
    return service


def failed_proofs(base: str, configuration: Configuration, ask: Ask) -> list[str]:
    """What is wrong with the login of the page at `base`; empty if the admin gets in and nobody
    else can.
    """
    admin = {"email": configuration.admin_email, "password": configuration.admin_password}
    stranger = {"name": "x", "email": "stranger@podkit.local", "password": os.urandom(8).hex()}
    failed = []
    if ask(f"{base}/v1/auths/signin", admin)[0] != 200:
        failed.append("the admin cannot sign in")
    if not _has_an_admin(*ask(f"{base}/config")):
        failed.append("the first visitor could become admin")
    if ask(f"{base}/v1/auths/signup", stranger)[0] != 403:
        failed.append("a stranger can sign up")
    return failed


def _has_an_admin(status: int, config: str) -> bool:
    """False too if the page does not say: then it is not proven."""
    if status != 200:
        return False
    told: dict[str, Any] = json.loads(config)
    return told.get("onboarding") is not True


def _free_port() -> int:
    """One below those that the system gives to whoever asks for any, as vLLM does meanwhile."""
    while True:
        port = random.randrange(10_000, 30_000)  # noqa: S311 - no secret
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
