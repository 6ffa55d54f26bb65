"""Prints what Helm's own engine makes of a chart: `render_chart.py CHART VALUES RELEASE NAMESPACE`.

Runs in an environment with helm-sdkpy, which has no `template`: it installs, into an
API server that is a few answers long and keeps nothing.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

KINDS = {
    "v1": {
        "ConfigMap": "configmaps",
        "Namespace": "namespaces",
        "PersistentVolumeClaim": "persistentvolumeclaims",
        "Secret": "secrets",
        "Service": "services",
        "ServiceAccount": "serviceaccounts",
    },
    "apps/v1": {"Deployment": "deployments"},
    "policy/v1": {"PodDisruptionBudget": "poddisruptionbudgets"},
    "rbac.authorization.k8s.io/v1": {"Role": "roles", "RoleBinding": "rolebindings"},
    "apiextensions.k8s.io/v1": {"CustomResourceDefinition": "customresourcedefinitions"},
}
NOT_OF_A_NAMESPACE = ("Namespace", "CustomResourceDefinition")
RELEASE = re.compile(rb"sh\.helm\.release\.v1\.[\w.-]+?\.v\d+")


def groups() -> dict[str, Any]:
    found = []
    for version in KINDS:
        group, slash, name = version.partition("/")
        if slash:
            one = {"groupVersion": version, "version": name}
            found.append({"name": group, "versions": [one], "preferredVersion": one})
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def resources(version: str) -> dict[str, Any]:
    found = []
    for kind, plural in KINDS[version].items():
        found.append(
            {
                "name": plural,
                "singularName": kind.lower(),
                "namespaced": kind not in NOT_OF_A_NAMESPACE,
                "kind": kind,
                "verbs": ["create", "get", "list", "patch", "update", "delete"],
            }
        )
    return {"kind": "APIResourceList", "groupVersion": version, "resources": found}


ANSWERS: dict[str, Any] = {
    "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": groups(),
    "/api/v1": resources("v1"),
    **{f"/apis/{version}": resources(version) for version in KINDS if "/" in version},
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path in ANSWERS:
            self._answer(200, ANSWERS[path])
        elif path.endswith("/secrets"):
            self._answer(200, {"kind": "SecretList", "apiVersion": "v1", "items": []})
        else:
            gone = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
            self._answer(404, {**gone, "reason": "NotFound", "code": 404})

    def do_POST(self) -> None:
        """Takes everything; Helm's own record comes as protobuf, of which the name is enough."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            self._answer(201, json.loads(body))
        except ValueError:
            name = RELEASE.search(body)
            metadata = {"name": name[0].decode() if name else "unnamed"}
            self._answer(201, {"kind": "Secret", "apiVersion": "v1", "metadata": metadata})

    do_PUT = do_POST
    do_PATCH = do_POST

    def _answer(self, status: int, answer: Any) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing: standard output is the manifest."""


def kubeconfig(port: int) -> str:
    cluster = {"name": "stub", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    context = {"name": "stub", "context": {"cluster": "stub", "user": "stub"}}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [cluster],
            "contexts": [context],
            "current-context": "stub",
            "users": [{"name": "stub", "user": {}}],
        }
    )


def main() -> None:
    import helm_sdkpy  # type: ignore[import-not-found]

    chart, values, release, namespace = sys.argv[1:]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    told = json.loads(Path(values).read_text(encoding="utf-8"))
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(kubeconfig(server.server_port))
        file.flush()
        install = helm_sdkpy.Install(helm_sdkpy.Configuration(namespace, file.name))
        result = asyncio.run(install.run(release, chart, told, wait=False))
    print(result["manifest"])


if __name__ == "__main__":
    main()
