"""What a token is: RFC 9068, RFC 6749 §5.1; and the event that tells of it."""

import json
import re

import pytest
from tests import rule
from tests.endpoints.test_token_scopes import claims_of

from watchword.errors import StoreUnavailable
from watchword.protocol.access_token import check_access_token, parse_access_token
from watchword.protocol.jose import parse_compact
from watchword.protocol.jwks import parse_jwks
from watchword.protocol.names import SIGNING_ALGORITHMS
from watchword.testing.server import InProcessServer, Registered


@rule("R6749-5.1-01", "R6749-4.4-01", "O21-3.2.3-01", "TRAP-10", "R6749-3.3-02")
def test_the_answer_has_exactly_the_members_of_the_standard(server: InProcessServer, reader: Registered) -> None:
    answer = server.token(reader)
    assert answer.status == 200
    assert {name: value for name, value in answer.json.items() if name != "access_token"} == {
        "token_type": "Bearer",
        "expires_in": 600,
        "scope": "read:data",
    }
    assert answer.header("content-type") == "application/json"
    assert (answer.header("cache-control"), answer.header("pragma")) == ("no-store", "no-cache")
    assert answer.header("x-content-type-options") == "nosniff"


@rule("R9068-2.1-01", "R9068-2.2-01", "R9068-5-01", "R9068-6-01")
def test_the_token_says_who_what_where_and_until_when(server: InProcessServer, reader: Registered) -> None:
    token = server.token(reader).json["access_token"]
    header = parse_compact(token, typ="at+jwt").header
    assert header == {"alg": "ES256", "typ": "at+jwt", "kid": header["kid"]}
    claims = claims_of(server.token(reader))
    now = int(server.clock().timestamp())
    assert claims == {
        "iss": server.issuer,
        "sub": reader.client_id,
        "client_id": reader.client_id,
        "credential_id": reader.credential_id,
        "aud": "my-api",
        "scope": "read:data",
        "iat": now,
        "exp": now + 600,
        "jti": claims["jti"],
    }


@rule("R6749-10-01")
def test_no_two_tokens_share_an_identifier_of_128_bits(server: InProcessServer, reader: Registered) -> None:
    identifiers = [str(claims_of(server.token(reader))["jti"]) for _ in range(50)]
    assert len(set(identifiers)) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", one) for one in identifiers)


