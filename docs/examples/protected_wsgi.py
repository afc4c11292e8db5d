"""protected_api.py for a framework that blocks: the verifier by itself, in front of any WSGI application.

ISSUER=https://login.example.com python docs/examples/protected_wsgi.py
"""

import os
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING
from wsgiref.simple_server import make_server

from watchword.errors import WatchwordError
from watchword.resource import Verifier, build_refusal

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

verifier = Verifier(issuer=os.environ["ISSUER"], audience="my-api", base_url=os.environ.get("BASE_URL"))


def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """Answer who may read. In Flask and Django ``request`` takes the place of ``environ``."""
    try:
        caller = verifier.verify_sync(environ, scopes="read:data")
    except WatchwordError as error:
        refusal = build_refusal(error, realm="my-api", scopes=["read:data"], possession=verifier.possession)
        start_response(f"{refusal.status} {HTTPStatus(refusal.status).phrase}", list(refusal.headers))
        return [refusal.body]
    start_response("200 OK", [("content-type", "text/plain")])
    return [f"the door is green, {caller.client_id}".encode()]


if __name__ == "__main__":
    make_server("127.0.0.1", 8030, app).serve_forever()
