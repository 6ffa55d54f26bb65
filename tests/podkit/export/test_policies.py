"""Who may reach whom, read from the NetworkPolicies as a cluster reads them: both sides have to
allow it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import pytest

from tests.podkit.export.exports import of_kind

Tree = dict[str, str]
Labels = dict[str, str]
PEOPLE = "namespace podkit-edge"
PROMETHEUS = "namespace kube-system"
INTERNET = "8.8.8.8"
DATABASE = "10.226.16.4"
OPEN = {
    (PEOPLE, "gateway", 8080),
    (PEOPLE, "page", 8080),
    ("page", "gateway", 8080),
    ("smoke", "gateway", 8080),
    ("gateway", "redis", 6379),
    ("gateway", DATABASE, 5432),
    ("backup", DATABASE, 5432),
    ("gateway", "router", 8000),
    ("router", "engine", 8000),
    ("router", INTERNET, 443),
    ("router", DATABASE, 443),
    ("router", INTERNET, 6443),
    ("router", DATABASE, 6443),
    ("fetch", INTERNET, 443),
    ("fetch", DATABASE, 443),
    (PROMETHEUS, "gateway", 9100),
    (PROMETHEUS, "engine", 8000),
    (PROMETHEUS, "router", 8000),
}
"""All that is open. An address of the cluster's own API is not known before: so the router may
speak to any on its two ports.
"""
PARTS = (
    "gateway",
    "page",
    "redis",
    "engine",
    "router",
    "fetch",
    "smoke",
    "ocr",
    "backup",
    "stranger",
)
OUTSIDE = (PEOPLE, PROMETHEUS, "namespace default", INTERNET, DATABASE)
PORTS = (53, 443, 5432, 6379, 6443, 8000, 8080, 9000, 9100)


def labels_of(part: str) -> Labels:
    return {"podkit.dev/part": part}


def selects(selector: dict[str, Any], labels: Labels) -> bool:
    """Whether a selector takes these labels; an empty one takes all."""
    for name, value in selector.get("matchLabels", {}).items():
        if labels.get(name) != value:
            return False
    for wanted in selector.get("matchExpressions", []):
        assert wanted["operator"] == "Exists"
        if wanted["key"] not in labels:
            return False
    return True


def is_peer(peer: dict[str, Any], who: str) -> bool:
    """Whether one side of a rule is this part, namespace or address."""
    if "ipBlock" in peer:
        if not who[0].isdigit():
            return False
        return ipaddress.ip_address(who) in ipaddress.ip_network(peer["ipBlock"]["cidr"])
    if "namespaceSelector" in peer:
        name = who.removeprefix("namespace ")
        labels = {"kubernetes.io/metadata.name": name}
        return (
            name != who and "podSelector" not in peer and selects(peer["namespaceSelector"], labels)
        )
    return who in PARTS and selects(peer["podSelector"], labels_of(who))


def allows(policies: list[Any], side: str, part: str, other: str, port: int) -> bool:
    """Whether the policies of a part let it speak with another; one that none selects may all."""
    if part not in PARTS:
        return True
    mine = [one["spec"] for one in policies if selects(one["spec"]["podSelector"], labels_of(part))]
    mine = [one for one in mine if side.title() in one["policyTypes"]]
    if not mine:
        return True
    way = {"ingress": "from", "egress": "to"}[side]
    for policy in mine:
        for rule in policy.get(side, []):
            ports = [one["port"] for one in rule["ports"]]
            if port in ports and any(is_peer(peer, other) for peer in rule[way]):
                return True
    return False


def open_ways(tree: Tree) -> set[tuple[str, str, int]]:
    policies = list(of_kind(tree, "NetworkPolicy").values())
    found = set()
    for source in (*PARTS, *OUTSIDE):
        for target in (*PARTS, *OUTSIDE):
            if source == target or (source in OUTSIDE and target in OUTSIDE):
                continue
            for port in PORTS:
                out = allows(policies, "egress", source, target, port)
                if out and allows(policies, "ingress", target, source, port):
                    found.add((source, target, port))
    return found


def test_exactly_this_is_open(tree_of: Callable[[str], Tree]) -> None:
    assert open_ways(tree_of("aks-production-stack")) == OPEN


def test_without_a_router_the_gateway_alone_reaches_the_engines(
    tree_of: Callable[[str], Tree],
) -> None:
    ways = open_ways(tree_of("kubernetes-plain"))
    assert {source for source, target, _ in ways if target == "engine"} == {"gateway"}
    assert not [way for way in ways if "router" in way]


def test_the_engines_and_the_fleet_reach_nobody(tree_of: Callable[[str], Tree]) -> None:
    ways = open_ways(tree_of("aks-production-stack"))
    for part in ("engine", "ocr", "redis", "stranger"):
        assert not [way for way in ways if way[0] == part]


@pytest.mark.parametrize("hole", ["engine", "router", "redis"])
def test_the_table_shows_a_policy_that_is_missing(
    hole: str, tree_of: Callable[[str], Tree]
) -> None:
    """The test of the test: without the policies of a part it says so."""
    policies = of_kind(tree_of("aks-production-stack"), "NetworkPolicy")
    kept = [one for name, one in policies.items() if name not in (hole, "nothing")]
    assert allows(kept, "ingress", hole, "stranger", 8000)


def test_nothing_that_the_world_reaches_leads_to_an_engine(tree: Tree) -> None:
    for route in of_kind(tree, "HTTPRoute").values():
        for rule in route["spec"]["rules"]:
            for backend in rule.get("backendRefs", []):
                assert backend["name"] in {"gateway", "page"}
            path = rule["matches"][0]["path"]["value"]
            assert bool(rule.get("backendRefs")) == (path == "/")
