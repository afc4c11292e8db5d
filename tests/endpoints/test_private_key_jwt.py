"""Agents that sign: ABUSE 6.3, RFC 7523, RFC 10070."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from tests import rule
from tests.endpoints.test_token_parsing import GRANT, assert_refused
from tests.vectors import ecdsa_key, key_for

from watchword.compose import build_app
from watchword.errors import KeysUnavailable
from watchword.ports.agents import AgentState
from watchword.ports.foreign_keys import KeySource
from watchword.ports.store import RevokeCredential
from watchword.protocol import names
from watchword.protocol.base64url import b64url_decode, b64url_encode
from watchword.protocol.jose import LEGACY_EDDSA, PublicKey, generate_private_key
from watchword.protocol.jwks import parse_jwks
from watchword.server.foreign_keys import FetchedForeignKeys
from watchword.sharing import build_limits
from watchword.testing import forge
from watchword.testing.keyed_agents import KeyedAgent, add_key, add_keyed_agent, ask_with
from watchword.testing.memory_replay import MemoryReplay
from watchword.testing.server import Answer, InProcessServer

KEY = key_for("ES256")


@pytest.fixture
def writer(server: InProcessServer) -> KeyedAgent:
    return add_keyed_agent(server, key=KEY)


@pytest.fixture(autouse=True)
def sane(server: InProcessServer, writer: KeyedAgent):
    """Sanity last: whatever was refused before, the right request still works."""
    yield
    assert ask_with(server, writer.assertion(server)).status == 200


def refused(server: InProcessServer, answer: Answer, reason: str) -> None:
    assert_refused(server, answer, reason, 401, "invalid_client")


@rule("R7523-2.2-01", "R10070-3-02", "R10070-3-05", "J6", "O21-2.4-02", "MCPCC-02")
def test_an_assertion_gets_a_token(server: InProcessServer, writer: KeyedAgent) -> None:
    answer = ask_with(server, writer.assertion(server), resource="")
    assert (answer.status, answer.json["token_type"], answer.json["scope"]) == (200, "Bearer", "read:data")
    event = server.last_event()
    assert (event["client_id"], event["client_auth"], event["credential_id"]) == (
        writer.client_id,
        "private_key_jwt",
        writer.credential_id,
    )


@rule("R7523-2.2-01", "J3")
@pytest.mark.parametrize("algorithm", names.SIGNING_ALGORITHMS)
def test_every_algorithm_that_the_metadata_names_works(server: InProcessServer, algorithm: str) -> None:
    agent = add_keyed_agent(server, "other", key=key_for(algorithm))
    assert ask_with(server, agent.assertion(server)).status == 200


@rule("R7523-2.2-02", "J8")
def test_a_client_id_beside_it_must_agree(server: InProcessServer, writer: KeyedAgent) -> None:
    assert ask_with(server, writer.assertion(server), client_id=writer.client_id).status == 200
    answer = ask_with(server, writer.assertion(server), client_id="reader")
    refused(server, answer, "assertion.client_id")
    assert "leave it out" in answer.json["error_description"]


@rule("J20", "R7523-2.2-01")
@pytest.mark.parametrize("missing", ["client_assertion", "client_assertion_type"])
def test_an_assertion_and_its_type_go_together(server: InProcessServer, writer: KeyedAgent, missing: str) -> None:
    answer = ask_with(server, writer.assertion(server), **{missing: ""})
    assert_refused(server, answer, "assertion.incomplete")


@rule("J20", "R7523-2.2-01")
@pytest.mark.parametrize(
    "kind",
    [
        "urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
        "urn:ietf:params:oauth:client-assertion-type:JWT-bearer",
        "jwt-bearer",
    ],
)
def test_another_type_is_refused(server: InProcessServer, writer: KeyedAgent, kind: str) -> None:
    answer = ask_with(server, writer.assertion(server), client_assertion_type=kind)
    refused(server, answer, "client.method_unknown")


@rule("C2", "KF-49")
def test_an_assertion_beside_a_secret_is_refused_even_if_both_are_right(
    server: InProcessServer, writer: KeyedAgent
) -> None:
    secret = server.add_secret(writer.client_id)
    with_assertion = {
        "client_assertion_type": names.ASSERTION_TYPE_JWT,
        "client_assertion": writer.assertion(server),
        "grant_type": "client_credentials",
        "scope": "read:data",
    }
    assert_refused(server, server.post(with_assertion, secret.basic), "client.several_methods")
    in_body = {**with_assertion, "client_id": writer.client_id, "client_secret": secret.secret}
    assert_refused(server, server.post(in_body), "client.several_methods")


@rule("C3", "R6749-2.3-09")
def test_an_agent_that_is_registered_for_keys_uses_no_secret_and_the_reverse(
    server: InProcessServer, writer: KeyedAgent
) -> None:
    secret = server.add_secret(writer.client_id)
    refused(server, server.post(f"{GRANT}&scope=read:data", secret.basic), "client.method")
    agent = add_keyed_agent(server, "other", auth_methods=(names.CLIENT_SECRET_BASIC,))
    refused(server, ask_with(server, agent.assertion(server)), "client.method")


@rule("J1", "J2", "J4", "J5", "J6", "J16", "J17", "J18", "J19", "KF-1", "KF-2", "TRAP-16")
def test_no_forgery_logs_in(server: InProcessServer, writer: KeyedAgent) -> None:
    header = {"typ": names.TYP_CLIENT_ASSERTION, "alg": "ES256", "kid": KEY.kid}
    now = int(server.clock().timestamp())
    claims = {"iss": writer.client_id, "sub": writer.client_id, "aud": server.issuer, "jti": "j", "exp": now + 60}
    bad = list(forge.all_forgeries(KEY, header, claims, allowed=frozenset({"", "jwt", names.TYP_CLIENT_ASSERTION})))
    kept = [one for one in bad if 0 < len(one.token) < 60_000 and one.token.isascii() and one.token.isprintable()]
    sentences = set()
    for forgery in kept[:: max(1, len(kept) // 60)]:  # every kind; all of them are tested at the door itself
        answer = ask_with(server, forgery.token)
        refused(server, answer, forgery.reason)
        sentences.add(answer.json["error_description"])
        server.advance(61)  # who fails so often has to wait
    assert len(sentences) == 1


@rule("R7523-3-08", "J7", "J8", "TRAP-14")
def test_another_clients_key_is_nobodys(server: InProcessServer, writer: KeyedAgent) -> None:
    other = add_keyed_agent(server, "other", key=ecdsa_key(7, "ES256"))
    stranger = KeyedAgent(writer.client_id, other.key)
    refused(server, ask_with(server, stranger.assertion(server)), "assertion.key")
    refused(server, ask_with(server, stranger.assertion(server, kid=KEY.kid)), "jws.signature")
    refused(server, ask_with(server, stranger.assertion(server, kid=None)), "jws.signature")
    refused(server, ask_with(server, other.assertion(server, {"iss": writer.client_id})), "assertion.issuer")
    refused(server, ask_with(server, other.assertion(server, {"sub": writer.client_id})), "assertion.key")


@rule("J7", "R8725-3.10-01")
@pytest.mark.parametrize("kid", ["unknown", "../../../etc/passwd", "'; DROP TABLE agents; --", "\x00", "x" * 4000])
def test_a_kid_is_a_name_in_the_clients_own_set(server: InProcessServer, writer: KeyedAgent, kid: str) -> None:
    refused(server, ask_with(server, writer.assertion(server, kid=kid)), "assertion.key")


@rule("J7")
def test_with_one_key_no_kid_is_needed_and_with_two_it_is(server: InProcessServer, writer: KeyedAgent) -> None:
    assert ask_with(server, writer.assertion(server, kid=None)).status == 200
    second = add_key(server, writer.client_id, ecdsa_key(7, "ES256"))
    refused(server, ask_with(server, writer.assertion(server, kid=None)), "assertion.key")
    assert ask_with(server, writer.assertion(server)).status == 200
    assert ask_with(server, second.assertion(server)).status == 200
    assert server.last_event()["credential_id"] == second.credential_id


def test_one_credential_may_be_a_whole_set(server: InProcessServer) -> None:
    keys = [key_for("ES384"), key_for("PS256")]
    details = {"jwks": {"keys": [dict(key.public_jwk) for key in keys]}}
    agent = add_keyed_agent(server, "set", key=keys[0], details=details)
    for key in keys:
        assert ask_with(server, KeyedAgent(agent.client_id, key).assertion(server)).status == 200


@rule("R7523-3-08", "TRAP-22")
def test_a_revoked_key_an_expired_one_and_one_that_is_to_come_are_refused(
    server: InProcessServer, writer: KeyedAgent
) -> None:
    now = server.clock()
    gone = add_key(server, writer.client_id, ecdsa_key(7, "ES256"))
    short = add_key(server, writer.client_id, ecdsa_key(8, "ES256"), expires_at=now + timedelta(seconds=10))
    late = add_key(server, writer.client_id, ecdsa_key(9, "ES256"), not_before=now + timedelta(seconds=5))
    for agent, status in ((gone, 200), (short, 200), (late, 401)):
        assert ask_with(server, agent.assertion(server)).status == status
    server.commit(RevokeCredential(writer.client_id, gone.credential_id))
    server.advance(10)
    refused(server, ask_with(server, gone.assertion(server)), "assertion.key")
    refused(server, ask_with(server, short.assertion(server)), "assertion.key")
    assert ask_with(server, late.assertion(server)).status == 200


@rule("J3", "R7523-3-08", "DR-2")
def test_a_key_is_used_with_its_own_algorithm_only(server: InProcessServer) -> None:
    rsa = add_keyed_agent(server, "rsa", key=key_for("PS256"))
    token = KeyedAgent(rsa.client_id, key_for("RS256")).assertion(server, kid=rsa.key.kid)
    refused(server, ask_with(server, token), "assertion.key")
    assert ask_with(server, rsa.assertion(server)).status == 200


@rule("C8", "C9", "DR-8", "DR-16", "KF-98")
def test_an_unknown_client_and_one_that_is_gone_look_like_a_wrong_signature(
    server: InProcessServer, writer: KeyedAgent
) -> None:
    answers = []
    stranger = KeyedAgent("nobody-12345678", generate_private_key("ES256"))
    answers.append(ask_with(server, stranger.assertion(server)))
    refused(server, answers[-1], "client.unknown")
    forged = KeyedAgent(writer.client_id, stranger.key).assertion(server, kid=KEY.kid)
    answers.append(ask_with(server, forged))
    for state, reason in ((AgentState.SUSPENDED, "client.suspended"), (AgentState.DELETED, "client.deleted")):
        agent = add_keyed_agent(server, f"a-{state}")
        server.set_state(agent.client_id, state)
        answers.append(ask_with(server, agent.assertion(server)))
        refused(server, answers[-1], reason)
    assert len({answer.json["error_description"] for answer in answers}) == 1


@rule("C8")
def test_a_client_that_does_not_exist_costs_a_signature_too(
    server: InProcessServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified = []
    module = "watchword.server.authentication.private_key_jwt.check_client_assertion"
    from watchword.protocol.client_assertion import check_client_assertion as check

    monkeypatch.setattr(module, lambda *args, **more: verified.append(more["key"].algorithm) or check(*args, **more))
    for algorithm in names.SIGNING_ALGORITHMS:
        ask_with(server, KeyedAgent("nobody-12345678", key_for(algorithm)).assertion(server))
    assert verified == list(names.SIGNING_ALGORITHMS)


@rule("R10070-3-03", "J9", "TRAP-01", "DR-1", "KF-41", "KF-47")
@pytest.mark.parametrize(
    "audience",
    [
        "{issuer}/",
        "HTTPS://AUTH.EXAMPLE.COM",
        "https://other.example.com",
        ["{issuer}", "{issuer}/oauth/token"],
        ["{issuer}", "x"],
        [],
        None,
        1,
    ],
)
def test_the_audience_is_the_issuer_and_the_refusal_says_so(
    server: InProcessServer, writer: KeyedAgent, audience: object
) -> None:
    said = [one.format(issuer=server.issuer) for one in audience] if isinstance(audience, list) else audience
    said = said.format(issuer=server.issuer) if isinstance(said, str) else said
    answer = ask_with(server, writer.assertion(server, {"aud": said}))
    refused(server, answer, "assertion.audience")
    assert "issuer of this server" in answer.json["error_description"]


@rule("R10070-3-03", "J9", "MCPCC-02", "DR-1")
@pytest.mark.parametrize("listed", [False, True])
def test_the_token_endpoint_is_an_audience_for_whom_it_was_conceded(
    server: InProcessServer, writer: KeyedAgent, listed: bool
) -> None:
    audience: object = f"{server.issuer}/oauth/token"
    changes = {"aud": [audience] if listed else audience}
    answer = ask_with(server, writer.assertion(server, changes))
    refused(server, answer, "client.concession")
    assert "issuer, not the token endpoint" in answer.json["error_description"]
    assert names.TOKEN_ENDPOINT_AUDIENCE in answer.json["error_description"]
    old = add_keyed_agent(server, "old", concessions=(names.TOKEN_ENDPOINT_AUDIENCE,))
    assert ask_with(server, old.assertion(server, changes)).status == 200
    assert server.last_event()["details"]["deprecated"] == names.TOKEN_ENDPOINT_AUDIENCE
    assert ask_with(server, old.assertion(server)).status == 200
    assert "deprecated" not in server.last_event()["details"]


@rule("J3", "R9864-2-02")
def test_the_old_name_of_ed25519_is_for_whom_it_was_conceded(server: InProcessServer) -> None:
    key = key_for("Ed25519")
    agent = add_keyed_agent(server, "modern", key=key)
    refused(server, ask_with(server, agent.assertion(server, alg=LEGACY_EDDSA)), "client.concession")
    old = add_keyed_agent(server, "old", key=key, concessions=(names.EDDSA_HEADER,))
    assert ask_with(server, old.assertion(server, alg=LEGACY_EDDSA)).status == 200
    assert server.last_event()["details"]["deprecated"] == names.EDDSA_HEADER


@rule("R10070-3-02", "R10070-3-05", "J6", "J9")
def test_a_strict_agent_names_the_type_and_has_a_plain_audience(server: InProcessServer, writer: KeyedAgent) -> None:
    strict = add_keyed_agent(server, "strict", details={"strict": True})
    for typ in (None, "JWT"):
        assert ask_with(server, writer.assertion(server, typ=typ)).status == 200
        refused(server, ask_with(server, strict.assertion(server, typ=typ)), "assertion.type")
    listed = {"aud": [server.issuer]}
    assert ask_with(server, writer.assertion(server, listed)).status == 200
    refused(server, ask_with(server, strict.assertion(server, listed)), "assertion.audience")
    assert ask_with(server, strict.assertion(server)).status == 200
    assert ask_with(server, strict.assertion(server, typ="application/Client-Authentication+JWT")).status == 200


@rule("J10", "J11", "R7523-3-06")
@pytest.mark.parametrize(
    ("changes", "reason", "said"),
    [
        ({"iat": -90, "exp": -30}, "assertion.expired", "expired 30 seconds ago"),
        ({"iat": 61, "exp": 120}, "assertion.not_yet_valid", "in 61 seconds"),
        ({"nbf": 45}, "assertion.not_yet_valid", "in 45 seconds"),
        ({"exp": 301}, "assertion.lifetime", "300 seconds at most"),
        ({"exp": None}, "assertion.dates", "exp"),
        ({"exp": "soon"}, "assertion.dates", "exp"),
    ],
)
def test_wrong_times_are_told_in_seconds(
    server: InProcessServer, writer: KeyedAgent, changes: Mapping[str, object], reason: str, said: str
) -> None:
    now = int(server.clock().timestamp())
    dated = {name: now + value if isinstance(value, int) else value for name, value in changes.items()}
    answer = ask_with(server, writer.assertion(server, dated))
    refused(server, answer, reason)
    assert said in answer.json["error_description"]


@rule("J11", "R7523-3-06")
@pytest.mark.parametrize("ahead", [8, 10, 30])
def test_a_clock_may_be_half_a_minute_ahead(server: InProcessServer, writer: KeyedAgent, ahead: int) -> None:
    now = int(server.clock().timestamp())
    assert ask_with(server, writer.assertion(server, {"iat": now + ahead, "nbf": now + ahead})).status == 200


@rule("J12", "R7523-3-07")
@pytest.mark.parametrize("jti", [None, "", 1, "x" * 257])
def test_an_assertion_has_a_name(server: InProcessServer, writer: KeyedAgent, jti: object) -> None:
    refused(server, ask_with(server, writer.assertion(server, {"jti": jti})), "assertion.jti")


@rule("R7523-3-07", "J12", "DR-6", "TRAP-04", "KF-42", "KF-88")
def test_an_assertion_works_once(server: InProcessServer, writer: KeyedAgent) -> None:
    assertion = writer.assertion(server)
    assert ask_with(server, assertion).status == 200
    answer = ask_with(server, assertion)
    refused(server, answer, "assertion.repeated")
    assert "sign a new one" in answer.json["error_description"]
    again = writer.assertion(server, {"jti": "same"})
    assert ask_with(server, again).status == 200
    server.advance(20)
    refused(server, ask_with(server, writer.assertion(server, {"jti": "same"})), "assertion.repeated")


@rule("J15", "KF-93")
def test_the_twin_of_a_used_assertion_is_used_too(server: InProcessServer, writer: KeyedAgent) -> None:
    assertion = writer.assertion(server)
    assert ask_with(server, assertion).status == 200
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    message, _, signature = assertion.encode().rpartition(b".")
    raw = b64url_decode(signature)
    s = (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    refused(server, ask_with(server, (message + b"." + b64url_encode(raw[:32] + s)).decode()), "assertion.repeated")


@rule("J13", "TRAP-04")
def test_two_clients_may_use_one_name(server: InProcessServer, writer: KeyedAgent) -> None:
    other = add_keyed_agent(server, "other")
    for agent in (writer, other):
        assert ask_with(server, agent.assertion(server, {"jti": "same"})).status == 200


@rule("J14")
def test_when_it_is_forgotten_it_is_over(server: InProcessServer, writer: KeyedAgent) -> None:
    assertion = writer.assertion(server)
    assert ask_with(server, assertion).status == 200
    server.advance(60 + 29)
    refused(server, ask_with(server, assertion), "assertion.repeated")
    server.advance(1)
    refused(server, ask_with(server, assertion), "assertion.expired")


@rule("DR-6", "J12")
def test_what_is_refused_for_another_reason_is_not_used_up(server: InProcessServer, writer: KeyedAgent) -> None:
    refused(server, ask_with(server, writer.assertion(server, {"jti": "x", "aud": "y"})), "assertion.audience")
    assert ask_with(server, writer.assertion(server, {"jti": "x"})).status == 200


@rule("DR-6", "DR-10", "J14")
def test_after_memory_was_lost_nothing_from_before_is_accepted(server: InProcessServer, writer: KeyedAgent) -> None:
    server.advance(60)
    assertion = writer.assertion(server)
    assert ask_with(server, assertion).status == 200
    server.replay.lose()
    answer = ask_with(server, assertion)
    assert (answer.status, answer.json["error"]) == (503, "temporarily_unavailable")
    assert server.last_event()["reason"] == "replay.unsure"
    server.advance(31)
    assert ask_with(server, writer.assertion(server)).status == 200


@rule("DR-6")
def test_a_key_that_is_newer_than_the_loss_waits_for_nothing(server: InProcessServer) -> None:
    server.replay.lose()
    server.advance(0.01)
    agent = add_keyed_agent(server, "new")
    assert ask_with(server, agent.assertion(server)).status == 200
    server.advance(31)


@rule("DR-10", "DR-6")
def test_while_nothing_can_be_claimed_nobody_is_let_in(server: InProcessServer, writer: KeyedAgent) -> None:
    memory = server.replay
    full = MemoryReplay(clock=server.clock, capacity=0)
    server.app = build_app(
        replace(server.core, replay=full),
        hosts=frozenset({server.host}),
        limits=build_limits(server_limits(), lambda _: None),
    )
    answer = ask_with(server, writer.assertion(server))
    assert (answer.status, server.last_event()["reason"]) == (503, "replay.full")
    server.app = build_app(
        replace(server.core, replay=memory),
        hosts=frozenset({server.host}),
        limits=build_limits(server_limits(), lambda _: None),
    )


def server_limits():
    from watchword.server.limits import Limits

    return Limits()


class Published:
    """A client's own key set, at a distance."""

    def __init__(self, *keys: object) -> None:
        self.keys = list(keys)
        self.asked: list[tuple[str, str, str]] = []
        self.is_down = False

    async def find(self, source: KeySource, kid: str, algorithm: str, now: datetime) -> PublicKey | None:
        self.asked.append((source.jwks_uri, kid, algorithm))
        if self.is_down:
            raise KeysUnavailable("keys.timeout")
        found = parse_jwks({"keys": self.keys})
        return found.find(kid, algorithm)


