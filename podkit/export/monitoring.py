"""What watches: PodMonitors, alert rules and a dashboard, for a Prometheus of the cluster's own or
for Azure's.
"""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from podkit.export import objects
from podkit.export.objects import Object
from podkit.export.plan import Plan

EVERY = "15s"
"""KEDA asks every 10 s: an older figure would keep a request waiting for nothing."""
NONE_IS_UP = "GatewayBackendDown"
SEVERITIES = {"page": 1, "warn": 3}
"""Azure's, of 0 (critical) to 4 (verbose), for the severities of the rules."""
MAILED = "[resourceId('Microsoft.Insights/actionGroups', 'podkit')]"
ARM = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"


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


def alert_rules(plan: Plan, root: Path, own: str) -> Object:
    """The gateway's rules and the cluster's own, as Prometheus reads them. Where engines may be at
    zero nobody is told that none is up: it is so every night.
    """
    gateway = (root / "docs/gateway-alerts.yml").read_text(encoding="utf-8")
    groups = []
    for text in (gateway, own):
        groups += yaml.safe_load(text)["groups"]
    if plan.least == 0:
        for group in groups:
            group["rules"] = [rule for rule in group["rules"] if rule["alert"] != NONE_IS_UP]
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


def alert_template(rules: Object) -> str:
    """The same rules for Azure's Prometheus, which takes them as Azure resources; and whom they
    mail. Fields as of API version 2023-03-01.
    """
    receivers = [{"name": "mail", "emailAddress": "[parameters('mail')]"}]
    group: Object = {
        "type": "Microsoft.Insights/actionGroups",
        "apiVersion": "2023-01-01",
        "name": "podkit",
        "location": "Global",
        "properties": {"groupShortName": "podkit", "enabled": True, "emailReceivers": receivers},
    }
    resources = [group]
    for found in rules["groups"]:
        resources.append(
            {
                "type": "Microsoft.AlertsManagement/prometheusRuleGroups",
                "apiVersion": "2023-03-01",
                "name": f"podkit-{found['name']}",
                "location": "[resourceGroup().location]",
                "dependsOn": [MAILED],
                "properties": {
                    "scopes": ["[parameters('workspace')]"],
                    "enabled": True,
                    "interval": "PT1M",
                    "rules": [azure_rule(rule) for rule in found["rules"]],
                },
            }
        )
    parameters = {"workspace": {"type": "string"}, "mail": {"type": "string"}}
    template = {"$schema": ARM, "contentVersion": "1.0.0.0", "parameters": parameters}
    return json.dumps({**template, "resources": resources}, indent=2) + "\n"


def azure_rule(rule: Object) -> Object:
    """A rule of Prometheus in Azure's form: `15m` is PT15M there."""
    return {
        "alert": rule["alert"],
        "expression": rule["expr"].strip(),
        "for": f"PT{rule.get('for', '0m').upper()}",
        "severity": SEVERITIES[rule["labels"]["severity"]],
        "annotations": rule["annotations"],
        "enabled": True,
        "actions": [{"actionGroupId": MAILED}],
    }
