"""What the world reaches, by the Gateway API: the gateway's API and pages, and the chat page.

The engines, their router and every /metrics are on no route. ingress-nginx was retired in March
2026; nothing here is an Ingress.
"""

from __future__ import annotations

from podkit.export import objects
from podkit.export.gateway import PORT as GATEWAY_PORT
from podkit.export.objects import Object
from podkit.export.page import PORT as PAGE_PORT
from podkit.export.plan import EDGE, NAMESPACE, Plan
from podkit.export.vault import CERTIFICATE_READER, CERTIFICATES, certificate_reader

GATEWAY = "podkit"
ISSUER = "lets-encrypt"
LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
FOR_ADMINS = ("/admin", "/metrics")
"""Paths of the gateway that the world does not reach; `kubectl port-forward` does."""


def edge_namespace() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": EDGE, "labels": objects.labels("edge")},
    }


def listener(plan: Plan, name: str, host: str) -> Object:
    """HTTPS for one host. Its certificate is in Key Vault on AKS, else in a Secret."""
    tls: Object = {"mode": "Terminate"}
    if plan.azure and plan.vault_has_certificates:
        uri = f"https://{plan.azure.vault}.vault.azure.net/certificates/{CERTIFICATES[name]}"
        tls["options"] = {
            "kubernetes.azure.com/tls-cert-keyvault-uri": uri,
            "kubernetes.azure.com/tls-cert-service-account": CERTIFICATE_READER,
        }
    else:
        tls["certificateRefs"] = [{"kind": "Secret", "name": f"tls-{name}"}]
    own = {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}
    return {
        "name": name,
        "hostname": host,
        "port": 443,
        "protocol": "HTTPS",
        "tls": tls,
        "allowedRoutes": {"namespaces": {"from": "Selector", "selector": own}},
    }


def challenges() -> Object:
    """HTTP for cert-manager's own routes, which stand beside the Gateway while it proves a host."""
    return {
        "name": "challenges",
        "port": 80,
        "protocol": "HTTP",
        "allowedRoutes": {"namespaces": {"from": "Same"}},
    }


def issuer() -> Object:
    """Let's Encrypt, which asks by HTTP for a file that cert-manager serves for a minute."""
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": GATEWAY}
    solver = {"http01": {"gatewayHTTPRoute": {"parentRefs": [{**parent, "namespace": EDGE}]}}}
    return {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Issuer",
        "metadata": objects.metadata(ISSUER, "edge", namespace=EDGE),
        "spec": {
            "acme": {
                "server": LETS_ENCRYPT,
                "privateKeySecretRef": {"name": f"{ISSUER}-account"},
                "solvers": [solver],
            }
        },
    }


def route(name: str, host: str, rules: list[Object]) -> Object:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": objects.metadata(name, "edge"),
        "spec": {
            "parentRefs": [{"name": GATEWAY, "namespace": EDGE, "sectionName": name}],
            "hostnames": [host],
            "rules": rules,
        },
    }


def rule(path: str, service: str, port: int) -> Object:
    """Without a time-out: an answer is streamed as long as it is written."""
    return {
        "matches": [{"path": {"type": "PathPrefix", "value": path}}],
        "backendRefs": [{"name": service, "port": port}],
        "timeouts": {"request": "0s"},
    }


def closed_path(path: str) -> Object:
    """A path that leads nowhere: without a backend the answer is 500 (Gateway API 1.6.1)."""
    return {"matches": [{"path": {"type": "PathPrefix", "value": path}}]}


def route_objects(plan: Plan) -> list[Object]:
    hosts = {"api": plan.host, "page": plan.page_host}
    edge: Object = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": objects.metadata(GATEWAY, "edge", namespace=EDGE),
        "spec": {
            "gatewayClassName": plan.gateway_class,
            "listeners": [listener(plan, name, host) for name, host in hosts.items()],
        },
    }
    api = [rule("/", "gateway", GATEWAY_PORT)]
    for path in FOR_ADMINS:
        api.append(closed_path(path))
    found = [
        edge,
        route("api", plan.host, api),
        route("page", plan.page_host, [rule("/", "page", PAGE_PORT)]),
    ]
    if plan.tls == "cert-manager":
        edge["metadata"]["annotations"] = {"cert-manager.io/issuer": ISSUER}
        edge["spec"]["listeners"].append(challenges())
        found.insert(0, issuer())
    elif plan.azure:
        found.insert(0, certificate_reader(plan.azure))
    return found