@rule("R9068-2.1-01", "R9864-2-01", "R9864-2-03", "R7517-4-01", "K4")
@pytest.mark.parametrize("algorithm", SIGNING_ALGORITHMS)
def test_every_algorithm_signs_tokens_that_the_published_keys_verify(algorithm: str) -> None:
    server = InProcessServer(algorithms=(algorithm,))
    server.add_resource(signing_algorithm=algorithm)
    agent = server.add_agent()
    unverified = parse_access_token(server.token(agent).json["access_token"])
    jwks = server.ask("GET", "/.well-known/jwks.json").json
    (published,) = jwks["keys"]
    assert published["use"] == "sig"
    assert published["alg"] == algorithm
    assert not set(published) & {"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}
    key = parse_jwks(jwks).find(published["kid"], algorithm)
    assert key is not None
    from datetime import timedelta

    token = check_access_token(
        unverified,
        key=key,
        issuer=server.issuer,
        audience="my-api",
        algorithms=frozenset({algorithm}),
        now=server.clock(),
        leeway=timedelta(0),
    )
    assert token.client_id == agent.client_id


@rule("DR-9", "DR-11", "U6")
def test_an_issued_token_has_one_event_that_names_it(server: InProcessServer, reader: Registered) -> None:
    answer = server.token(reader)
    claims = claims_of(answer)
    (event,) = server.events()
    assert event == {
        "id": event["id"],
        "time": "2026-11-24T12:00:00.000000Z",
        "action": "token.issue",
        "outcome": "success",
        "reason": "issued",
        "actor": f"agent:{reader.client_id}",
        "request_id": answer.header("x-request-id"),
        "peer": "192.0.2.7",
        "client_id": reader.client_id,
        "credential_id": reader.credential_id,
        "grant_type": "client_credentials",
        "client_auth": "client_secret_basic",
        "resource": "my-api",
        "scope": "read:data",
        "jti": claims["jti"],
        "kid": event["kid"],
        "expires_at": "2026-11-24T12:10:00.000000Z",
        "details": {"alg": "ES256", "lifetime": "600"},
    }


async def unavailable(*_: object, **__: object) -> None:
    raise StoreUnavailable("store.injected")


@rule("DR-9", "DR-10", "U5")
def test_without_its_event_no_token_leaves(
    server: InProcessServer, reader: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(server.store, "commit", unavailable)
        answer = server.token(reader)
    assert (answer.status, answer.json["error"], answer.header("retry-after")) == (503, "temporarily_unavailable", "1")
    assert b"access_token" not in answer.body
    assert server.events() == []
    assert server.token(reader).status == 200


@rule("DR-10", "S13", "C9")
def test_a_store_that_cannot_be_read_gives_no_token_and_no_wrong_answer(
    server: InProcessServer, reader: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    for read in ("epoch", "credentials", "registration"):
        with monkeypatch.context() as patch:
            patch.setattr(server.store, read, unavailable)
            answer = server.token(reader)
        assert (answer.status, answer.json["error"]) == (503, "temporarily_unavailable")
    assert server.token(reader).status == 200


@rule("DR-10")
def test_without_a_key_for_the_algorithm_there_is_no_token(server: InProcessServer) -> None:
    server.add_resource("rsa", signing_algorithm="RS256")
    agent = server.add_agent("a", permissions={"rsa": ("read:data",)})
    answer = server.token(agent)
    assert answer.status == 503
    event = server.last_event()
    assert (event["outcome"], event["reason"]) == ("failed", "keys.none_active")


def test_a_bug_gives_503_and_no_text_of_its_own(
    server: InProcessServer, reader: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("internal text")

    monkeypatch.setattr(type(server.core.signer), "sign", broken)
    answer = server.token(reader)
    assert answer.status == 503
    assert b"internal text" not in answer.body
    assert server.last_event()["reason"] == "internal"


@rule("R6749-5.2-01", "TRAP-10", "R6749-5.2-04")
def test_every_refusal_of_every_kind_is_json_that_is_not_stored(
    server: InProcessServer, reader: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = "grant_type=client_credentials"
    typed = ("content-type", "application/x-www-form-urlencoded")
    answers = [
        server.post(form, reader.basic),
        server.post(form),
        server.post(form, ("authorization", "Basic !")),
        server.post(form, path="/nowhere"),
        server.ask("GET", "/oauth/token"),
        server.ask("GET", "/oauth/authorize"),
        server.ask("POST", "/.well-known/jwks.json"),
        server.ask("GET", "/.well-known/jwks.json", host="evil.example"),
        server.post("x=" + "a" * 65_536, reader.basic),
        server.ask("POST", "/oauth/token", headers=[typed, ("content-encoding", "gzip")], body=b"x"),
    ]
    monkeypatch.setattr(server.store, "commit", unavailable)
    answers.append(server.token(reader))
    assert [answer.status for answer in answers] == [400, 401, 401, 404, 405, 400, 405, 400, 413, 415, 503]
    for answer in answers:
        assert set(answer.json) == {"error", "error_description", "request_id"}
        assert all(isinstance(value, str) and value for value in answer.json.values())
        assert answer.header("content-type") == "application/json"
        assert (answer.header("cache-control"), answer.header("pragma")) == ("no-store", "no-cache")
        assert answer.header("x-content-type-options") == "nosniff"
        assert answer.header("x-request-id") == answer.json["request_id"]
        assert answer.header("etag") is answer.header("access-control-allow-origin") is None


@rule("R6749-5.2-04", "KF-86", "KF-116")
def test_an_error_description_stays_within_the_character_set(server: InProcessServer, reader: Registered) -> None:
    hostile = '<script>"\\\r\n\u202e\x1b'
    for form in (
        {"scope": "read:data"},
        {"grant_type": hostile},
        {"grant_type": "client_credentials", "audience": "x<y>", "scope": "a"},
    ):
        answer = server.post(form, reader.basic)
        assert re.fullmatch(r"[\x20-\x21\x23-\x5B\x5D-\x7E]+", answer.json["error_description"])
        assert json.loads(answer.body)["error"] in (
            "invalid_request",
            "unsupported_grant_type",
            "invalid_target",
            "invalid_scope",
        )


def test_a_credential_remembers_when_and_from_where_it_was_last_used(
    server: InProcessServer, reader: Registered
) -> None:

    def last_used() -> tuple[object, str]:
        registration = server.run(server.store.registration(reader.client_id))
        assert registration is not None
        (credential,) = registration.credentials
        return credential.last_used_at, credential.last_used_network

    assert last_used() == (None, "")
    server.token(reader)
    first = server.clock()
    assert last_used() == (first, "192.0.2.0/24")
    server.advance(3599)
    server.token(reader)
    assert last_used() == (first, "192.0.2.0/24")
    server.advance(1)
    server.token(reader)
    assert last_used() == (server.clock(), "192.0.2.0/24")
