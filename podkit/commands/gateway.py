"""The commands that keep a gateway supplied with pods: its file of backends, a demo on this
machine, its page.

The gateway is a program of its own (podkit_gateway); it is started, never imported.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from podkit.commands.app import App
from podkit.commands.options import command
from podkit.errors import PodkitError, UsageError

if TYPE_CHECKING:
    from podkit.pods.access import Access

PAGE = "http://127.0.0.1:8080"
DEMO_EMAIL = "admin@example.com"
KEYS = "keys"


@dataclass(frozen=True)
class Served:
    """A pod as the gateway will know it."""

    name: str
    where: Access


def plan_file(known: Mapping[str, Any], pods: list[Served]) -> dict[str, Any]:
    """gateway.toml with exactly these pods: prices, fallbacks and backends of others stay as they
    are.

    A model that nothing serves any more is gone from the file.
    """
    from podkit.runpod.types import NAME_PREFIX

    backends: dict[str, Any] = {}
    for name, backend in known.get("backends", {}).items():
        if not name.startswith(NAME_PREFIX):
            backends[name] = backend
    for pod in pods:
        backends[pod.name] = {"url": pod.where.api_url, "key_file": f"{KEYS}/{pod.name}"}
    models: dict[str, Any] = {}
    wanted = dict(known.get("models", {}))
    for pod in pods:
        wanted.setdefault(pod.where.model, {"backends": []})
    for name, model in wanted.items():
        serving = plan_backends(name, model, pods, backends)
        if serving:
            models[name] = {**model, "backends": serving}
    for model in models.values():
        if "fallback" in model:
            model["fallback"] = [other for other in model["fallback"] if other in models]
    return {"models": models, "backends": backends}


def plan_backends(
    name: str, model: Mapping[str, Any], pods: list[Served], backends: Mapping[str, Any]
) -> list[str]:
    """What serves a model: what did and is still there, then the pods that are new."""
    serving = [backend for backend in model.get("backends", []) if backend in backends]
    for pod in pods:
        if pod.where.model == name and pod.name not in serving:
            serving.append(pod.name)
    return serving


def write_toml(document: Mapping[str, Any]) -> str:
    """The document as TOML; a table within a table is written in its line."""
    import json

    lines = ["# Written by ./podkit.sh gateway sync; what it does not know of stays.", ""]
    for group, tables in document.items():
        for name, table in tables.items():
            lines.append(f"[{group}.{json.dumps(name)}]")
            for field, value in table.items():
                lines.append(f"{field} = {write_value(value)}")
            lines.append("")
    return "\n".join(lines)


def write_value(value: Any) -> str:
    import json

    if isinstance(value, dict):
        pairs = (f"{json.dumps(name)} = {write_value(part)}" for name, part in value.items())
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(write_value, value)) + "]"
    return json.dumps(value)


def write_private(path: Path, text: str) -> None:
    """Replaces a file at once, readable by its owner alone."""
    import secrets

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    part.replace(path)


def read_known(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as problem:
        raise UsageError(f"{path}: {problem}", "fix it, or move it away") from None


def list_served(app: App) -> list[Served]:
    """Every live pod of ours whose URL is known."""
    from podkit.pods.access import access

    settings, client = app.connect()
    served = []
    for pod in client.list_pods():
        if not (pod.ours and pod.live):
            continue
        where = access(pod, settings.proxy_url)
        if where.api_url and where.model and where.key.reveal():
            served.append(Served(pod.name, where))
        else:
            app.say(f"{pod.label} has no address yet; sync again when it is ready")
    return served


def sync_folder(app: App, folder: Path) -> list[Served]:
    """Brings the folder's gateway.toml and keys to the pods that live now."""
    from podkit.runpod.types import NAME_PREFIX

    pods = list_served(app)
    path = folder / "gateway.toml"
    document = plan_file(read_known(path), pods)
    for pod in pods:
        write_private(folder / KEYS / pod.name, pod.where.key.reveal() + "\n")
    text = write_toml(document)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_private(path, text)
    names = {pod.name for pod in pods}
    for key in sorted((folder / KEYS).glob(f"{NAME_PREFIX}*")):
        if key.name not in names:
            key.unlink()
    return pods


folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Where gateway.toml is; .podkit/gateway if not given.",
)


@click.group()
def gateway() -> None:
    """Keys, people and limits for a team in front of your pods."""


@command("sync")
@folder_option
def gateway_sync(app: App, folder: Path | None) -> None:
    """Write every live pod into gateway.toml, and remove those that are gone.

    A running gateway takes the file over within a second. Each pod's key goes into a file of its
    own beside it, readable by you alone.

    \b
    Examples:
      ./podkit.sh gateway sync
      ./podkit.sh gateway sync --folder /etc/podkit-gateway
    """
    folder = folder or default_folder(app)
    for pod in sync_folder(app, folder):
        click.echo(f"{pod.where.model}\t{pod.name}")
    app.say(f"wrote {folder / 'gateway.toml'}")


