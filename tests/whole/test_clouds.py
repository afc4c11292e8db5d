"""Whole servers whose keys are kept elsewhere: that place goes away, is slow, or says no, and nothing is signed meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests import rule
from tests.kms import CREDENTIALS, REGION, MotoKms
from tests.openbao import OpenBao
from tests.whole.asking import ask, until_answered
from watchword.protocol.jose import import_public_jwk, parse_compact, verify
from watchword.testing.process import AgentSecret, ServerProcess, exchange
from watchword.testing.tcp_proxy import Break, Fault, FaultProxy

pytestmark = pytest.mark.places("sqlite", why="what fails is whoever keeps the keys, whatever the store")


@pytest.fixture(scope="module")
def kms() -> Iterator[MotoKms]:
    with MotoKms() as kms:
        yield kms


@pytest.fixture(scope="module")
def proxy(kms: MotoKms) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", kms.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def server(
    place: str, kms: MotoKms, proxy: FaultProxy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    environment = CREDENTIALS | {
        "WATCHWORD_SERVER__CUSTODY": "aws_kms",
        "WATCHWORD_SERVER__AWS_KMS_REGION": REGION,
        "WATCHWORD_SERVER__AWS_KMS_ENDPOINT": f"http://127.0.0.1:{proxy.port}",
    }
    with ServerProcess(tmp_path_factory.mktemp("server"), environment=environment) as server:
        yield server


@pytest.fixture(scope="module")
def agent(server: ServerProcess) -> AgentSecret:
    return server.create_agent("reader")


@pytest.fixture(autouse=True)
def _healed(kms: MotoKms, proxy: FaultProxy) -> Iterator[None]:
    yield
    kms.refuses = ""
    proxy.heal()


def keys(server: ServerProcess) -> list[dict[str, Any]]:
    status, body = exchange(server.connect(), "GET", "/.well-known/jwks.json")
    assert status == 200
    return list(json.loads(body)["keys"])


def check(server: ServerProcess, token: str) -> None:
    """Verify with the key set as it is served now."""
    unverified = parse_compact(token, typ="at+jwt")
    (key,) = [key for key in keys(server) if key["kid"] == unverified.header["kid"]]
    verify(unverified, import_public_jwk(key), algorithms=frozenset({"ES256"}))


def reason(server: ServerProcess) -> str:
    """Return why the last token was not issued."""
    status, said = server.admin("GET", "/audit/events?action=token.issue&newest_first=true&limit=1")
    assert status == 200
    return str(said["items"][0]["event"]["reason"])


def get_token(server: ServerProcess, agent: AgentSecret) -> str:
    until_answered(server, agent, 200)
    status, said = server.token(agent)
    assert status == 200
    return str(said["access_token"])


def count_signs(kms: MotoKms) -> int:
    return sum(action == "Sign" for action, _ in kms.asked)


@rule("K8")
def test_the_first_key_is_made_there_and_signs_there(kms: MotoKms, server: ServerProcess, agent: AgentSecret) -> None:
    before = count_signs(kms)
    check(server, get_token(server, agent))
    assert count_signs(kms) > before
    assert [action for action, _ in kms.asked].count("CreateKey") == 1


@rule("O8", "FI-16", "K8")
def test_while_it_is_down_issuance_is_503_verification_goes_on_and_it_is_asked_once_a_second(
    kms: MotoKms, proxy: FaultProxy, server: ServerProcess, agent: AgentSecret
) -> None:
    """Ten minutes pass as these five seconds do: nothing is kept of them but the count of failures."""
    token, before = get_token(server, agent), keys(server)
    proxy.impose(Fault(breaks=Break.RESET))
    until_answered(server, agent, 503)
    connections = proxy.accepted
    began, slowest, statuses = time.monotonic(), 0.0, set()
    connection = server.connect()
    asked = 0
    while time.monotonic() < began + 5:
        one = time.monotonic()
        status, retry_after, _ = ask(connection, agent)
        slowest = max(slowest, time.monotonic() - one)
        statuses.add((status, retry_after))
        asked += 1
        check(server, token)
        time.sleep(0.01)
    connection.close()
    assert statuses == {(503, "1")}
    assert asked > 100
    assert proxy.accepted - connections <= 20  # each second one caller, and boto3 once more; and the probe
    assert slowest < 3.5
    assert reason(server) in ("custody.open", "custody.unreachable")
    assert server.management("/readyz")[0] == 503
    assert server.management("/livez")[0] == 200
    assert keys(server) == before
    proxy.heal()
    assert until_answered(server, agent, 200) < 2.5
    check(server, get_token(server, agent))
    assert keys(server) == before


@rule("K8")
def test_while_it_is_slow_nobody_waits_for_long(proxy: FaultProxy, server: ServerProcess, agent: AgentSecret) -> None:
    get_token(server, agent)
    proxy.impose(Fault(latency=30))

    def one(_: int) -> tuple[int, float]:
        began = time.monotonic()
        return server.token(agent)[0], time.monotonic() - began

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(one, range(32)))
    assert {status for status, _ in answers} == {503}
    assert max(seconds for _, seconds in answers) < 4.5
    proxy.heal()
    assert until_answered(server, agent, 200) < 5


@rule("K8")
@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("ThrottlingException", "custody.throttled"),
        ("AccessDeniedException", "custody.denied"),
        ("KMSInternalException", "custody.failed"),
        ("DisabledException", "keys.disabled"),
        ("KMSInvalidStateException", "keys.disabled"),
        ("NotFoundException", "keys.gone"),
    ],
)
def test_what_it_refuses_is_503_with_its_reason_and_no_other_key_signs(
    kms: MotoKms, server: ServerProcess, agent: AgentSecret, code: str, why: str
) -> None:
    token, before = get_token(server, agent), keys(server)
    kms.refuses = code
    status, said = server.token(agent)
    assert (status, said["error"], reason(server)) == (503, "temporarily_unavailable", why)
    check(server, token)
    kms.refuses = ""
    new = get_token(server, agent)
    assert parse_compact(new, typ="at+jwt").header["kid"] == parse_compact(token, typ="at+jwt").header["kid"]
    assert keys(server) == before


@rule("K8")
def test_started_while_it_is_away_the_server_serves_its_key_set_and_issues_when_it_is_back(
    proxy: FaultProxy, server: ServerProcess, agent: AgentSecret
) -> None:
    token = get_token(server, agent)
    server.stop()
    proxy.impose(Fault(breaks=Break.RESET))
    server.start()
    check(server, token)
    assert server.token(agent)[0] == 503
    proxy.heal()
    until_answered(server, agent, 200)


@rule("K8")
def test_asked_in_another_region_no_key_of_the_old_one_signs(
    kms: MotoKms, proxy: FaultProxy, server: ServerProcess, agent: AgentSecret, tmp_path: Path
) -> None:
    environment = CREDENTIALS | {
        "WATCHWORD_SERVER__CUSTODY": "aws_kms",
        "WATCHWORD_SERVER__AWS_KMS_REGION": "us-east-1",
        "WATCHWORD_SERVER__AWS_KMS_ENDPOINT": kms.url,
    }
    server.stop()
    try:
        other = ServerProcess(tmp_path, environment=environment, beside=server)
        with other:
            assert other.token(agent)[0] == 503
            assert reason(other) == "keys.region"
    finally:
        server.start()
    get_token(server, agent)


@rule("K8", "O8")
def test_openbao_sealed_and_unsealed(tmp_path: Path) -> None:
    with OpenBao(tmp_path) as bao:
        environment = {
            "WATCHWORD_SERVER__CUSTODY": "vault",
            "WATCHWORD_SERVER__VAULT_URL": bao.url,
            "WATCHWORD_SERVER__VAULT_TOKEN_FILE": str(bao.token_file),
        }
        with ServerProcess(tmp_path, environment=environment) as server:
            agent = server.create_agent("reader")
            token = get_token(server, agent)
            check(server, token)
            bao.ask("PUT", "sys/seal")
            assert (server.token(agent)[0], reason(server)) == (503, "custody.failed")
            check(server, token)
            bao.unseal()
            check(server, get_token(server, agent))
