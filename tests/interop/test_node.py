"""openid-client 6: discovery, the client credentials grant, and jose's verification of what it got."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.interop.claims import LIFETIME, check_claims
from tests.interop.programs import HERE, Node
from tests.processes import Agent, RunningServer


@pytest.mark.parametrize("authentication", ["basic", "post"])
@pytest.mark.parametrize("discovery", ["oauth2", "oidc"])
def test_openid_client_discovers_and_gets_a_token(
    node: Node, running_server: RunningServer, reader: Agent, tmp_path: Path, authentication: str, discovery: str
) -> None:
    env = {
        "ISSUER": running_server.issuer,
        "CLIENT_ID": reader.client_id,
        "CLIENT_SECRET": reader.client_secret,
        "SCOPE": "read:data",
        "AUTH_METHOD": authentication,
        "DISCOVERY": discovery,
    }
    printed = node.run("program.mjs", (HERE / "node" / "openid_client.mjs").read_text(), folder=tmp_path, **env)
    answer = json.loads(printed)
    check_claims(answer["payload"], running_server, reader)
    assert answer["protectedHeader"]["typ"] == "at+jwt"
    assert answer["tokens"]["token_type"] == "bearer"  # openid-client folds the case
    assert 0 < answer["expiresIn"] <= LIFETIME
