"""For whoever runs the hub: alive, ready, and the figures."""

from __future__ import annotations

from flask import Response
from pydantic import BaseModel, Field

from hub.http_api.measurements import current_measurements
from hub.http_api.openapi import Content, Section
from hub.http_api.requests import answer, current_hub
from hub.services.observe_hub import check_readiness, count_work

section = Section("Operation", "For whoever runs the hub. Keep these addresses inside your own network.")

_METRICS_MEDIA_TYPE = "text/plain"


class Alive(BaseModel):
    """The process answers."""

    alive: bool


class ReadinessCheck(BaseModel):
    """One thing that must hold."""

    name: str
    ok: bool
    detail: str


class Readiness(BaseModel):
    """Whether messages can be taken now, and why not."""

    ready: bool
    checks: list[ReadinessCheck] = Field(description="Store, keys, log and disk, each tried for this answer.")


@section.get("/livez", {200: Content("It does.", model=Alive)})
def show_liveness() -> Response:
    """Ask whether this process answers."""
    return answer(Alive(alive=True))


@section.get(
    "/readyz",
    {200: Content("Every check holds.", model=Readiness), 503: Content("One does not.", model=Readiness)},
)
def show_readiness() -> Response:
    """Ask whether this process can take messages: it writes to the store, reads its keys, and looks at the log and the disk."""
    checks = check_readiness(current_hub())
    ready = all(check.ok for check in checks)
    lines = [ReadinessCheck(name=check.name, ok=check.ok, detail=check.detail) for check in checks]
    return answer(Readiness(ready=ready, checks=lines), 200 if ready else 503)


@section.get("/metrics", {200: Content("The Prometheus text format.", _METRICS_MEDIA_TYPE)})
def show_metrics() -> Response:
    """Read the figures: this process's requests and refusals, and what stands in the store."""
    octets, media_type = current_measurements().write(count_work(current_hub()))
    return Response(octets, content_type=media_type)
