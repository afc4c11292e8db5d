"""Who may ask for a token: ABUSE 6.2, RFC 6749 §2.3, §5.2."""

import hmac
import json
from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote_plus

import pytest
from tests import rule
from tests.endpoints.test_token_parsing import GRANT, assert_refused

from watchword.ports.agents import AgentState
from watchword.protocol import names
from watchword.protocol.client_secret import SecretKind, generate_secret, hash_secret
from watchword.testing.faults import failing
from watchword.testing.server import Answer, InProcessServer, Registered

pytestmark = pytest.mark.usefixtures("sane")

FORM = f"{GRANT}&scope=read:data"


def basic(client_id: str, secret: str) -> tuple[str, str]:
    return "authorization", "Basic " + b64encode(f"{client_id}:{secret}".encode()).decode()


def assert_unauthenticated(server: InProcessServer, answer: Answer, reason: str) -> None:
    assert_refused(server, answer, reason, 401, "invalid_client")


@rule("C1")
def test_no_credentials_are_refused(server: InProcessServer) -> None:
    assert_unauthenticated(server, server.post(FORM), "client.no_credentials")


@rule("C1", "KF-55")
def test_a_client_id_alone_is_refused(server: InProcessServer, reader: Registered) -> None:
    assert_unauthenticated(server, server.post(f"{FORM}&client_id={reader.client_id}"), "client.no_credentials")


@rule("R6749-2.3-02", "O21-2.4-01", "R6749-4.4-01")
def test_the_header_and_the_body_both_work(server: InProcessServer, reader: Registered) -> None:
    assert server.post(FORM, reader.basic).status == 200
    assert server.last_event()["client_auth"] == "client_secret_basic"
    assert server.post(f"{FORM}&client_id={reader.client_id}&client_secret={reader.secret}").status == 200
    assert server.last_event()["client_auth"] == "client_secret_post"


@rule("R6749-2.3-01", "C2", "KF-49")
@pytest.mark.parametrize(
    "second",
    [
        "client_secret={secret}",
        "client_id={client_id}&client_secret={secret}",
        "client_assertion=a.b.c&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion=a.b.c",
    ],
)
def test_two_methods_are_refused_even_if_both_are_right(
    server: InProcessServer, reader: Registered, second: str
) -> None:
    extra = second.format(client_id=reader.client_id, secret=reader.secret)
    assert_refused(server, server.post(f"{FORM}&{extra}", reader.basic), "client.several_methods")


@rule("C2")
def test_a_secret_and_an_assertion_in_the_body_are_refused(server: InProcessServer, reader: Registered) -> None:
    body = f"{FORM}&client_id={reader.client_id}&client_secret={reader.secret}&client_assertion=a.b.c"
    assert_refused(server, server.post(body), "client.several_methods")


@rule("R6749-2.3-01", "C6")
def test_the_same_client_id_in_the_body_is_no_second_method(server: InProcessServer, reader: Registered) -> None:
    assert server.post(f"{FORM}&client_id={reader.client_id}", reader.basic).status == 200


@rule("R6749-2.3-08", "C6")
def test_another_client_id_in_the_body_is_refused(server: InProcessServer, reader: Registered) -> None:
    assert_refused(server, server.post(f"{FORM}&client_id=other", reader.basic), "client.id_mismatch")


@rule("C3", "R6749-2.3-02")
@pytest.mark.parametrize("pinned", [names.CLIENT_SECRET_BASIC, names.CLIENT_SECRET_POST])
def test_a_pinned_method_refuses_the_other(server: InProcessServer, pinned: str) -> None:
    agent = server.add_agent("pinned", auth_methods=(pinned,))
    in_body = f"{FORM}&client_id={agent.client_id}&client_secret={agent.secret}"
    answers = {
        names.CLIENT_SECRET_BASIC: server.post(FORM, agent.basic),
        names.CLIENT_SECRET_POST: server.post(in_body),
    }
    assert answers.pop(pinned).status == 200
    (other,) = answers.values()
    assert other.status == 401
    assert "client.method" in {event["reason"] for event in server.events()}


