"""Introspection, plain and signed, and revocation by other people's clients: openid-client, oauth4webapi, and jose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import rule
from tests.interop.programs import HERE, Node
from tests.processes import Agent, RunningServer


@pytest.fixture(scope="module")
def api(running_server: RunningServer) -> Agent:
    """The server of my-api, which may ask about its tokens and may have none."""
    made = running_server.watchword("agent", "create", "my-api-server", "--serves", "my-api")
    return Agent(str(made["client_id"]), str(made["client_secret"]))


@rule("R7662-2.2-01", "R7662-2.2-04", "R9701-5-01", "R7009-2.1-01", "R5")
@pytest.mark.parametrize("library", ["openid-client", "oauth4webapi", "jose"])
def test_libraries_of_node_introspect_and_revoke(
    node: Node, running_server: RunningServer, reader: Agent, api: Agent, tmp_path: Path, library: str
) -> None:
    env = {
        "LIBRARY": library,
        "ISSUER": running_server.issuer,
        "CLIENT_ID": reader.client_id,
        "CLIENT_SECRET": reader.client_secret,
        "API_ID": api.client_id,
        "API_SECRET": api.client_secret,
        "SCOPE": "read:data",
        "ALG": "ES256",
    }
    printed = node.run("program.mjs", (HERE / "node" / "introspection.mjs").read_text(), folder=tmp_path, **env)
    told = json.loads(printed)
    for one in told["before"]:
        said = (one["active"], one["iss"], one["client_id"], one["aud"], one["scope"], one["token_type"])
        assert said == (True, running_server.issuer, reader.client_id, "my-api", "read:data", "Bearer")
    assert told["before"][0] == told["before"][1], "signed, it is the same answer"
    assert told["after"] == [{"active": False}] * 2