def serve_with(server: InProcessServer, published: Published | FetchedForeignKeys) -> None:
    core = replace(server.core, foreign_keys=published)
    server.app = build_app(core, hosts=frozenset({server.host}), limits=build_limits(server_limits(), lambda _: None))


URI = "https://agents.example/jwks.json"


@rule("R7523-3-09", "J23")
def test_keys_may_be_published_by_the_client(server: InProcessServer) -> None:
    first, second = ecdsa_key(7, "ES256"), ecdsa_key(8, "ES256")
    published = Published(dict(first.public_jwk))
    serve_with(server, published)
    agent = add_keyed_agent(server, "afar", key=first, details={"jwks_uri": URI})
    assert ask_with(server, agent.assertion(server)).status == 200
    assert published.asked == [(URI, first.kid, "ES256")]
    rotated = KeyedAgent(agent.client_id, second)
    refused(server, ask_with(server, rotated.assertion(server)), "assertion.key")
    published.keys = [dict(second.public_jwk)]
    assert ask_with(server, rotated.assertion(server)).status == 200
    refused(server, ask_with(server, agent.assertion(server)), "assertion.key")


@rule("J22", "DR-10")
def test_while_they_cannot_be_had_the_answer_is_not_now(server: InProcessServer) -> None:
    key = ecdsa_key(7, "ES256")
    published = Published(dict(key.public_jwk))
    serve_with(server, published)
    agent = add_keyed_agent(server, "afar", key=key, details={"jwks_uri": URI})
    published.is_down = True
    answer = ask_with(server, agent.assertion(server))
    assert (answer.status, server.last_event()["reason"]) == (503, "keys.timeout")
    published.is_down = False
    assert ask_with(server, agent.assertion(server)).status == 200