@rule("R6749-2.3-09", "C3", "KF-49")
def test_a_secret_does_not_serve_an_agent_registered_for_keys(server: InProcessServer) -> None:
    agent = server.add_agent("keyed", auth_methods=(names.PRIVATE_KEY_JWT,))
    assert_unauthenticated(server, server.post(FORM, agent.basic), "client.method")


@rule("C4", "TRAP-07")
@pytest.mark.parametrize(
    "value",
    [
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic " + b64encode(b"no-colon").decode(),
        "Basic " + b64encode(b":secret").decode(),
        "Basic " + b64encode(b"reader:").decode(),
        "Basic\tabc",
        "Basic " + b64encode(b"\xff\xfe:x").decode(),
        "Basic " + "A" * 100_000,
    ],
)
def test_a_malformed_header_is_refused(server: InProcessServer, value: str) -> None:
    answer = server.post(FORM, ("authorization", value))
    assert answer.status in (400, 401)
    assert server.last_event()["outcome"] == "denied"
    assert server.last_event()["reason"].startswith(("basic.", "client.", "authorization."))


@rule("C4")
def test_the_scheme_is_case_insensitive(server: InProcessServer, reader: Registered) -> None:
    name, value = reader.basic
    assert server.post(FORM, (name, value.replace("Basic", "bAsIc"))).status == 200


@rule("C4", "TRAP-11")
def test_two_authorization_headers_are_refused(server: InProcessServer, reader: Registered) -> None:
    assert_refused(server, server.post(FORM, reader.basic, reader.basic), "authorization.several")


@rule("C15", "C16")
@pytest.mark.parametrize("scheme", ["Bearer", "DPoP", "Digest", "Negotiate"])
def test_another_scheme_is_refused(server: InProcessServer, reader: Registered, scheme: str) -> None:
    answer = server.post(FORM, ("authorization", f"{scheme} {reader.secret}"))
    assert_unauthenticated(server, answer, "client.method_unknown")
    assert reader.secret not in str(server.events())


@rule("R6749-5.2-02", "R6749-5.2-03", "TRAP-07")
def test_a_challenge_answers_the_header_and_only_it(server: InProcessServer, reader: Registered) -> None:
    by_header = server.post(FORM, basic(reader.client_id, "wrong"))
    assert by_header.header("www-authenticate") == 'Basic realm="watchword"'
    by_body = server.post(f"{FORM}&client_id={reader.client_id}&client_secret=wrong")
    assert (by_body.status, by_body.header("www-authenticate")) == (401, None)


@rule("R6749-2.3-03", "C5", "TRAP-05")
@pytest.mark.parametrize("secret", ["a:b", "100%", "a+b", "a b", "s\u00e4cret", "a%2Bb", ":::", "\u5bc6"])
def test_a_secret_with_special_characters_works_when_it_is_encoded(server: InProcessServer, secret: str) -> None:
    agent = server.add_agent("special", secret=secret)
    assert server.post(FORM, agent.basic).status == 200
    body = {
        "grant_type": "client_credentials",
        "scope": "read:data",
        "client_id": agent.client_id,
        "client_secret": secret,
    }
    assert server.post(body).status == 200


@rule("C5", "TRAP-05")
def test_a_raw_plus_in_the_header_is_a_space(server: InProcessServer) -> None:
    plus, space = server.add_agent("plus", secret="a+b"), server.add_agent("space", secret="a b")
    assert_unauthenticated(server, server.post(FORM, basic(plus.client_id, "a+b")), "client.credential")
    assert server.post(FORM, basic(space.client_id, "a+b")).status == 200


