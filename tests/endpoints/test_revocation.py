"""A client takes back a token of its own. RFC 7009."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

import pytest
from tests import rule

from watchword.errors import StoreUnavailable
from watchword.protocol.client_secret import SecretKind, generate_secret
from watchword.testing.answers import Answer, exchange
from watchword.testing.faults import FailingStore
from watchword.testing.server import FORM, InProcessServer, Registered

PATH = "/oauth/revoke"


def revoke(server: InProcessServer, caller: Registered, token: str, **form: str) -> Answer:
    return server.post({"token": token, **form}, caller.basic, path=PATH)


def text_of(server: InProcessServer, agent: Registered) -> str:
    return str(server.token(agent).json["access_token"])


def is_active(server: InProcessServer, owner: Registered, token: str) -> bool:
    return bool(server.post({"token": token}, owner.basic, path="/oauth/introspect").json["active"])


def reasons(server: InProcessServer) -> list[str]:
    return [event["reason"] for event in server.events("token.revoke")]


@rule("R7009-2.1-01", "R7009-2.1-04", "R5")
def test_a_client_revokes_its_own_token_and_no_other(server: InProcessServer, reader: Registered) -> None:
    token, other = text_of(server, reader), text_of(server, reader)
    answer = revoke(server, reader, token)
    assert (answer.status, answer.body, answer.header("cache-control")) == (200, b"", "no-store")
    assert not is_active(server, reader, token)
    assert is_active(server, reader, other)
    (event,) = server.events("token.revoke")
    assert (event["reason"], event["jti"]) == ("revoked", server.events()[0]["jti"])
    (row,) = server.run(server.store.revocations(after=0, limit=9))
    assert (str(row.kind), row.target) == ("token", event["jti"])


@rule("R7009-2.1-02", "R7009-2.1-01")
def test_a_request_without_token_or_without_client_is_refused(server: InProcessServer, reader: Registered) -> None:
    assert server.post({"token": ""}, reader.basic, path=PATH).json["error"] == "invalid_request"
    assert server.post({"token": "x"}, path=PATH).status == 401
    got = server.ask("GET", PATH, headers=[reader.basic])
    assert (got.status, got.header("allow")) == (405, "POST")
    assert reasons(server) == ["request.token", "client.no_credentials", "request.method"]


@rule("R1", "R7009-2.1-03", "TRAP-09")
def test_another_clients_token_stays_and_the_attempt_is_recorded(server: InProcessServer, reader: Registered) -> None:
    token = text_of(server, reader)
    other = server.add_agent("other", serves=("*",))
    answer = revoke(server, other, token)
    assert (answer.status, answer.json["error"]) == (400, "invalid_grant")
    assert is_active(server, reader, token)
    (event,) = server.events("token.revoke")
    assert (event["outcome"], event["reason"], event["client_id"]) == ("denied", "revoke.another", other.client_id)


@rule("R1", "R7009-2.2-01", "TRAP-09")
@pytest.mark.parametrize("what", ["unknown", "malformed", "expired", "revoked"])
def test_what_is_unknown_or_gone_is_revoked_like_any_other(
    server: InProcessServer, reader: Registered, what: str
) -> None:
    token = text_of(server, reader)
    if what == "expired":
        server.advance(600)
    if what == "revoked":
        revoke(server, reader, token)
    answer = revoke(server, reader, {"unknown": "x" * 40, "malformed": token[:-9]}.get(what, token))
    assert (answer.status, answer.body) == (200, b"")
    assert reasons(server)[-1] == ("revoked_before" if what == "revoked" else "nothing_to_revoke")


@rule("R7009-2.2-02")
@pytest.mark.parametrize("hint", ["refresh_token", "access_token", "whatever"])
def test_a_hint_changes_nothing(server: InProcessServer, reader: Registered, hint: str) -> None:
    token = text_of(server, reader)
    assert revoke(server, reader, token, token_type_hint=hint).status == 200
    assert not is_active(server, reader, token)


@rule("R7009-2.2-03")
def test_a_secret_is_no_token_that_can_be_revoked(server: InProcessServer, reader: Registered) -> None:
    for secret in (reader.secret, generate_secret(SecretKind.CLIENT)):
        answer = revoke(server, reader, secret)
        assert (answer.status, answer.json["error"]) == (400, "unsupported_token_type")
        assert secret not in answer.body.decode()
    assert server.token(reader).status == 200


@rule("R2")
def test_of_a_hundred_at_once_one_has_changed_something(server: InProcessServer, reader: Registered) -> None:
    token = text_of(server, reader)
    body = urlencode({"token": token}).encode()
    headers = [(b"host", server.host.encode()), (b"content-type", FORM.encode())]
    headers.append((reader.basic[0].encode(), reader.basic[1].encode()))
    scope = {
        "type": "http", "method": "POST", "path": PATH, "raw_path": PATH.encode(), "query_string": b"",
        "headers": headers, "client": ("192.0.2.7", 1), "extensions": {}, "http_version": "1.1", "scheme": "https",
    }  # fmt: skip

    async def all_at_once() -> list[Answer]:
        return list(await asyncio.gather(*(exchange(server.app, dict(scope), body) for _ in range(100))))

    assert {answer.status for answer in server.run(all_at_once())} == {200}
    assert sorted(reasons(server)) == ["revoked"] + ["revoked_before"] * 99
    assert server.run(server.store.revocation_sequence()) == 1


@rule("R3", "KF-87")
def test_while_the_store_is_down_nothing_is_said_to_be_revoked(store: str) -> None:
    failing: list[FailingStore] = []

    def through(made):  # type: ignore[no-untyped-def]  # as InProcessServer takes it
        failing.append(FailingStore(made))
        return failing[0]

    server = InProcessServer(through=through)
    server.add_resource()
    reader = server.add_agent()
    token = text_of(server, reader)
    reached = 0
    for nth in range(1, 12):
        failing[0].arm(nth, error=StoreUnavailable("store.injected"))
        answer = revoke(server, reader, token)
        if not failing[0].has_fired:
            break
        reached += 1
        assert (answer.status, answer.json["error"]) == (503, "temporarily_unavailable"), failing[0].failed
        assert answer.header("retry-after") == "1"
        failing[0].disarm()
        assert is_active(server, reader, token)
    failing[0].disarm()
    assert reached >= 2
    assert (answer.status, is_active(server, reader, token)) == (200, False)