@rule("R8725-3.1-02", "R7523-3-08")
def test_of_a_published_set_only_the_registered_algorithm_counts(server: InProcessServer) -> None:
    key = ecdsa_key(7, "ES256")
    serve_with(server, Published(dict(key.public_jwk)))
    agent = add_keyed_agent(server, "afar", key=key, details={"jwks_uri": URI, "alg": "PS256"})
    refused(server, ask_with(server, agent.assertion(server)), "assertion.key")


@rule("J4", "R7515-4-03")
def test_nobody_is_asked_for_a_key_that_the_token_names(server: InProcessServer, writer: KeyedAgent) -> None:
    published = Published()
    serve_with(server, published)
    for member in ({"jku": URI}, {"x5u": URI}, {"jwk": dict(KEY.public_jwk)}):
        refused(server, ask_with(server, writer.assertion(server, **member)), "jws.key_in_header")
    refused(server, ask_with(server, writer.assertion(server, kid=URI)), "assertion.key")
    assert published.asked == []


@rule("DR-6", "R7523-3-07")
def test_a_request_that_is_decided_anew_has_used_its_assertion_once() -> None:
    from tests.server.test_token_endpoint import Overtaken

    overtaken: list[Overtaken] = []
    server = InProcessServer(through=lambda store: overtaken.append(Overtaken(store)) or overtaken[0])
    server.add_resource()
    agent = add_keyed_agent(server)
    overtaken[0].times = 2
    assert ask_with(server, agent.assertion(server)).status == 200
    assert overtaken[0].times == 0


