"""Everything that the files of an export are made of, gathered and checked before the first is
written. Pure: no account, no network, no clock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from podkit import __version__
from podkit.errors import UsageError
from podkit.export.engine import Engine
from podkit.export.sizes import Gpu

NAMESPACE = "podkit"
EDGE = "podkit-edge"
"""The namespace of the Gateway, so that what the world reaches is not among what it must not."""
UNKNOWN_ID = "00000000-0000-0000-0000-000000000000"
"""Stands for an id that Azure gives, until the export is made again with it."""
UNKNOWN_URL = "https://unknown.invalid"
HOST = re.compile(r"(?=.{4,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")
NAME = re.compile(r"[a-z][a-z0-9]{2,14}")


@dataclass(frozen=True)
class Azure:
    """What only AKS has. `name` begins the names of registry, vault and cluster; the ids and
    `prometheus_url` are known once the cluster script has run.
    """

    name: str
    location: str
    tenant_id: str = UNKNOWN_ID
    client_id: str = UNKNOWN_ID

    @property
    def vault(self) -> str:
        return f"{self.name}-vault"

    @property
    def registry(self) -> str:
        return f"{self.name}acr"


@dataclass(frozen=True)
class Plan:
    """What is exported, and for which cluster."""

    engines: tuple[Engine, ...]
    engine: str
    gpu: Gpu
    host: str
    page_host: str
    least: int
    most: int
    """Replicas of each engine."""
    registry: str
    """Where the cluster finds the images that are made from this checkout."""
    gateway_class: str
    storage_class: str
    prometheus_url: str
    prometheus_namespace: str
    database_network: str
    """The addresses that PostgreSQL may have."""
    pod_network: str
    """The addresses of pods: whose X-Forwarded-For the gateway believes."""
    tls: str
    """`own`: certificates that somebody brings; `cert-manager`: Let's Encrypt's."""
    command: str
    """The command line that made the export."""
    azure: Azure | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    """Of images, by their tags: what a tag must still mean, `sha256:...`."""

    @property
    def gateway_image(self) -> str:
        return f"{self.registry}/podkit-gateway:{__version__}"

    @property
    def jobs_image(self) -> str:
        return f"{self.registry}/podkit-jobs:{__version__}"

    def image(self, tagged: str) -> str:
        """The image, with its digest if that is known."""
        digest = self.digests.get(tagged)
        return f"{tagged}@{digest}" if digest else tagged

    @property
    def vault_has_certificates(self) -> bool:
        return self.azure is not None and self.tls == "own"

    @property
    def has_router(self) -> bool:
        return self.engine == "production-stack"

    def find_engine(self, name: str) -> Engine | None:
        """The engine of this model, None if it is not exported."""
        for engine in self.engines:
            if engine.name == name:
                return engine
        return None


def parse_replicas(text: str) -> tuple[int, int]:
    """MIN and MAX of `MIN:MAX`. Raises UsageError."""
    match = re.fullmatch(r"(\d{1,3}):(\d{1,3})", text)
    if match:
        least = int(match[1])
        most = int(match[2])
        if least <= most and most >= 1:
            return least, most
    raise UsageError(f"--replicas {text}: no range", "--replicas 0:4")


def check_host(text: str) -> str:
    """The host. Raises UsageError for what is none."""
    if HOST.fullmatch(text):
        return text
    raise UsageError(f"{text!r} is no host name", "--host api.example.org")


def check_name(text: str) -> str:
    """The name. Raises UsageError for one that Azure would refuse."""
    if NAME.fullmatch(text):
        return text
    hint = "3 to 15 letters and digits, such as --name acmeocr"
    raise UsageError(f"--name {text!r}: Azure would refuse it", hint)


def page_of(host: str) -> str:
    """The chat page's host beside that of the API: api.example.org has chat.example.org."""
    first, _, rest = host.partition(".")
    if rest.count(".") and first != "chat":
        return f"chat.{rest}"
    return f"chat.{host}"
