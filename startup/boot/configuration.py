"""What the pod was told: read once, in main, from its environment. Nothing else in the boot reads
the environment.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

from boot.failures import Fatal
from boot.fit import Needs

DEFAULTS = {
    "PODKIT_LOCAL": "/opt/podkit",
    "PODKIT_VOLUME": "/workspace",
    "PODKIT_MIN_FREE_GIB": "14",
    "PODKIT_API_PORT": "8000",
    "PODKIT_WEBUI_PORT": "3000",
    "PODKIT_WEBUI_URL": "https://{pod_id}-{port}.proxy.runpod.net",
    "RUNPOD_POD_ID": "unknown",
    "HF_TOKEN": "",
    "PODKIT_CORS_ORIGINS": "",
    "PODKIT_HASHES": "UV_REQUIRE_HASHES",
    "MODEL_SOURCES": "volume hf",
    "MODEL_VLLM_FLAGS": "",
    "PODKIT_MODEL_BUCKET": "",
    "PODKIT_S3_URL": "",
    "PODKIT_S3_REGION": "",
    "PODKIT_S3_ACCESS_KEY": "",
    "PODKIT_S3_SECRET_KEY": "",
    "PODKIT_S3_SESSION_TOKEN": "",
    "PODKIT_WORKSPACE": "",
}
"""What an older podkit, a model without flags of its own, or a test does not set. Only the sandbox
sets PODKIT_HASHES, to UV_NO_VERIFY_HASHES: they are of wheels for a pod, and its real Open WebUI
runs on any laptop.
"""
PUBLIC_WEBUI_PORT = "3000"
"""The port that podkit has the provider lead to the chat page, wherever that listens."""
LOGIN = ("PODKIT_API_KEY", "WEBUI_ADMIN_EMAIL", "WEBUI_ADMIN_PASSWORD", "WEBUI_SECRET_KEY")
MODEL = (
    "PODKIT_MODEL",
    "MODEL_REPO",
    "MODEL_REVISION",
    "MODEL_SERVED_NAMES",
    "MODEL_MAX_LEN",
    "MODEL_GPU_UTILIZATION",
    "MODEL_WEIGHTS_GIB",
    "MODEL_KV_BYTES_PER_TOKEN",
    "MODEL_PROBE",
)
SOURCES = ("volume", "s3", "hf")
HIDDEN = re.compile(
    r"WEBUI_|.*(KEY|TOKEN|SECRET|PASSWORD)|(HF_HUB_ENABLE_HF_TRANSFER|VIRTUAL_ENV|STARTUP_B64)$"
)
"""What no program gets but by its own <name>.env."""


@dataclass(frozen=True)
class Model:
    """What the model's script declares: the checkpoint, the names that clients ask for, and its
    needs of a GPU.
    """

    name: str
    repo: str
    revision: str
    served_names: list[str]
    needs: Needs
    flags: str
    sees_images: bool
    sources: list[str]

    @property
    def folder_name(self) -> str:
        return f"{self.repo.replace('/', '--')}@{self.revision}"


@dataclass(frozen=True)
class Configuration:
    """The pod's settings.

    `startup` is the folder of this archive, `local` is on the container's own disk, `volume` is the
    network volume. `webui_origin` is the chat page's public scheme, host and port. `environment` is
    what the pod was given, and holds secrets. `workspace` is what a pod reads by itself, which has
    no chat page: `s3://bucket/folder`, or `volume/NAME`; empty for all others.
    """

    environment: Mapping[str, str] = field(repr=False)
    startup: Path
    local: Path
    volume: Path
    pod: str
    volume_id: str
    data_center: str
    api_port: int
    webui_port: int
    webui_origin: str
    min_free_gib: float
    forced: bool
    api_key: str = field(repr=False)
    admin_email: str
    admin_password: str = field(repr=False)
    bucket: str
    workspace: str
    model: Model

    @property
    def webui_host(self) -> str:
        """The address that the chat page listens on: this machine's own where its URL is that."""
        local = urlsplit(self.webui_origin).hostname == "127.0.0.1"
        return "127.0.0.1" if local else "0.0.0.0"  # noqa: S104 - through the provider's proxy

    def expand(self, file: str) -> str:
        """A text file of startup/ with its $NAMEs replaced by the pod's settings."""
        names = {
            **self.environment,
            "PODKIT_STARTUP": str(self.startup),
            "MODEL_CLIENT_NAME": self.model.served_names[0],
            "WEBUI_ORIGIN": self.webui_origin,
            "WEBUI_SOCKET_ORIGIN": self.webui_origin.replace("http", "ws", 1),
            "WEBUI_IS_HTTPS": str(self.webui_origin.startswith("https:")).lower(),
        }
        return Template((self.startup / file).read_text()).substitute(names)

    def program_environment(self, program: str) -> dict[str, str]:
        """A program's environment: ours without any secret, and the lines of <program>.env."""
        environment = {}
        for name, value in self.environment.items():
            if not HIDDEN.match(name):
                environment[name] = value
        for line in self.expand(f"{program}.env").splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.partition("=")
                environment[name] = value
        return environment


