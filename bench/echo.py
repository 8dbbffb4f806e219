"""A bare Flask application that reads a body and answers with JSON: the floor of the web stack."""

from __future__ import annotations

from flask import Flask, Response, request

application = Flask(__name__)


@application.post("/v1/messages")
def echo() -> Response:
    """Say how much came."""
    return Response(b'{"size":%d}' % len(request.get_data()), status=202, mimetype="application/json")
