"""Prometheus reads the metrics, every query of the dashboard answers, and every alert fires by its
cause.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import requests

from tests.waiting import eventually

from .process import ROOT, Gateway
from .services import need, prometheus
from .stub import Stub

pytestmark = pytest.mark.slow
RULES = ROOT / "docs/gateway-alerts.yml"
CAUSES = {
    "GatewayBackendDown": {'gateway_backend_up{backend="a"}': "0x30"},
    "GatewayErrors": {
        'gateway_requests_total{code="200"}': "0+90x60",
        'gateway_requests_total{code="502"}': "0+10x60",
    },
    "GatewaySlowFirstByte": {
        'gateway_time_to_first_byte_seconds_bucket{model="a",le="10"}': "0+1x60",
        'gateway_time_to_first_byte_seconds_bucket{model="a",le="30"}': "0+10x60",
        'gateway_time_to_first_byte_seconds_bucket{model="a",le="+Inf"}': "0+10x60",
    },
    "GatewayUsageLost": {"gateway_usage_lost_total": "0+1x60"},
    "GatewayQuotaRefusalsDoubled": {
        'gateway_rejected_total{reason="insufficient_quota"}': "0+1x1440 1440+9x120"
    },
    "GatewayLimitsFail": {"gateway_limits_failed_total": "0+1x60"},
    "GatewayCertificateEnds": {
        "gateway_certificate_expires_timestamp_seconds": "864000x60",
    },
    "GatewayBackupOld": {"gateway_backup_timestamp_seconds": "1x1800"},
}
AT = {"GatewayQuotaRefusalsDoubled": "26h", "GatewayBackupOld": "27h"}


def test_the_rules_are_valid_and_each_alert_fires_by_its_cause(tmp_path: Path) -> None:
    promtool = need("promtool", "prometheus")
    subprocess.run([promtool, "check", "rules", str(RULES)], check=True, capture_output=True)
    names = [
        line.split("alert:")[1].strip()
        for line in RULES.read_text().splitlines()
        if "alert:" in line
    ]
    assert sorted(names) == sorted(CAUSES)
    for name, series in CAUSES.items():
        inputs = [{"series": one, "values": values} for one, values in series.items()]
        query = f'count(ALERTS{{alertname="{name}",alertstate="firing"}})'
        expected = {
            "expr": query,
            "eval_time": AT.get(name, "30m"),
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        group = {"interval": "1m", "input_series": inputs, "promql_expr_test": [expected]}
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"rule_files": [str(RULES)], "tests": [group]}))
        ended = subprocess.run(
            [promtool, "test", "rules", str(path)], capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, (name, ended.stdout, ended.stderr)


def test_every_query_of_the_dashboard_has_an_answer(
    gateway: Gateway, stubs: list[Stub], key: str, tmp_path: Path
) -> None:
    dashboard = json.loads((ROOT / "docs/gateway-dashboard.json").read_text())
    queries = []
    for panel in dashboard["panels"]:
        queries += [target["expr"] for target in panel.get("targets", [])]
    assert len(queries) > 10
    with prometheus(tmp_path, gateway.metrics_port) as url:

        def missing() -> list[str]:
            gateway.ask(key)
            gateway.ask(key, json={"model": "none"})
            found = []
            for query in queries:
                answer = requests.get(f"{url}/api/v1/query", params={"query": query}, timeout=10)
                if not answer.json()["data"]["result"]:
                    found.append(query)
            return found

        eventually(lambda: not missing(), every=1)


def test_no_label_comes_from_a_client(gateway: Gateway, key: str) -> None:
    gateway.ask(key, json={"model": "evil-label"})
    text = gateway.metrics()
    assert "evil-label" not in text
    assert key.split("_")[2] not in text
    assert 'model="other"' in text
