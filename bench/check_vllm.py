"""Holds startup/ against the real vLLM of constraints-vllm.txt; needs no GPU,
but 9 GB of disk and a minute.

    python bench/check_vllm.py [VENV]

Each model's exact command line goes through the package's own parser, and so does that of each of
its exports; every route of its app, with every method, through request_guard.py. VENV is an
environment that has the package already; without it one is made and removed.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

STARTUP = Path(__file__).resolve().parents[1] / "startup"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
KEY = "Sk-Podkit-0123456789abcdef"
LOGIN = {
    "WEBUI_ADMIN_EMAIL": "admin@podkit.local",
    "WEBUI_ADMIN_PASSWORD": "password",
    "WEBUI_SECRET_KEY": "0f" * 32,
}
REFUSED = {
    "no key": [],
    "wrong key": [b"Bearer nope"],
    "other case": [f"Bearer {KEY.swapcase()}".encode()],
    "trailing byte": [f"Bearer {KEY}x".encode()],
    "trailing space": [f"Bearer {KEY} ".encode()],
    "no scheme": [KEY.encode()],
    "twice": [f"Bearer {KEY}".encode()] * 2,
}


def model_settings(script: Path) -> dict[str, str]:
    """What a model's script exports: it is run with an `exec` that prints the environment."""
    printer = 'exec() { env -0; }; . "$0"'
    output = subprocess.run(
        ["bash", "-c", printer, str(script)], capture_output=True, text=True, check=True
    ).stdout
    return dict(pair.split("=", 1) for pair in output.split("\0") if pair.startswith("MODEL_"))


async def answer(app: Any, kind: str, method: str, path: str, keys: list[bytes]) -> int:
    """The status of one request; 101 for an accepted websocket,
    0 if the handler failed or did not answer.
    """
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if kind == "websocket":
            return {"type": "websocket.connect"}
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"pod"), (b"content-type", b"application/json")]
    headers += [(b"authorization", key) for key in keys]
    scope = {
        "type": kind,
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "headers": headers,
    }
    scope |= {
        "query_string": b"",
        "root_path": "",
        "http_version": "1.1",
        "client": ("10.0.0.1", 1),
        "subprotocols": [],
    }
    scope |= {"server": ("pod", 80), "scheme": {"http": "http", "websocket": "ws"}[kind]}
    try:
        await asyncio.wait_for(app(scope, receive, send), 5)
    except Exception:
        return next((message["status"] for message in sent if "status" in message), 0)
    statuses = {"websocket.close": 403, "websocket.accept": 101}
    return next((message.get("status") or statuses.get(message["type"], 0) for message in sent), 0)


async def walk(app: Any) -> Counter[str]:
    """Sends everything; exits at the first request that is treated wrongly."""
    count: Counter[str] = Counter()
    paths = sorted(
        {getattr(route, "path", "/") for route in app.routes}
        | {"/", "/unknown", "/health/", "//health"}
    )
    for path in paths:
        for kind, method in [("http", method) for method in METHODS] + [("websocket", "GET")]:
            is_open = (kind, method, path) == ("http", "GET", "/health")
            for name, keys in REFUSED.items():
                status = await answer(app, kind, method, path, keys)
                expected = 403 if kind == "websocket" else 401
                assert (status != 401) if is_open else (status == expected), (
                    name,
                    kind,
                    method,
                    path,
                    status,
                )
                count["open" if is_open else name] += 1
            if kind == "http":
                status = await answer(app, kind, method, path, [f"Bearer {KEY}".encode()])
                assert status != 401, ("with the key", method, path)
                count["with the key: through"] += 1
    print(f"{len(paths)} paths: {' '.join(paths)}")
    return count


def parse(words: list[str]) -> Any:
    """What vLLM's own parser makes of a command line; it exits for one that it does not take."""
    from vllm import platforms
    from vllm.platforms.cpu import CpuPlatform

    platforms.current_platform = CpuPlatform()  # the CUDA one wants libcuda
    from vllm.entrypoints.cli.serve import ServeSubcommand
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    print("vllm", *words)
    parser = FlexibleArgumentParser()
    serve = ServeSubcommand()
    serve.subparser_init(parser.add_subparsers(dest="subparser"))
    args = parser.parse_args(words)
    serve.validate(args)
    return args


def inside(name: str) -> None:
    """Runs in vLLM's own environment, for one model."""
    sys.path.insert(0, str(STARTUP))
    from boot.configuration import read_configuration
    from boot.model_server import vllm_command

    configuration = read_configuration(os.environ, STARTUP)
    args = parse(vllm_command(configuration, Path("/workspace/hf_cache/model"))[1:])
    from vllm.entrypoints.launchers.app import build_app

    print(
        f"{name}: parsed; multimodal limits {args.limit_mm_per_prompt}, {args.mm_processor_kwargs}"
    )
    print(f"{name}: {dict(asyncio.run(walk(build_app(args, ('generate',)))))}")


def exported(name: str) -> Iterator[list[str]]:
    """The command lines of a model's exports, for each GPU that it fits; with the flag that the
    chart adds.
    """
    sys.path.insert(0, str(STARTUP.parent))
    from podkit.errors import UsageError
    from podkit.export.engine import read_engine
    from podkit.export.sizes import GPUS

    for gpu in GPUS.values():
        with suppress(UsageError):
            yield [*read_engine(STARTUP, name, gpu).command[1:], "--enable-prefix-caching"]


def main() -> None:
    if sys.argv[1:2] == ["--parse"]:
        parse(sys.argv[2:])
        return
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2])
        return
    with tempfile.TemporaryDirectory() as folder:
        venv = sys.argv[1] if sys.argv[1:] else folder
        python = f"{venv}/bin/python"
        if venv == folder:
            pins = ["--constraints", str(STARTUP / "constraints-vllm.txt"), "vllm==0.32.0"]
            subprocess.run(["uv", "venv", "--python", "3.12", venv], check=True)
            subprocess.run(
                ["uv", "pip", "install", "--quiet", "--python", python, *pins], check=True
            )
        for script in sorted(STARTUP.glob("startup_*.sh")):
            name = script.stem.removeprefix("startup_")
            env = os.environ | model_settings(script) | LOGIN
            env |= {"VLLM_API_KEY": KEY, "PODKIT_API_KEY": KEY, "PODKIT_MODEL": name}
            subprocess.run([python, __file__, "--inside", name], env=env, check=True)
            for words in exported(name):
                subprocess.run([python, __file__, "--parse", *words], check=True)


if __name__ == "__main__":
    main()
