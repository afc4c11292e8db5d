"""What is said of a token, to whom, and when it is not said any more. RFC 7662, RFC 9701."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests import rule

from watchword.ports.agents import AgentState, Conditions
from watchword.ports.keys import KeyState
from watchword.ports.ratelimit import Rate
from watchword.ports.store import DeletePermission, Replace, RevokeCredential
from watchword.protocol.client_secret import SecretKind, generate_secret
from watchword.protocol.jose import parse_compact, verify
from watchword.protocol.jwks import parse_jwks
from watchword.protocol.revocation import RevocationKind
from watchword.server.limits import Limits
from watchword.server.revocations import revoke, whole_second
from watchword.testing.answers import Answer
from watchword.testing.server import InProcessServer, Registered

PATH = "/oauth/introspect"
JWT = "application/token-introspection+jwt"
INACTIVE = {"active": False}


@pytest.fixture
def api(server: InProcessServer) -> Registered:
    return server.add_agent("api", permissions={}, serves=("my-api",))


def ask(server: InProcessServer, caller: Registered, token: str, *headers: tuple[str, str], **form: str) -> Answer:
    return server.post({"token": token, **form}, caller.basic, *headers, path=PATH)


def text_of(server: InProcessServer, agent: Registered, **form: str) -> str:
    return str(server.token(agent, **form).json["access_token"])


@rule("R7662-2.1-01", "R7662-2.2-01")
def test_an_active_token_is_told_with_all_that_it_says(
    server: InProcessServer, reader: Registered, api: Registered
) -> None:
    answer = ask(server, api, text_of(server, reader))
    now = int(server.clock().timestamp())
    assert answer.status == 200
    assert answer.json == {
        "active": True,
        "iss": server.issuer,
        "sub": reader.client_id,
        "client_id": reader.client_id,
        "aud": "my-api",
        "exp": now + 600,
        "iat": now,
        "jti": server.events()[-1]["jti"],
        "credential_id": reader.credential_id,
        "scope": "read:data",
        "token_type": "Bearer",
    }
    assert answer.header("cache-control") == "no-store"
    (event,) = server.events("token.introspect")
    assert (event["outcome"], event["reason"], event["client_id"]) == ("success", "active", api.client_id)
    assert event["details"] == {"subject": reader.client_id}


@rule("I1", "R7662-2.1-02")
def test_nobody_and_a_wrong_secret_learn_nothing(server: InProcessServer, reader: Registered, api: Registered) -> None:
    token = text_of(server, reader)
    stranger = Registered(api.client_id, generate_secret(SecretKind.CLIENT))
    wrong = ask(server, stranger, token)
    assert (wrong.status, wrong.json["error"]) == (401, "invalid_client")
    assert wrong.header("www-authenticate").startswith("Basic")
    nobody = server.post({"token": token}, path=PATH)
    assert (nobody.status, nobody.json["error"]) == (401, "invalid_client")
    assert [one["reason"] for one in server.events("token.introspect")] == [
        "client.credential",
        "client.no_credentials",
    ]
    assert ask(server, api, token).json["active"] is True


@rule("R7662-2.1-01", "R7662-2.1-03", "I2")
def test_a_request_is_a_form_with_a_token_in_it(server: InProcessServer, reader: Registered, api: Registered) -> None:
    token = text_of(server, reader)
    for form in ({}, {"token": ""}, {"token_type_hint": "access_token"}):
        answer = server.post(form or {"x": "y"}, api.basic, path=PATH)
        assert (answer.status, answer.json["error"]) == (400, "invalid_request")
    assert server.events("token.introspect")[-1]["reason"] == "request.token"
    got = server.ask("GET", f"{PATH}?token={token}", headers=[api.basic])
    assert (got.status, got.header("allow")) == (405, "POST")
    in_url = server.post({"token": token}, api.basic, path=f"{PATH}?token={token}")
    assert (in_url.status, server.events("token.introspect")[-1]["reason"]) == (400, "form.query")
    assert server.post("token=" + "x" * 1_000_000, api.basic, path=PATH).status == 413
    assert ask(server, api, token).json["active"] is True


def tampered(token: str) -> str:
    head, claims, signature = token.split(".")
    return ".".join([head, claims, signature[:-4] + ("AAAA" if signature[-4:] != "AAAA" else "BBBB")])


@rule("I2", "R7662-2.2-02", "KF-75", "TRAP-08")
@pytest.mark.parametrize(
    "other",
    [
        lambda _token: "nothing",
        lambda _token: "a.b.c",
        lambda token: token[:-1],
        tampered,
        lambda token: "x" * (8 * 1024 + 1),
        lambda _token: generate_secret(SecretKind.CLIENT),
        lambda token: token.replace(token.split(".")[0], base64.urlsafe_b64encode(b'{"alg":"none"}').decode()),
    ],
)
def test_of_what_is_no_token_exactly_one_thing_is_said(
    server: InProcessServer, reader: Registered, api: Registered, other: Callable[[str], str]
) -> None:
    token = text_of(server, reader)
    answer = ask(server, api, other(token))
    assert (answer.status, answer.json) == (200, INACTIVE)
    event = server.events("token.introspect")[-1]
    assert (event["outcome"], event["reason"]) == ("success", "inactive")
    assert event["details"]["why"]
    assert ask(server, api, token).json["active"] is True


@rule("R7662-2.2-02", "I7")
def test_a_token_is_over_to_the_second(server: InProcessServer, reader: Registered, api: Registered) -> None:
    token = text_of(server, reader)
    server.advance(599)
    assert ask(server, api, token).json["active"] is True
    server.advance(1)
    assert ask(server, api, token).json == INACTIVE
    assert server.events("token.introspect")[-1]["details"] == {"why": "token.expired"}


@rule("R7662-2.2-03", "I2", "KF-75", "TRAP-08")
def test_a_stranger_is_told_what_is_told_of_no_token(server: InProcessServer, reader: Registered) -> None:
    server.add_resource("other-api")
    token = text_of(server, reader)
    for stranger in (
        server.add_agent("other", permissions={"my-api": ("read:data",)}),
        server.add_agent("other", permissions={}, serves=("other-api",)),
    ):
        assert ask(server, stranger, token).json == INACTIVE
        assert server.events("token.introspect")[-1]["details"] == {"why": "token.not_the_callers"}
    assert ask(server, reader, token).json["active"] is True
    assert ask(server, server.add_agent("every", permissions={}, serves=("*",)), token).json["active"] is True


@rule("I3")
@pytest.mark.parametrize("hint", ["refresh_token", "access_token", "whatever"])
def test_a_hint_changes_nothing(server: InProcessServer, reader: Registered, api: Registered, hint: str) -> None:
    assert ask(server, api, text_of(server, reader), token_type_hint=hint).json["active"] is True


def suspend(server: InProcessServer, reader: Registered) -> None:
    server.set_state(reader.client_id, AgentState.SUSPENDED)


def let_expire(server: InProcessServer, reader: Registered) -> None:
    agent = server.agent_of(reader.client_id)
    server.commit(Replace(replace(agent, expires_at=server.clock(), version=agent.version + 1)))


def take_permission(server: InProcessServer, reader: Registered) -> None:
    registration = server.run(server.store.registration(reader.client_id))
    assert registration is not None
    server.commit(*(DeletePermission(reader.client_id, one.id) for one in registration.permissions))


def compromise(server: InProcessServer, _reader: Registered) -> None:
    (key,) = server.run(server.store.signing_keys())
    server.commit(Replace(replace(key, state=KeyState.COMPROMISED, version=key.version + 1)))


DISABLINGS: dict[str, Callable[[InProcessServer, Registered], None]] = {
    "token.agent": suspend,
    "token.agent (expired)": let_expire,
    "token.credential": lambda server, reader: server.commit(RevokeCredential(reader.client_id, reader.credential_id)),
    "token.permission": take_permission,
    "token.unknown_key": compromise,
    "token.revoked": lambda server, reader: server.commit(
        revoke(RevocationKind.AGENT, reader.client_id, cutoff=whole_second(server.clock()), now=server.clock())
    ),
}


@rule("R7662-2.2-04", "I6", "R5", "KF-73")
@pytest.mark.parametrize("why", list(DISABLINGS))
def test_what_is_disabled_is_inactive_at_once(
    server: InProcessServer, reader: Registered, api: Registered, why: str
) -> None:
    """By what is registered now, even where nobody has written a revocation."""
    token = text_of(server, reader)
    assert ask(server, api, token).json["active"] is True
    DISABLINGS[why](server, reader)
    assert ask(server, api, token).json == INACTIVE
    assert server.events("token.introspect")[-1]["details"] == {"why": why.partition(" ")[0]}


def test_a_permission_that_has_ended_gives_nothing_any_more(server: InProcessServer, api: Registered) -> None:
    end = server.clock() + timedelta(seconds=60)
    brief = server.add_agent("brief", conditions=Conditions(not_after=end))
    token = text_of(server, brief)
    assert ask(server, api, token).json["active"] is True
    server.advance(60)
    assert ask(server, api, token).json == INACTIVE


@rule("R9701-4-01", "R9701-5-01", "R9701-6-01", "R9701-8-01")
def test_a_signed_answer_is_for_the_caller_alone(server: InProcessServer, reader: Registered, api: Registered) -> None:
    token = text_of(server, reader)
    plain = ask(server, api, token).json
    answer = ask(server, api, token, ("accept", JWT))
    assert (answer.status, answer.header("content-type")) == (200, JWT)
    claims = verified(server, answer.body.decode())
    now = int(server.clock().timestamp())
    assert claims == {"iss": server.issuer, "aud": api.client_id, "iat": now, "token_introspection": plain}
    metadata = server.ask("GET", "/.well-known/oauth-authorization-server").json
    assert metadata["introspection_signing_alg_values_supported"] == ["ES256"]
    # it is no token: not here, and not at an API, which demands another typ
    assert ask(server, api, answer.body.decode()).json == INACTIVE
    assert server.events("token.introspect")[-1]["details"] == {"why": "jws.typ"}


def verified(server: InProcessServer, text: str) -> dict[str, Any]:
    token = parse_compact(text, typ="token-introspection+jwt")
    keys = parse_jwks(json.loads(server.ask("GET", "/.well-known/jwks.json").body))
    key = keys.find(str(token.header["kid"]), "ES256")
    assert key is not None
    return dict(verify(token, key, algorithms=frozenset({"ES256"})))


@rule("I4", "R9701-5-02")
def test_a_signed_answer_about_an_inactive_token_says_nothing_else(server: InProcessServer, api: Registered) -> None:
    answer = ask(server, api, "nothing", ("accept", f"{JWT}, application/json;q=0.5"))
    assert verified(server, answer.body.decode())["token_introspection"] == INACTIVE


def test_who_refuses_a_signed_answer_gets_none(server: InProcessServer, api: Registered) -> None:
    assert ask(server, api, "nothing", ("accept", f"application/json, {JWT};q=0")).json == INACTIVE


@rule("I5", "R7662-4-01", "B5")
def test_a_caller_asks_no_oftener_than_it_may_and_all_endpoints_share_the_count(store: str) -> None:
    limits = Limits(agent=Rate(3, timedelta(seconds=60)), login_failures=Rate(3, timedelta(seconds=60)))
    server = InProcessServer(limits=limits)
    server.add_resource()
    reader, api = server.add_agent(), server.add_agent("api", permissions={}, serves=("*",))
    token = text_of(server, reader)
    assert [ask(server, api, token).status for _ in range(4)] == [200, 200, 200, 429]
    assert server.events("token.introspect")[-1]["reason"] == "limit.agent"
    assert [ask(server, reader, token).status, server.token(reader).status] == [200, 200]
    assert server.token(reader).status == 429
    wrong = Registered(server.add_agent().client_id, "wrong")
    paths = ["/oauth/introspect", "/oauth/revoke", "/oauth/token"]
    assert [server.post({"token": "x"}, wrong.basic, path=path).status for path in paths] == [401, 401, 401]
    assert {server.post({"token": "x"}, wrong.basic, path=path).status for path in paths} == {429}


def test_the_metadata_names_the_endpoints(server: InProcessServer) -> None:
    found = server.ask("GET", "/.well-known/oauth-authorization-server").json
    for name in ("introspection", "revocation"):
        assert found[f"{name}_endpoint"].startswith(server.issuer)
        assert found[f"{name}_endpoint_auth_methods_supported"] == found["token_endpoint_auth_methods_supported"]
