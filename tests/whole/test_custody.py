"""A whole server whose keys are in a token: it starts, signs, says how it fares, and does without it only what needs no key."""

import json
import secrets
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import jwt
import pytest

import watchword
from tests import rule, softhsm
from tests.processes import create_agent, run
from tests.processes import environment as environment_of
from tests.whole.rotating import traffic_at
from tests.whole.server_process import PROGRAM, serving_here, until
from tests.whole.swift_node import SWIFT
from watchword import ChallengeResponse, DPoPKey, PrivateKeyJwt
from watchword.integrations.pkcs11 import Pkcs11Key
from watchword.protocol import kept_keys
from watchword.protocol.jose import import_public_jwk, parse_compact, verify
from watchword.testing.process import ServerProcess

pytest.importorskip("pkcs11", reason="needs watchword[pkcs11]")
pytestmark = pytest.mark.places(
    "sqlite", why="a record of a key is the same in every store, which the contract of stores says"
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return softhsm.settings(tmp_path_factory.mktemp("custody"))


def published(server: ServerProcess) -> list[dict[str, str]]:
    with closing(server.connect()) as connection:
        connection.request("GET", "/.well-known/jwks.json")
        answer = connection.getresponse()
        assert answer.status == 200
        return list(json.loads(answer.read())["keys"])


@rule("K4", "K8", "TRAP-15")
def test_tokens_are_signed_in_the_token_from_the_first_start_on(tmp_path: Path, environment) -> None:
    with ServerProcess(tmp_path, environment=environment, options=["--workers", "2"]) as server:
        (jwk,) = published(server)
        assert set(jwk) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
        agent = server.create_agent("reader")
        tokens = [server.token(agent)[1]["access_token"] for _ in range(20)]
        for token in tokens:
            verify(parse_compact(token, typ="at+jwt"), import_public_jwk(jwk), algorithms=frozenset({"ES256"}))
        status, text = server.management("/readyz?verbose")
        assert (status, "signer: ok" in text) == (200, True)
        status, text = server.management("/metrics")
        assert 'watchword_signing_duration_seconds_count{alg="ES256",backend="pkcs11"}' in text
        assert softhsm.PIN not in server.log.read_text() + text


@rule("K8", "O8")
def test_without_its_token_it_starts_publishes_its_keys_and_issues_nothing(tmp_path: Path, environment) -> None:
    server = ServerProcess(tmp_path, environment=environment)
    with server:
        agent = server.create_agent("reader")
        before = published(server)
    server._environment["WATCHWORD_SERVER__PKCS11_TOKEN"] = "away"
    with server:
        assert published(server) == before
        for _ in range(8):
            status, answer = server.token(agent)
            assert (status, answer["error"]) == (503, "temporarily_unavailable")
        assert server.management("/readyz?verbose")[0] == 503
        reasons = {line["reason"] for line in server.logged("fault")}
        assert reasons == {"custody.unreachable", "custody.open"}
        assert server.logged("custody_away")
        assert published(server) == before
    server._environment["WATCHWORD_SERVER__PKCS11_TOKEN"] = softhsm.LABEL
    kept = {name: server._environment.pop(name) for name in environment if name.startswith("WATCHWORD_")}
    with server:
        status, answer = server.token(agent)
        assert (status, answer["error"]) == (503, "temporarily_unavailable")
        assert {line["reason"] for line in server.logged("fault")} >= {"keys.custody"}
        assert published(server) == before
    server._environment.update(kept)
    with server:
        assert server.token(agent)[0] == 200


@rule("K9")
def test_another_master_key_is_found_out_though_the_key_is_in_the_token(tmp_path: Path, environment) -> None:
    server = ServerProcess(tmp_path, environment=environment)
    path = server.data / "master.key"
    right = path.read_text()
    path.write_text("A" * 43 + "=\n")
    with pytest.raises(AssertionError, match=r"master_key\.wrong|not the master key"):
        server.command("key", "list", "--data", str(server.data))
    path.write_text(right)
    server.command("key", "list", "--data", str(server.data))


@rule("K1", "K8", "TRAP-22")
def test_keys_move_to_a_token_and_back_under_traffic_and_nobody_notices(tmp_path: Path, monkeypatch) -> None:
    """A node whose keys live for seconds, none rotating by itself; it has both custodies from its start on."""
    monkeypatch.setattr(kept_keys, "MIN_FRESHNESS", SWIFT.max_age)
    token = softhsm.settings(tmp_path)
    monkeypatch.setenv("SOFTHSM2_CONF", token.pop("SOFTHSM2_CONF"))
    said = {name.partition("__")[2].lower(): value for name, value in token.items()} | {"custody": "local"}
    node = (sys.executable, str(Path(__file__).with_name("swift_node.py")), str(tmp_path))
    with serving_here(tmp_path, program=node, signing_key_period=0, **said) as one:
        command = [*PROGRAM, "--url", one.server.issuer, "-o", "json", "key"]

        def asked(*arguments: str) -> Any:
            return json.loads(run([*command, *arguments], env=environment_of(tmp_path), cwd=tmp_path))

        agent = create_agent(one.server, "reader", "--scope", "read:data")
        with traffic_at([one], agent, one.server.issuer, rate=100) as tally:
            for custody in ("pkcs11", "local"):
                moved = asked("migrate", "--to", custody)
                assert (moved["state"], moved["custody"]) == ("published", custody)
                until(lambda: tally().traffic[0].kids[-1][0] == moved["kid"], custody)  # noqa: B023 -- asked here
            done = tally()
        listed = asked("list")
        assert one.metric("watchword_signing_duration_seconds_count", backend="pkcs11") > 0
    assert (done.wrong, done.traffic[0].changes) == (Counter(), 2)
    assert done.traffic[0].issued > 50
    assert [key["custody"] for key in listed] == ["local", "pkcs11", "local"]


@rule("K4", "Q6")
def test_an_agent_logs_in_with_a_key_that_never_leaves_its_token(tmp_path: Path) -> None:
    library = softhsm.shared_token()

    def make(algorithm: str = "ES256") -> Pkcs11Key:
        label = secrets.token_hex(8)
        return Pkcs11Key.generate(library, softhsm.LABEL, label=label, pin=softhsm.PIN, algorithm=algorithm)

    key, other = make(), make("Ed25519")
    with ServerProcess(tmp_path) as server:
        server.create_agent("first")
        permission = {"resource": "my-api", "scopes": ["read:data"]}
        said = {"name": "hsm", "permissions": [permission], "auth_method": "private_key_jwt"}
        status, agent = server.admin("POST", "/agents", {**said, "public_key": {"jwk": dict(key.public_jwk)}})
        assert status == 201, agent
        for client in (PrivateKeyJwt(agent["client_id"], key), ChallengeResponse(agent["client_id"], key)):
            login = watchword.Login(
                issuer=server.issuer, client=client, scope="read:data", dpop=DPoPKey(other, is_kept=True)
            )
            claims = jwt.decode(login.token(), options={"verify_signature": False})
            assert claims["sub"] == agent["client_id"]
            assert claims["cnf"] == {"jkt": other.public_jwk["kid"]}
        stranger = watchword.Login(issuer=server.issuer, client=PrivateKeyJwt(agent["client_id"], make()))
        with pytest.raises(watchword.LoginRefused) as caught:
            stranger.token(scope="read:data")
        assert caught.value.error == "invalid_client"