def default_folder(app: App) -> Path:
    return app.root / ".podkit/gateway"


@command("open")
@click.option("--url", default=PAGE, show_default=True)
def gateway_open(_app: App, url: str) -> None:
    """Open the gateway's page in the browser, and print its URL.

    \b
    Examples:
      ./podkit.sh gateway open
      ./podkit.sh gateway open --url https://api.example.com
    """
    import webbrowser

    click.echo(url)
    webbrowser.open(url)


@command("demo")
@click.option("--port", default=8080, show_default=True)
@folder_option
def gateway_demo(app: App, port: int, folder: Path | None) -> None:
    """Serve a gateway on this machine in front of your pods, with a key to try; Ctrl-C ends it.

    With --sandbox it also makes a pod of the sandbox, so that nothing is rented.

    \b
    Examples:
      ./podkit.sh gateway demo --sandbox
    """
    folder = folder or app.root / ".podkit/gateway-demo"
    if "--sandbox" in sys.argv or app.sandbox:
        deploy_in_sandbox(app)
    pods = sync_folder(app, folder)
    if not pods:
        raise PodkitError("there is no pod to serve", "./deploy_olmocr.sh")
    environment = gateway_environment(app, folder, port)
    key = prepare_demo(environment, folder)
    click.echo(f"base_url http://127.0.0.1:{port}/v1")
    click.echo(f"key {key}")
    click.echo(f"page http://127.0.0.1:{port}  ({DEMO_EMAIL}, password in {folder / 'password'})")
    for pod in pods:
        click.echo(f"model {pod.where.model}")
    app.say(f"usage, in another terminal: {usage_command(folder)}")
    click.get_current_context().exit(run_gateway(environment, ["serve"]))


def deploy_in_sandbox(app: App) -> None:
    """Makes or finds the sandbox's pod, as deploy_olmocr.sh does."""
    import subprocess

    words = [sys.executable, "-P", "-m", "podkit", "deploy", "--model", "olmocr", "--sandbox"]
    ended = subprocess.run(words, env=dict(app.environ), stdout=subprocess.DEVNULL, check=False)
    if ended.returncode != 0:
        raise PodkitError("the sandbox's pod was not made", "./deploy_olmocr.sh --sandbox")


def gateway_environment(app: App, folder: Path, port: int) -> dict[str, str]:
    """What podkit-gateway is given: a database of its own in the folder, and this machine alone."""
    passed = {}
    for name in ("HOME", "LANG", "PATH", "TMPDIR"):
        if name in app.environ:
            passed[name] = app.environ[name]
    return {
        **passed,
        "GATEWAY_CONFIG": str(folder / "gateway.toml"),
        "GATEWAY_DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'gateway.db'}",
        "GATEWAY_METRICS_PORT": "0",  # any that is free: nobody reads the demo's
        "GATEWAY_PORT": str(port),
        "GATEWAY_PUBLIC_URL": f"http://127.0.0.1:{port}",
    }


def usage_command(folder: Path) -> str:
    import shlex

    database = f"sqlite+aiosqlite:///{folder / 'gateway.db'}"
    return f"GATEWAY_DATABASE_URL={shlex.quote(database)} .venv/bin/podkit-gateway usage"


def run_gateway(environment: Mapping[str, str], words: list[str]) -> int:
    """Runs podkit-gateway in the foreground; its exit code. However this ends, it is given the time
    to end its answers and to write its usage.
    """
    import subprocess

    running = subprocess.Popen(gateway_words(words), env=dict(environment))
    try:
        return running.wait()
    except KeyboardInterrupt:
        return 130
    finally:
        running.terminate()
        running.wait()


def gateway_words(words: list[str]) -> list[str]:
    return [sys.executable, "-P", "-m", "podkit_gateway", *words]


def prepare_demo(environment: Mapping[str, str], folder: Path) -> str:
    """Migrates the demo's database, makes its admin at the first time, and makes a key."""
    import secrets
    import subprocess

    def ask(words: list[str], text: str = "") -> str:
        ended = subprocess.run(
            gateway_words(words),
            env=dict(environment),
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode != 0:
            raise PodkitError(ended.stderr.strip(), "./podkit.sh gateway demo --folder ANOTHER")
        return ended.stdout.strip()

    ask(["migrate"])
    password = folder / "password"
    if not password.exists():
        write_private(password, secrets.token_urlsafe(12) + "\n")
        text = password.read_text(encoding="utf-8")
        ask(["admin", "create", "--email", DEMO_EMAIL, "--password-stdin"], text)
    label = time.strftime("demo %Y-%m-%d %H:%M", time.gmtime())
    return ask(["keys", "create", "--owner", DEMO_EMAIL, "--label", label, "--days", "7"])


for entry in (gateway_sync, gateway_open, gateway_demo):
    gateway.add_command(entry)