@rule("DR-6", "TRAP-04", "C12")
def test_of_many_at_once_one_wins(server: InProcessServer, writer: KeyedAgent) -> None:
    from urllib.parse import urlencode

    assertion = writer.assertion(server)
    form = {
        "grant_type": "client_credentials",
        "scope": "read:data",
        "client_assertion_type": names.ASSERTION_TYPE_JWT,
        "client_assertion": assertion,
    }

    async def ask() -> int:
        sent = []
        body = urlencode(form).encode()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "https",
            "path": "/oauth/token",
            "raw_path": b"/oauth/token",
            "query_string": b"",
            "headers": [
                (b"host", server.host.encode()),
                (b"content-type", b"application/x-www-form-urlencoded"),
            ],
            "client": ("192.0.2.7", 5000),
            "server": ("127.0.0.1", 8020),
        }

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            sent.append(message)

        await server.app(scope, receive, send)
        return sent[0]["status"]

    async def race():
        return await asyncio.gather(*[ask() for _ in range(8)])

    assert sorted(server.run(race())) == [200] + [401] * 7


SEVERAL = {"token": "/oauth/token", "introspection": "/oauth/introspect", "revocation": "/oauth/revoke"}
EVENTS = {"token": "token.issue", "introspection": "token.introspect", "revocation": "token.revoke"}


@rule("J21", "J6")
@pytest.mark.parametrize("first", SEVERAL)
@pytest.mark.parametrize("second", SEVERAL)
def test_an_assertion_is_used_once_whatever_the_endpoint(
    server: InProcessServer, writer: KeyedAgent, first: str, second: str
) -> None:
    token = ask_with(server, writer.assertion(server)).json["access_token"]
    assertion = writer.assertion(server)

    def use(endpoint: str) -> Answer:
        return ask_with(server, assertion, path=SEVERAL[endpoint], token=token)

    assert use(first).status == 200
    again = use(second)
    assert (again.status, again.json["error"]) == (401, "invalid_client")
    event = server.events(EVENTS[second])[-1]
    assert (event["outcome"], event["reason"]) == ("denied", "assertion.repeated")
