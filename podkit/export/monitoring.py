"""What watches: PodMonitors, alert rules and a dashboard, for a Prometheus of the cluster's own or
for Azure's.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from podkit.export import objects
from podkit.export.objects import Object
from podkit.export.plan import Plan

EVERY = "15s"
"""KEDA asks every 10 s: an older figure would keep a request waiting for nothing."""


def monitor(plan: Plan, part: str, port: str) -> Object:
    group = "azmonitoring.coreos.com/v1" if plan.azure else "monitoring.coreos.com/v1"
    return {
        "apiVersion": group,
        "kind": "PodMonitor",
        "metadata": objects.metadata(part, part),
        "spec": {
            "selector": {"matchLabels": {objects.PART: part}},
            "podMetricsEndpoints": [{"port": port, "path": "/metrics", "interval": EVERY}],
        },
    }


def monitor_objects(plan: Plan) -> list[Object]:
    found = [monitor(plan, "gateway", "metrics")]
    if plan.has_router:
        found.append(monitor(plan, "engine", "container-port"))
        found.append(monitor(plan, "router", "router-port"))
    elif plan.engine == "plain":
        found.append(monitor(plan, "engine", "http"))
    return found


def alert_rules(root: Path, own: str) -> Object:
    """The gateway's rules and the cluster's own, as Prometheus reads them."""
    gateway = (root / "docs/gateway-alerts.yml").read_text(encoding="utf-8")
    groups = []
    for text in (gateway, own):
        groups += yaml.safe_load(text)["groups"]
    return {"groups": groups}


def rule_object(rules: Object) -> Object:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": objects.metadata("podkit", "gateway"),
        "spec": rules,
    }


def dashboard(root: Path) -> Object:
    """The gateway's dashboard, as Grafana's sidecar finds it."""
    text = (root / "docs/gateway-dashboard.json").read_text(encoding="utf-8")
    found = objects.config_map("gateway-dashboard", "gateway", {"podkit-gateway.json": text})
    found["metadata"]["labels"]["grafana_dashboard"] = "1"
    return found
