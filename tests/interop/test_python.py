"""requests-oauthlib and Authlib as clients; PyJWT and joserfc as verifiers."""

from __future__ import annotations

import asyncio

import jwt
import pytest
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import BackendApplicationClient, InvalidScopeError
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from tests.interop.claims import check_claims
from tests.interop.verifying import with_joserfc, with_pyjwt
from tests.processes import Agent, RunningServer


@pytest.fixture(autouse=True)
def _allow_plain_http_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")


def check_token(token: dict[str, object], server: RunningServer, agent: Agent) -> None:
    """Verify what a client library got, with every verifier there is here."""
    assert token["token_type"] == "Bearer"
    access_token = str(token["access_token"])
    check_claims(with_pyjwt(access_token, server), server, agent)
    check_claims(with_joserfc(access_token, server), server, agent)


def test_requests_oauthlib_with_basic(running_server: RunningServer, reader: Agent) -> None:
    with OAuth2Session(client=BackendApplicationClient(reader.client_id, scope=["read:data"])) as session:
        basic = HTTPBasicAuth(reader.client_id, reader.client_secret)
        token = session.fetch_token(running_server.token_endpoint, auth=basic)
    check_token(token, running_server, reader)


def test_requests_oauthlib_with_post(running_server: RunningServer, reader: Agent) -> None:
    with OAuth2Session(client=BackendApplicationClient(reader.client_id, scope=["read:data"])) as session:
        token = session.fetch_token(
            running_server.token_endpoint, client_secret=reader.client_secret, include_client_id=True
        )
    check_token(token, running_server, reader)


def test_requests_oauthlib_understands_a_refusal(running_server: RunningServer, reader: Agent) -> None:
    with OAuth2Session(client=BackendApplicationClient(reader.client_id, scope=["write:data"])) as session:
        basic = HTTPBasicAuth(reader.client_id, reader.client_secret)
        with pytest.raises(InvalidScopeError):
            session.fetch_token(running_server.token_endpoint, auth=basic)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_over_requests(running_server: RunningServer, reader: Agent, method: str) -> None:
    with AuthlibSession(
        reader.client_id, reader.client_secret, token_endpoint_auth_method=method, scope="read:data"
    ) as session:
        token = session.fetch_token(running_server.token_endpoint, grant_type="client_credentials")
    check_token(token, running_server, reader)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_over_httpx(running_server: RunningServer, reader: Agent, method: str) -> None:
    async def fetch() -> dict[str, object]:
        async with AsyncOAuth2Client(
            reader.client_id, reader.client_secret, token_endpoint_auth_method=method, scope="read:data"
        ) as client:
            return dict(await client.fetch_token(running_server.token_endpoint, grant_type="client_credentials"))

    check_token(asyncio.run(fetch()), running_server, reader)


def test_the_verification_in_python_can_fail(running_server: RunningServer, reader: Agent) -> None:
    with AuthlibSession(reader.client_id, reader.client_secret, scope="read:data") as session:
        token = session.fetch_token(running_server.token_endpoint, grant_type="client_credentials")
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(
            token["access_token"],
            jwt.PyJWKClient(running_server.jwks_uri).get_signing_key_from_jwt(token["access_token"]),
            algorithms=["ES256"],
            issuer=running_server.issuer,
            audience="another-api",
        )