@rule("C7", "KF-48", "KF-85", "KF-125")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda secret: secret[:-1],
        lambda secret: secret + "x",
        lambda secret: secret[:-1] + chr(ord(secret[-1]) ^ 1),
        lambda secret: secret.swapcase(),
        lambda secret: " " + secret,
        lambda secret: secret + "\n",
        lambda secret: generate_secret(SecretKind.CLIENT),
        lambda secret: generate_secret(SecretKind.OPERATOR),
    ],
)
def test_a_wrong_secret_is_refused(server: InProcessServer, reader: Registered, spoil: object) -> None:
    wrong = spoil(reader.secret)  # type: ignore[operator]
    answer = server.post(FORM, basic(quote_plus(reader.client_id), quote_plus(wrong)))
    assert_unauthenticated(server, answer, "client.credential")


@rule("C7")
def test_another_clients_secret_and_the_stored_hash_are_refused(server: InProcessServer, reader: Registered) -> None:
    other = server.add_agent("other")
    hashed = hash_secret(reader.secret, pepper=server.peppers.client_secret).hex()
    for wrong in (other.secret, hashed):
        assert_unauthenticated(server, server.post(FORM, basic(reader.client_id, wrong)), "client.credential")


@rule("C11", "KF-11", "KF-55")
def test_an_agent_without_a_secret_never_logs_in(server: InProcessServer) -> None:
    agent = server.add_agent("bare")
    server.revoke_secret(agent)
    body = {"grant_type": "client_credentials", "scope": "read:data", "client_id": agent.client_id}
    for secret in ("", " ", "None", "null", agent.secret):
        assert server.post({**body, "client_secret": secret}).status == 401
        assert server.post(FORM, basic(agent.client_id, secret)).status == 401


@rule("R6749-2.3-06", "C8", "C9", "KF-92", "R6749-4.4-05", "DR-16")
def test_no_answer_tells_an_unknown_client_from_a_known_one(server: InProcessServer, reader: Registered) -> None:
    suspended, deleted, expired = (
        server.add_agent("suspended"),
        server.add_agent("deleted"),
        server.add_agent("expired", expires_at=server.clock()),
    )
    server.set_state(suspended.client_id, AgentState.SUSPENDED)
    server.set_state(deleted.client_id, AgentState.DELETED)
    answers = [
        server.post(FORM, basic("no-such-agent", "wrong")),
        server.post(FORM, basic(reader.client_id, "wrong")),
        *(server.post(FORM, agent.basic) for agent in (suspended, deleted, expired)),
    ]
    reasons = [event["reason"] for event in server.events()]
    assert reasons == ["client.unknown", "client.credential", "client.suspended", "client.deleted", "client.expired"]
    shapes = set()
    for answer in answers:
        body = {name: value for name, value in answer.json.items() if name != "request_id"}
        headers = tuple(pair for pair in answer.headers if pair[0] != "x-request-id")
        shapes.add((answer.status, json.dumps(body), headers))
    assert len(shapes) == 1


