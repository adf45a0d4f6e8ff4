"""The values of ``/metrics``, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

TIMES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class ServerMetrics:
    """Counters, gauges and histograms of one server, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("emo_edge_requests", "Answered requests.", ("route", "status"), registry=registry)
        self.request_seconds = Histogram(
            "emo_edge_request_seconds", "From a request to its answer.", ("route",), buckets=TIMES_S, registry=registry
        )
        self.refused = Counter(
            "emo_edge_refused", "Requests that were refused, by reason.", ("reason",), registry=registry
        )
        self.waiting = Gauge("emo_edge_waiting", "Readings that wait.", registry=registry)
        self.wait_seconds = Histogram(
            "emo_edge_wait_seconds", "Time that a reading waited.", buckets=TIMES_S, registry=registry
        )
        self.batch_pictures = Histogram(
            "emo_edge_batch_pictures", "Pictures of a batch.", buckets=(1, 2, 4, 8, 16), registry=registry
        )
        self.stage_seconds = Histogram(
            "emo_edge_stage_seconds", "Time of a stage of a face.", ("stage",), buckets=TIMES_S, registry=registry
        )
        self.live_connections = Gauge("emo_edge_live_connections", "Open WebSockets.", registry=registry)
        self.live_age_seconds = Histogram(
            "emo_edge_live_age_seconds", "Age of a live frame at its event.", buckets=TIMES_S, registry=registry
        )
        self.live_dropped = Counter(
            "emo_edge_live_dropped", "Live frames that were not processed, by reason.", ("reason",), registry=registry
        )
        self.record_lost = Counter(
            "emo_edge_record_lost", "Lines of a recording that were not written.", registry=registry
        )
        ProcessCollector(registry=registry)

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self.requests.labels(route, str(status)).inc()
        self.request_seconds.labels(route).observe(seconds)

    def count_stages(self, stage_ms: Mapping[str, float]) -> None:
        """Count the stages of one face."""
        for stage, milliseconds in stage_ms.items():
            self.stage_seconds.labels(stage).observe(milliseconds / 1000)

    def text(self) -> bytes:
        """Return all values in Prometheus' text format."""
        return generate_latest(self._registry)
