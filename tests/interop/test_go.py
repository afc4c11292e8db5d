"""golang.org/x/oauth2/clientcredentials as a client; golang-jwt and go-jose as verifiers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.interop.claims import check_claims, read_unverified
from tests.interop.programs import Go
from tests.processes import Agent, RunningServer


def get_token(server: RunningServer, agent: Agent, go: Go, folder: Path, style: str = "auto") -> dict[str, object]:
    env = {
        "TOKEN_ENDPOINT": server.token_endpoint,
        "CLIENT_ID": agent.client_id,
        "CLIENT_SECRET": agent.client_secret,
        "SCOPE": "read:data",
        "AUTH_STYLE": style,
    }
    answer = json.loads(go.run_command("clientcredentials", folder=folder, env=env))
    assert isinstance(answer, dict)
    return answer


@pytest.mark.parametrize("style", ["auto", "header", "params"])
def test_clientcredentials_gets_a_token(
    go: Go, running_server: RunningServer, reader: Agent, tmp_path: Path, style: str
) -> None:
    answer = get_token(running_server, reader, go, tmp_path, style)
    check_claims(read_unverified(str(answer.pop("access_token"))), running_server, reader)
    assert answer == {"token_type": "Bearer", "has_expiry": True, "scope": "read:data"}


def verify(server: RunningServer, token: str, go: Go, folder: Path, **changes: str) -> str:
    env = {"JWKS_URI": server.jwks_uri, "ISSUER": server.issuer, "AUDIENCE": "my-api", "TOKEN": token} | changes
    return go.run_command("verify", folder=folder, env=env)


def test_golang_jwt_and_go_jose_verify_our_token(
    go: Go, running_server: RunningServer, reader: Agent, tmp_path: Path
) -> None:
    token = str(get_token(running_server, reader, go, tmp_path)["access_token"])
    read = json.loads(verify(running_server, token, go, tmp_path))
    assert set(read) == {"golang-jwt", "go-jose"}
    for claims in read.values():
        check_claims(claims, running_server, reader)


def test_the_verification_in_go_can_fail(go: Go, running_server: RunningServer, reader: Agent, tmp_path: Path) -> None:
    token = str(get_token(running_server, reader, go, tmp_path)["access_token"])
    with pytest.raises(AssertionError, match="audience"):
        verify(running_server, token, go, tmp_path, AUDIENCE="another-api")
