"""gunicorn for the hub: what can be set stands in hub.toml. Each process opens its own store after the fork."""

from pathlib import Path
from typing import Any

from hub.bootstrap import Installation

_installation = Installation()
_installation.follow_supervisor()
_server = _installation.settings.server

wsgi_app = "wsgi:app"
chdir = str(Path(__file__).resolve().parents[1])
bind = _server.bind
workers = _server.workers
threads = _server.threads
worker_class = "gthread"
preload_app = False  # a store must not cross a fork
graceful_timeout = _server.graceful_timeout_seconds
timeout = 120  # of a worker that gives no sign of life; a long poll does not count
keepalive = 75  # longer than nginx keeps a connection idle, so that nginx closes it
limit_request_line = 4094
limit_request_fields = 64
accesslog = None  # who did what stands in the audit log
errorlog = "-"
loglevel = _installation.settings.log.level
control_socket_disable = True


def when_ready(_server: Any) -> None:
    """Note in the audit log that the server starts, before any worker is forked."""
    _installation.note_started("server")


def on_exit(_server: Any) -> None:
    """Note in the audit log that the server has stopped."""
    _installation.note_stopped("server")
