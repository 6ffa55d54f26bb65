"""What Prometheus reads, on a port of its own. No label comes from a client's text, and none is a
key's id.
"""

from __future__ import annotations

from dataclasses import dataclass
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
BREAKER_STATES = {"closed": 0, "probing": 1, "open": 2}


@dataclass(frozen=True)
class OfModel:
    """What every answer of one model is added to, looked up once: labels are slow."""

    first_byte: Histogram
    seconds: Histogram
    prompt: Counter
    completion: Counter


class Metrics:
    """All metrics of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter(
            "gateway_requests", "Answers", ["model", "backend", "code"], registry=registry
        )
        self.first_byte = Histogram(
            "gateway_time_to_first_byte_seconds",
            "Until the first byte went to the client",
            ["model"],
            buckets=BUCKETS,
            registry=registry,
        )
        self.seconds = Histogram(
            "gateway_seconds",
            "Until the answer was whole",
            ["model"],
            buckets=BUCKETS,
            registry=registry,
        )
        self.tokens = Counter("gateway_tokens", "Tokens", ["model", "kind"], registry=registry)
        self.in_flight = Gauge("gateway_in_flight", "Under way", ["model"], registry=registry)
        self.waiting = Gauge(
            "gateway_waiting_requests", "Held for a backend", ["model"], registry=registry
        )
        self.rejected = Counter("gateway_rejected", "Refusals", ["reason"], registry=registry)
        self._add_states(registry)

    def _add_states(self, registry: CollectorRegistry) -> None:
        self.backend_up = Gauge(
            "gateway_backend_up", "1 if healthy", ["backend"], registry=registry
        )
        self.breaker = Gauge(
            "gateway_breaker_state",
            "0 closed, 1 probing, 2 open",
            ["backend"],
            registry=registry,
        )
        self.usage_queue = Gauge(
            "gateway_usage_queue", "Rows that wait to be written", registry=registry
        )
        self.usage_lost = Counter("gateway_usage_lost", "Must stay 0", registry=registry)
        self.jobs = Gauge("gateway_jobs", "Jobs known here", ["state"], registry=registry)
        self.limits_failed = Counter(
            "gateway_limits_failed", "Limits that could not be counted", registry=registry
        )
        self.backup_time = Gauge(
            "gateway_backup_timestamp_seconds", "The newest backup", registry=registry
        )
        self.certificate_ends = Gauge(
            "gateway_certificate_expires_timestamp_seconds",
            "When the TLS certificate ends",
            registry=registry,
        )

        self._answers: dict[tuple[str, str, int], Counter] = {}
        self._models: dict[str, OfModel] = {}

    def count_answer(self, model: str, backend: str, status: int) -> None:
        known = self._answers.get((model, backend, status))
        if known is None:
            known = self.requests.labels(model, backend, str(status))
            self._answers[model, backend, status] = known
        known.inc()

    def of_model(self, model: str) -> OfModel:
        known = self._models.get(model)
        if known is None:
            known = OfModel(
                self.first_byte.labels(model),
                self.seconds.labels(model),
                self.tokens.labels(model, "prompt"),
                self.tokens.labels(model, "completion"),
            )
            self._models[model] = known
        return known

    def serve(self, host: str, port: int) -> WSGIServer:
        """Answers Prometheus from a thread until the server is shut down."""
        server, _thread = start_http_server(port, host, self.registry)
        return server
