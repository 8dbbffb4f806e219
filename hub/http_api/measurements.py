"""Metrics: what this process answered, counted as it happens, and what stands in the store, counted when asked.

With several processes a scrape meets one of them: the label `process` tells which, and rates are summed over it.
"""

from __future__ import annotations

import os
import time
from typing import cast

from flask import Flask, Response, current_app, g, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from hub.domain.deliveries import DeliveryState
from hub.services.observe_hub import Figures

_EXTENSION = "accord_measurements"
_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)


class Measurements:
    """The metrics of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.process = str(os.getpid())
        self._answers = Counter(
            "accord_answers",
            "Answers by method, route and status.",
            ["process", "method", "route", "status"],
            registry=self.registry,
        )
        self._problems = Counter("accord_problems", "Problem documents by code.", ["process", "code"], registry=self.registry)
        self._seconds = Histogram(
            "accord_answer_seconds", "Time to answer, by route.", ["process", "route"], buckets=_BUCKETS, registry=self.registry
        )
        self._deliveries = Gauge("accord_deliveries", "Deliveries by state, in the store.", ["state"], registry=self.registry)
        self._pending = Gauge("accord_log_pending_entries", "Audit entries that wait for the log.", registry=self.registry)
        self._lag = Gauge("accord_log_lag_seconds", "Age of the oldest of them.", registry=self.registry)
        self._size = Gauge("accord_log_size", "Leaves in the log.", registry=self.registry)

    def count(self, status: int, problem: str, seconds: float) -> None:
        """Count one answer to the present request; `problem` is its code or ""."""
        route = request.url_rule.rule if request.url_rule else "none"
        method = request.method if request.url_rule else "none"
        self._answers.labels(self.process, method, route, str(status)).inc()
        self._seconds.labels(self.process, route).observe(seconds)
        if problem:
            self._problems.labels(self.process, problem).inc()

    def write(self, figures: Figures) -> tuple[bytes, str]:
        """Everything in the Prometheus text format, and its media type."""
        for state in DeliveryState:
            self._deliveries.labels(state.value).set(figures.deliveries.get(state.value, 0))
        self._pending.set(figures.pending_entries)
        self._lag.set(figures.oldest_pending_seconds)
        self._size.set(figures.log_size)
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


def install(application: Flask) -> None:
    """Count every answer of this application."""
    measurements = Measurements()
    application.extensions[_EXTENSION] = measurements

    @application.before_request
    def start() -> None:
        g.started = time.perf_counter()

    @application.after_request
    def stop(response: Response) -> Response:
        started = g.get("started", None)
        seconds = time.perf_counter() - started if started is not None else 0.0
        measurements.count(response.status_code, g.get("problem_code", ""), seconds)
        return response


def current_measurements() -> Measurements:
    """The metrics of the application that answers."""
    return cast(Measurements, current_app.extensions[_EXTENSION])
