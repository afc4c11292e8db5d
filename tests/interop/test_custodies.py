"""Tokens whose keys are kept elsewhere: to whoever verifies them they are like all others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import jwt
import pytest
import requests

from tests.interop.claims import check_claims
from tests.interop.programs import HERE, Go, Node
from tests.interop.verifying import with_joserfc, with_pyjwt
from tests.kms import CREDENTIALS, REGION, MotoKms
from tests.openbao import OpenBao
from tests.processes import Agent, RunningServer, create_agent, serving


@pytest.fixture(scope="module", params=["aws_kms", "vault"])
def signed_elsewhere(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningServer, Agent]]:
    """A server whose only keys are in moto's AWS KMS, or in a real OpenBao; and its agent."""
    settings = {"WATCHWORD_SERVER__CUSTODY": str(request.param)}
    with ExitStack() as stack:
        if request.param == "aws_kms":
            kms = stack.enter_context(MotoKms())
            settings |= CREDENTIALS | {
                "WATCHWORD_SERVER__AWS_KMS_REGION": REGION,
                "WATCHWORD_SERVER__AWS_KMS_ENDPOINT": kms.url,
            }
        else:
            bao = stack.enter_context(OpenBao(tmp_path_factory.mktemp("bao")))
            settings |= {
                "WATCHWORD_SERVER__VAULT_URL": bao.url,
                "WATCHWORD_SERVER__VAULT_TOKEN_FILE": str(bao.token_file),
            }
        server = stack.enter_context(serving(tmp_path_factory.mktemp("server"), **settings))
        server.watchword("resource", "create", "my-api", "--scope", "read:data", "--scope", "write:data")
        yield server, create_agent(server, "reader", "--scope", "read:data")


def get_token(server: RunningServer, agent: Agent) -> str:
    form = {"grant_type": "client_credentials", "scope": "read:data"}
    credentials = (agent.client_id, agent.client_secret)
    answer = requests.post(server.token_endpoint, form, auth=credentials, timeout=10)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def test_pyjwt_and_joserfc_verify_it(signed_elsewhere: tuple[RunningServer, Agent]) -> None:
    server, agent = signed_elsewhere
    token = get_token(server, agent)
    check_claims(with_pyjwt(token, server), server, agent)
    check_claims(with_joserfc(token, server), server, agent)
    with pytest.raises(jwt.InvalidSignatureError):
        with_pyjwt(token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB"), server)


def test_jose_on_node_verifies_it(signed_elsewhere: tuple[RunningServer, Agent], node: Node, tmp_path: Path) -> None:
    server, agent = signed_elsewhere
    env = {
        "ISSUER": server.issuer,
        "CLIENT_ID": agent.client_id,
        "CLIENT_SECRET": agent.client_secret,
        "SCOPE": "read:data",
        "AUTH_METHOD": "basic",
        "DISCOVERY": "oauth2",
    }
    program = (HERE / "node" / "openid_client.mjs").read_text()
    answer = json.loads(node.run("program.mjs", program, folder=tmp_path, **env))
    check_claims(answer["payload"], server, agent)


def test_golang_jwt_and_go_jose_verify_it(
    signed_elsewhere: tuple[RunningServer, Agent], go: Go, tmp_path: Path
) -> None:
    server, agent = signed_elsewhere
    env = {
        "JWKS_URI": server.jwks_uri,
        "ISSUER": server.issuer,
        "AUDIENCE": "my-api",
        "TOKEN": get_token(server, agent),
    }
    read = json.loads(go.run_command("verify", folder=tmp_path, env=env))
    assert set(read) == {"golang-jwt", "go-jose"}
    for claims in read.values():
        check_claims(claims, server, agent)
