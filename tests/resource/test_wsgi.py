"""The example for WSGI, checked by wsgiref, with the keys of an issuer that is a real server."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from wsgiref.validate import validator

import pytest
from werkzeug.test import Client

from tests import rule
from tests.adapters.hostile_server import hostile_server, ok
from tests.resource.issuers import Issuer, bearer
from watchword.clock import system_clock
from watchword.protocol.jwks import build_jwks

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "protected_wsgi.py"


@pytest.fixture
def issuer(monkeypatch):
    with hostile_server() as upstream:
        issuer = Issuer(system_clock, url=upstream.origin)
        metadata = {"issuer": issuer.url, "token_endpoint": f"{issuer.url}/t", "jwks_uri": f"{issuer.url}/jwks"}
        upstream.answers["/.well-known/oauth-authorization-server"] = ok(json.dumps(metadata).encode())
        upstream.answers["/jwks"] = ok(json.dumps(build_jwks(issuer.published)).encode())
        monkeypatch.setenv("ISSUER", issuer.url)
        yield issuer


@pytest.fixture
def client(issuer):
    return Client(validator(runpy.run_path(str(EXAMPLE))["app"]))


def test_a_good_token_is_served(client, issuer):
    answer = client.get("/", headers=bearer(issuer.token()), buffered=True)
    assert (answer.status, answer.text) == ("200 OK", "the door is green, reader-1")


@rule("V1", "V2")
@pytest.mark.parametrize(
    ("values", "status", "error"),
    [
        ([], "401 UNAUTHORIZED", None),
        (["Basic YTpi"], "401 UNAUTHORIZED", None),
        ([""], "400 BAD REQUEST", "invalid_request"),
        (["Bearer @", "Bearer @"], "400 BAD REQUEST", "invalid_request"),
        (["Bearer @x"], "401 UNAUTHORIZED", "invalid_token"),
    ],
)
def test_the_answers_are_those_of_the_guard(client, issuer, values, status, error):
    headers = [("authorization", value.replace("@", issuer.token())) for value in values]
    answer = client.get("/?access_token=" + issuer.token(), headers=headers, buffered=True)
    assert (answer.status.upper(), answer.json.get("error")) == (status, error)
    assert answer.headers["www-authenticate"].startswith('Bearer realm="my-api"')
    assert answer.headers["cache-control"] == "no-store"


@rule("V2", "R6750-3-04")
def test_a_missing_scope_is_a_403(client, issuer):
    answer = client.get("/", headers=bearer(issuer.token(scopes=("write:data",))), buffered=True)
    assert (answer.status_code, answer.json["error"]) == (403, "insufficient_scope")
    assert 'scope="read:data"' in answer.headers["www-authenticate"]