def read_configuration(environment: Mapping[str, str], startup: Path) -> Configuration:
    """The pod's settings as its environment gives them. Raises Fatal naming what is missing or no
    number.
    """
    values = {**DEFAULTS, **environment}
    missing = [name for name in LOGIN + MODEL if not values.get(name)]
    if missing:
        fix = "deploy with podkit, which sets them; MODEL_ ones stand in the model's script"
        raise Fatal(f"{', '.join(missing)} not set", fix)
    try:
        return Configuration(
            environment=values,
            startup=startup,
            local=Path(values["PODKIT_LOCAL"]),
            volume=Path(values["PODKIT_VOLUME"]),
            pod=values["RUNPOD_POD_ID"],
            volume_id=values.get("RUNPOD_VOLUME_ID", ""),
            data_center=values.get("RUNPOD_DC_ID", ""),
            api_port=int(values["PODKIT_API_PORT"]),
            webui_port=int(values["PODKIT_WEBUI_PORT"]),
            webui_origin=read_origin(values),
            min_free_gib=float(values["PODKIT_MIN_FREE_GIB"]),
            forced=values.get("PODKIT_FORCE") == "1",
            api_key=values["PODKIT_API_KEY"],
            admin_email=values["WEBUI_ADMIN_EMAIL"],
            admin_password=values["WEBUI_ADMIN_PASSWORD"],
            bucket=values["PODKIT_MODEL_BUCKET"],
            workspace=values["PODKIT_WORKSPACE"],
            model=read_model(values),
        )
    except ValueError as error:
        raise Fatal(f"a setting is no number: {error}", "correct it and deploy again") from error


def read_origin(values: Mapping[str, str]) -> str:
    """Scheme, host and port of the chat page's public URL, as a browser writes them."""
    named = values["PODKIT_WEBUI_URL"].replace("{pod_id}", values["RUNPOD_POD_ID"])
    url = urlsplit(named.replace("{port}", PUBLIC_WEBUI_PORT))
    return f"{url.scheme}://{url.netloc}".lower()


def read_sources(text: str) -> list[str]:
    """Where the checkpoint is looked for, in order. Raises Fatal for what is no source."""
    sources = text.split()
    unknown = [name for name in sources if name not in SOURCES]
    if unknown or not sources:
        reason = f"MODEL_SOURCES is {text!r}"
        raise Fatal(reason, f"name some of {' '.join(SOURCES)} in the model's script")
    return sources


def read_model(values: Mapping[str, str]) -> Model:
    """The model as its script exported it. Raises ValueError for a number that is none."""
    return Model(
        name=values["PODKIT_MODEL"],
        repo=values["MODEL_REPO"],
        revision=values["MODEL_REVISION"],
        served_names=values["MODEL_SERVED_NAMES"].split(),
        needs=Needs(
            weights_gib=float(values["MODEL_WEIGHTS_GIB"]),
            kv_bytes_per_token=int(values["MODEL_KV_BYTES_PER_TOKEN"]),
            max_len=int(values["MODEL_MAX_LEN"]),
            utilization=float(values["MODEL_GPU_UTILIZATION"]),
        ),
        flags=values["MODEL_VLLM_FLAGS"],
        sees_images=values["MODEL_PROBE"] == "image",
        sources=read_sources(values["MODEL_SOURCES"]),
    )
