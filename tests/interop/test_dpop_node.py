"""openid-client 6 and oauth4webapi 3: a token bound to a key, with and without nonces demanded, and an API called with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import rule
from tests.interop.claims import read_unverified
from tests.interop.programs import HERE, Node
from tests.whole.proving import protected_api
from watchword.testing.process import ServerProcess


@pytest.fixture(scope="module", params=["offered", "required"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("dpop")
    with ServerProcess(folder, environment={"WATCHWORD_SERVER__DPOP_NONCES": request.param}) as started:
        yield started


@pytest.fixture(scope="module")
def api(server: ServerProcess) -> Iterator[str]:
    with protected_api(server, server.folder) as url:
        yield url


@rule("R9449-5-01", "R9449-7.1-01", "R9449-8-01")
@pytest.mark.parametrize("library", ["openid-client", "oauth4webapi"])
@pytest.mark.parametrize("algorithm", ["ES256", "PS256"])
def test_a_token_bound_to_a_key_and_an_api(
    node: Node, server: ServerProcess, api: str, tmp_path: Path, library: str, algorithm: str
) -> None:
    agent = server.create_agent(f"agent-{library}-{algorithm.lower()}")
    printed = node.run(
        "program.mjs",
        (HERE / "node" / "dpop.mjs").read_text(),
        folder=tmp_path,
        ISSUER=server.issuer,
        API=api,
        CLIENT_ID=agent.client_id,
        CLIENT_SECRET=agent.client_secret,
        SCOPE="read:data",
        ALG=algorithm,
        LIBRARY=library,
    )
    told = json.loads(printed)
    assert told["tokens"]["token_type"] == "dpop"  # both libraries fold the case
    assert told["statuses"] == [200, 200, 200]
    assert algorithm in told["supported"]
    assert read_unverified(told["tokens"]["access_token"])["cnf"] == {"jkt": told["jkt"]}
