"""Push partners on the loopback: one HTTPS server under a throw-away CA; each path is a partner that a test makes behave."""

from __future__ import annotations

import ipaddress
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Request:
    """What the hub sent."""

    path: str
    headers: Mapping[str, str]
    octets: bytes


@dataclass(frozen=True)
class Answer:
    """What a partner answers. `hold` is waited for before anything is sent."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None


Behaviour = Callable[[Request], Answer]


def make_authority(folder: Path, host: str = "127.0.0.1") -> tuple[Path, Path]:
    """A CA certificate, and a file with the certificate and the key of a server at `host`; both are good for an hour."""
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "throw-away CA")])
    authority = _certificate(name, name, authority_key, authority_key, [x509.BasicConstraints(ca=True, path_length=0)])
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
    server_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "partner")])
    server = _certificate(server_name, name, server_key, authority_key, [alternative])
    ca_file, server_file = folder / "ca.pem", folder / "server.pem"
    ca_file.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    private = server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    server_file.write_bytes(server.public_bytes(serialization.Encoding.PEM) + private)
    return ca_file, server_file


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    extensions: list[x509.ExtensionType],
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer, subject, key.public_key(), x509.random_serial_number(), now, now + timedelta(hours=1)
    )
    extensions = [
        *extensions,
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
    ]
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return builder.sign(signer, hashes.SHA256())


class PushPartners:
    """The server. `requests` holds what came, in order; a path without a behaviour answers 404. Use as a context manager."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self.ca_file, server_file = make_authority(folder, host)
        self.behaviours: dict[str, Behaviour] = {}
        self.requests: list[Request] = []
        self._server = _Server(("127.0.0.1", 0), _handler_of(self))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(server_file)
        self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def host(self) -> str:
        """Host and port, as they stand on an allow-list."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def address(self, path: str) -> str:
        """Where a partner is pushed to."""
        return f"https://{self.host}{path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    block_on_close = True
    daemon_threads = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing where the hub hung up: that is what several tests are about."""


def _handler_of(partners: PushPartners) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 20

        def do_POST(self) -> None:
            octets = self.rfile.read(int(self.headers["Content-Length"]))
            request = Request(self.path, dict(self.headers), octets)
            partners.requests.append(request)
            behaviour = partners.behaviours.get(self.path)
            answer = behaviour(request) if behaviour else Answer(404)
            if answer.hold is not None:
                answer.hold.wait(20)
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server has
            pass

    return Handler
