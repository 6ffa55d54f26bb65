"""Who may reach whom inside the cluster: a table, and the NetworkPolicies made of it.

What is not in the table is refused, in both directions. These policies stand where RequestGuard
stands in a pod: an engine's /metrics and its commands ask for no key.
"""

from __future__ import annotations

from dataclasses import dataclass

from podkit.export import gateway, kaito, objects, page
from podkit.export.engine import PORT as ENGINE_PORT
from podkit.export.objects import Object
from podkit.export.plan import EDGE, NAMESPACE, Plan

POSTGRES_PORT = 5432
ANYWHERE = "0.0.0.0/0"


@dataclass(frozen=True)
class Allowed:
    """`source` may reach `target` on these ports. Each is a part of ours, or, with a colon,
    `namespace:NAME` or `network:CIDR`.
    """

    source: str
    target: str
    ports: tuple[int, ...]


def allowed_ways(plan: Plan) -> list[Allowed]:
    """The whole table for this plan."""
    prometheus = f"namespace:{plan.prometheus_namespace}"
    found = [
        Allowed(f"namespace:{EDGE}", "gateway", (gateway.PORT,)),
        Allowed(f"namespace:{EDGE}", "page", (page.PORT,)),
        Allowed("page", "gateway", (gateway.PORT,)),
        Allowed("smoke", "gateway", (gateway.PORT,)),
        Allowed("gateway", "redis", (gateway.REDIS_PORT,)),
        Allowed("gateway", f"network:{plan.database_network}", (POSTGRES_PORT,)),
        Allowed("backup", f"network:{plan.database_network}", (POSTGRES_PORT,)),
        Allowed("fetch", f"network:{ANYWHERE}", (443,)),
        Allowed(prometheus, "gateway", (gateway.METRICS_PORT,)),
        Allowed(prometheus, "engine", (engine_port(plan),)),
    ]
    if plan.has_router:
        found += [
            Allowed("gateway", "router", (ENGINE_PORT,)),
            Allowed("router", "engine", (ENGINE_PORT,)),
            Allowed("router", f"network:{ANYWHERE}", (443, 6443)),  # the cluster's own API
            Allowed(prometheus, "router", (ENGINE_PORT,)),
        ]
    else:
        found.append(Allowed("gateway", "engine", (engine_port(plan),)))
    if plan.engine == "kaito":
        found.append(Allowed("engine", f"network:{ANYWHERE}", (443,)))  # it fetches the checkpoint
    return found


def engine_port(plan: Plan) -> int:
    if plan.engine == "kaito":
        return kaito.POD_PORT
    return ENGINE_PORT


def parts(plan: Plan) -> list[str]:
    """Every part of ours in the namespace."""
    found = ["gateway", "page", "redis", "engine", "fetch", "smoke", "ocr", "backup"]
    if plan.has_router:
        found.append("router")
    return found


def pods_of(plan: Plan, part: str) -> Object:
    """The selector of a part's pods; KAITO labels its own."""
    if part == "engine" and plan.engine == "kaito":
        return {"matchExpressions": [{"key": kaito.CREATED_BY, "operator": "Exists"}]}
    return {"matchLabels": {objects.PART: part}}


def peer(plan: Plan, who: str) -> Object:
    """One side of a line of the table, as a NetworkPolicy has it."""
    kind, colon, value = who.partition(":")
    if not colon:
        return {"podSelector": pods_of(plan, who)}
    if kind == "namespace":
        return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": value}}}
    return {"ipBlock": {"cidr": value}}


def ports_of(numbers: tuple[int, ...], protocol: str = "TCP") -> list[Object]:
    return [{"protocol": protocol, "port": number} for number in numbers]


def names() -> Object:
    """Looking up names, at the cluster's own server."""
    return {
        "to": [
            {
                "namespaceSelector": {
                    "matchLabels": {"kubernetes.io/metadata.name": "kube-system"}
                },
                "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
            }
        ],
        "ports": ports_of((53,), "UDP") + ports_of((53,)),
    }


def policy_of(plan: Plan, part: str) -> Object:
    """What a part is allowed. One that reaches nobody looks up no names either."""
    ingress = []
    egress = []
    for line in allowed_ways(plan):
        if line.target == part:
            ingress.append({"from": [peer(plan, line.source)], "ports": ports_of(line.ports)})
        if line.source == part:
            egress.append({"to": [peer(plan, line.target)], "ports": ports_of(line.ports)})
    if egress:
        egress.append(names())
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": objects.metadata(part, part),
        "spec": {
            "podSelector": pods_of(plan, part),
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
    }


def policy_objects(plan: Plan) -> list[Object]:
    """Nothing for everybody, then each part's own."""
    nothing: Object = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "nothing", "namespace": NAMESPACE},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    }
    return [nothing, *(policy_of(plan, part) for part in parts(plan))]
