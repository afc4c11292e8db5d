"""A whole server whose keys are in a token: it starts, signs, says how it fares, and does without it only what needs no key."""

import json
import secrets
from contextlib import closing
from pathlib import Path

import jwt
import pytest

import watchword
from tests import rule, softhsm
from watchword import ChallengeResponse, DPoPKey, PrivateKeyJwt
from watchword.integrations.pkcs11 import Pkcs11Key
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