@rule("R6749-2.3-06", "C8", "KF-92")
def test_the_store_is_asked_the_same_of_an_unknown_client_and_of_a_known_one(
    server: InProcessServer, reader: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def recorded(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: object, **named: object) -> Any:
            asked.append(name)
            return method(*arguments, **named)

        return call

    for name in ("credentials", "registration", "find_agent", "resource", "signing_keys", "epoch", "commit"):
        monkeypatch.setattr(server.store, name, recorded(name, getattr(server.store, name)))

    def work(client_id: str) -> list[str]:
        asked.clear()
        assert server.post(FORM, basic(client_id, "wrong")).status == 401
        return list(asked)

    assert work("no-such-agent") == work(reader.client_id) == ["credentials", "commit"]


@rule("C9", "DR-8")
def test_a_secret_that_is_revoked_while_it_is_compared_is_refused(
    server: InProcessServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = server.add_agent("moment")
    before = server.run(server.store.credentials(agent.client_id))
    assert before is not None

    async def a_moment_ago(_client_id: str) -> object:
        return before

    monkeypatch.setattr(server.store, "credentials", a_moment_ago)
    assert server.post(FORM, agent.basic).status == 200
    server.revoke_secret(agent)
    assert_unauthenticated(server, server.post(FORM, agent.basic), "client.credential")


@rule("C8", "KF-92", "R6749-2.3-06", "FI-26")
@pytest.mark.parametrize("method", ["basic", "post"])
def test_an_unknown_client_and_a_wrong_secret_are_the_same_work(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    server = InProcessServer(through=failing)
    server.add_resource()
    known = server.add_agent("known").client_id
    unknown = "x" * len(known)
    hashed: list[bytes] = []
    real = hmac.digest
    monkeypatch.setattr(hmac, "digest", lambda key, message, name: hashed.append(message) or real(key, message, name))

    def work(client_id: str) -> tuple[object, ...]:
        server.core.store.disarm()
        hashed.clear()
        body = FORM if method == "basic" else f"{FORM}&client_id={client_id}&client_secret=wrong"
        answer = server.post(body, *([basic(client_id, "wrong")] if method == "basic" else []))
        shape = [pair for pair in answer.headers if pair[0] != "x-request-id"], {**answer.json, "request_id": ""}
        return answer.status, shape, list(server.core.store.calls), list(hashed)

    first_known, first_unknown = work(known), work(unknown)
    assert first_known == first_unknown
    assert [work(name) for name in (known, unknown, known)] == [work(unknown)] * 3
    assert work(known)[2:] == (["credentials", "commit"], [b"wrong"])


@rule("C9", "DR-8")
def test_an_agent_is_refused_from_the_moment_of_its_suspension_to_its_resumption(server: InProcessServer) -> None:
    agent = server.add_agent("switched")
    assert server.token(agent).status == 200
    server.set_state(agent.client_id, AgentState.SUSPENDED)
    assert_unauthenticated(server, server.token(agent), "client.suspended")
    server.set_state(agent.client_id, AgentState.ACTIVE)
    assert server.token(agent).status == 200


@rule("C10", "TRAP-22")
def test_secrets_overlap_exactly_as_long_as_they_are_told_to(server: InProcessServer) -> None:
    agent = server.add_agent("rotating")
    now = server.clock()
    old = server.add_secret(agent.client_id, expires_at=now + timedelta(seconds=60))
    new = server.add_secret(agent.client_id, not_before=now + timedelta(seconds=30))
    assert server.token(old).status == 200
    assert_unauthenticated(server, server.token(new), "client.credential")
    server.advance(30)
    assert (server.token(old).status, server.token(new).status) == (200, 200)
    server.advance(30)
    assert_unauthenticated(server, server.token(old), "client.credential")
    assert server.token(new).status == 200


@rule("C10")
def test_a_revoked_secret_is_refused_and_the_others_work(server: InProcessServer, reader: Registered) -> None:
    second = server.add_secret(reader.client_id)
    server.revoke_secret(second)
    assert_unauthenticated(server, server.token(second), "client.credential")


@rule("C13", "TRAP-24", "KF-95")
def test_a_secret_in_any_field_stays_out_of_the_audit_and_the_answer(
    server: InProcessServer, reader: Registered
) -> None:
    canary = generate_secret(SecretKind.CLIENT)
    for field in ("grant_type", "scope", "client_id", "client_secret", "resource", "audience", "client_assertion"):
        form = {"grant_type": "client_credentials", "scope": "read:data", field: canary}
        for answer in (server.post(form), server.post(form, reader.basic), server.post(form, basic(canary, canary))):
            assert canary.encode() not in answer.body
    assert canary not in json.dumps(server.events())


@rule("C16", "KF-90")
def test_an_issued_token_is_no_client_secret(server: InProcessServer, reader: Registered) -> None:
    token = server.token(reader).json["access_token"]
    assert_unauthenticated(server, server.post(FORM, basic(reader.client_id, token)), "client.credential")


@rule("R6749-4.4-03", "KF-79")
def test_a_client_not_registered_for_the_grant_is_refused(server: InProcessServer) -> None:
    agent = server.add_agent("other-grant", grant_types=("urn:ietf:params:oauth:grant-type:token-exchange",))
    assert_refused(server, server.token(agent), "grant.not_allowed", error="unauthorized_client")
