"""Where messages may be pushed to: plain HTTPS to a host that the operator has put on the list."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

_HTTPS_PORT = 443


def is_allowed_address(address: str, allowed_hosts: Collection[str]) -> bool:
    """Whether a push address is on the allow-list, whose entries are `host` (port 443) or `host:port`, in lower case."""
    try:
        parts = urlsplit(address)
        port = parts.port or _HTTPS_PORT
    except ValueError:
        return False
    if parts.scheme != "https" or parts.username or parts.password or parts.fragment or not parts.hostname:
        return False
    return f"{parts.hostname}:{port}" in allowed_hosts or (port == _HTTPS_PORT and parts.hostname in allowed_hosts)
