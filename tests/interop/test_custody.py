"""A token of SoftHSM2 signs our tokens; PyJWT, joserfc, jose (Node) and two libraries of Go verify them."""

from __future__ import annotations

import json
from pathlib import Path

import jwt
import pytest

from tests import rule, softhsm
from tests.interop.programs import Go, Node
from tests.interop.verifying import with_joserfc, with_pyjwt
from tests.processes import Agent, RunningServer
from watchword.testing.process import ServerProcess

pytest.importorskip("pkcs11", reason="needs watchword[pkcs11]")

VERIFY = """
import { createRemoteJWKSet, jwtVerify } from 'jose'
const keys = createRemoteJWKSet(new URL(process.env.JWKS_URI))
const { payload } = await jwtVerify(process.env.TOKEN, keys, {
  issuer: process.env.ISSUER, audience: process.env.AUDIENCE, typ: 'at+jwt', algorithms: ['ES256'],
})
console.log(JSON.stringify(payload))
"""


@rule("K8")
def test_what_a_token_signs_everybody_verifies(node: Node, go: Go, tmp_path: Path) -> None:
    with ServerProcess(tmp_path, environment=softhsm.settings(tmp_path)) as process:
        made = process.create_agent("reader")
        token = process.token(made)[1]["access_token"]
        server = RunningServer(process.issuer, process.data, tmp_path, ())
        agent = Agent(made.client_id, made.client_secret)
        audience = str(jwt.decode(token, options={"verify_signature": False})["aud"])
        facts = {"JWKS_URI": server.jwks_uri, "ISSUER": server.issuer, "AUDIENCE": audience, "TOKEN": token}
        (tmp_path / "node").mkdir()
        read = [
            with_pyjwt(token, server),
            with_joserfc(token, server),
            json.loads(node.run("verify.mjs", VERIFY, folder=tmp_path / "node", **facts)),
            *json.loads(go.run_command("verify", folder=tmp_path, env=facts)).values(),
        ]
    assert [claims["client_id"] for claims in read] == [agent.client_id] * 5
