"""The challenge-response login: ABUSE 6.5 H, over the whole server in process."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests import rule
from tests.endpoints.test_token_parsing import assert_refused
from tests.vectors import ecdsa_key, key_for

from watchword.compose import build_app
from watchword.ports.agents import AgentState
from watchword.ports.store import RevokeCredential
from watchword.protocol import names
from watchword.protocol.challenge_login import Terms, build_answer
from watchword.protocol.jose import PrivateKey, thumbprint
from watchword.server.limits import Limits
from watchword.sharing import build_limits
from watchword.testing.clock import FrozenClock
from watchword.testing.keyed_agents import KeyedAgent, add_key, add_keyed_agent
from watchword.testing.server import Answer, InProcessServer

BOTH = (names.PRIVATE_KEY_JWT, names.WATCHWORD_CHALLENGE)
PATH = names.PATH_CHALLENGE


@pytest.fixture
def writer(server: InProcessServer) -> KeyedAgent:
    return add_keyed_agent(server, key=key_for("ES256"), auth_methods=BOTH)


@pytest.fixture(autouse=True)
def sane(server: InProcessServer, writer: KeyedAgent):
    """Sanity last."""
    yield
    assert ask(server, answer_of(server, writer)).status == 200


def challenge(server: InProcessServer, client_id: str, key: PrivateKey, **more: str) -> Answer:
    said = {"client_id": client_id, "key_thumbprint": thumbprint(key.public_jwk), **more}
    return server.post(said, path=PATH)


def answer_of(server: InProcessServer, agent: KeyedAgent, given: dict[str, object] | None = None) -> str:
    given = given or challenge(server, agent.client_id, agent.key).json
    terms = Terms(issuer=server.issuer, client_id=agent.client_id, thumbprint=thumbprint(agent.key.public_jwk))
    ends = server.clock().fromtimestamp(int(str(given["expires_at"])), server.clock().tzinfo)
    return build_answer(str(given["challenge"]), terms, expires_at=ends, key=agent.key, named_by={"kid": agent.key.kid})


def ask(server: InProcessServer, text: str, **form: str) -> Answer:
    said = {
        "grant_type": "client_credentials",
        "scope": "read:data",
        "client_assertion_type": names.ASSERTION_TYPE_CHALLENGE,
        "client_assertion": text,
    }
    return server.post({**said, **form})


def refused(server: InProcessServer, answer: Answer, reason: str) -> None:
    assert_refused(server, answer, reason, 401, "invalid_client")


@rule("R9440-2-02", "M8")
def test_a_header_with_a_certificate_from_anybody_is_refused_here_too(
    server: InProcessServer, writer: KeyedAgent
) -> None:
    said = {"client_id": writer.client_id, "key_thumbprint": thumbprint(writer.key.public_jwk)}
    answer = server.post(said, ("client-cert", ":AAAA:"), path=PATH)
    (event,) = server.events("challenge.issue")
    assert (answer.status, event["outcome"], event["reason"]) == (400, "denied", "certificate_header.untrusted")


def test_a_challenge_that_is_answered_gets_a_token(server: InProcessServer, writer: KeyedAgent) -> None:
    given = challenge(server, writer.client_id, writer.key)
    assert (given.status, given.header("cache-control"), set(given.json)) == (
        200,
        "no-store",
        {"challenge", "expires_at", "expires_in"},
    )
    assert given.json["expires_at"] - int(server.clock().timestamp()) == given.json["expires_in"] == 60
    assert ask(server, answer_of(server, writer, given.json)).status == 200
    event = server.last_event()
    assert (event["client_auth"], event["credential_id"]) == ("watchword_challenge", writer.credential_id)


def test_the_metadata_says_where_challenges_are_given(server: InProcessServer) -> None:
    said = server.ask("GET", names.PATH_AS_METADATA).json
    assert said["watchword_challenge_endpoint"] == server.issuer + PATH
    assert "watchword_challenge" in said["token_endpoint_auth_methods_supported"]


@rule("H1")
def test_a_challenge_is_answered_once(server: InProcessServer, writer: KeyedAgent) -> None:
    given = challenge(server, writer.client_id, writer.key).json
    assert ask(server, answer_of(server, writer, given)).status == 200
    refused(server, ask(server, answer_of(server, writer, given)), "challenge.repeated")
    again = KeyedAgent(writer.client_id, ecdsa_key(7, "ES256"))
    add_key(server, writer.client_id, again.key)
    refused(server, ask(server, answer_of(server, again, given)), "challenge.unknown")


@rule("H1", "H2")
def test_another_node_and_a_restarted_one_know_it_and_that_it_was_used(
    server: InProcessServer, writer: KeyedAgent
) -> None:
    given = challenge(server, writer.client_id, writer.key).json

    def node():
        return build_app(server.core, hosts=frozenset({server.host}), limits=build_limits(Limits(), lambda _: None))

    server.app = node()
    text = answer_of(server, writer, given)
    assert ask(server, text).status == 200
    server.app = node()
    refused(server, ask(server, text), "challenge.repeated")


@rule("H2")
def test_an_ended_challenge_is_refused(server: InProcessServer, writer: KeyedAgent) -> None:
    given = challenge(server, writer.client_id, writer.key).json
    server.advance(60)
    answer = ask(server, answer_of(server, writer, given))
    refused(server, answer, "challenge.expired")
    assert "ask for a new one" in answer.json["error_description"]


@rule("H2")
def test_a_challenge_of_another_agent_or_another_server_is_refused(server: InProcessServer, writer: KeyedAgent) -> None:
    other = add_keyed_agent(server, "other", auth_methods=BOTH)
    foreign = challenge(server, other.client_id, writer.key).json
    refused(server, ask(server, answer_of(server, writer, foreign)), "challenge.unknown")
    elsewhere = InProcessServer(issuer="https://auth.example.com/other", clock=server.clock)
    said = {"client_id": writer.client_id, "key_thumbprint": thumbprint(writer.key.public_jwk)}
    given = elsewhere.post(said, path="/other" + PATH).json
    refused(server, ask(server, answer_of(server, writer, given)), "challenge.unknown")


@rule("H5", "H7")
def test_a_key_that_is_not_registered_or_no_longer_answers_nothing(server: InProcessServer, writer: KeyedAgent) -> None:
    stranger = KeyedAgent(writer.client_id, ecdsa_key(7, "ES256"))
    refused(server, ask(server, answer_of(server, stranger)), "challenge.key")
    gone = add_key(server, writer.client_id, ecdsa_key(8, "ES256"))
    assert ask(server, answer_of(server, gone)).status == 200
    server.commit(RevokeCredential(gone.client_id, gone.credential_id))
    refused(server, ask(server, answer_of(server, gone)), "challenge.key")


@rule("C8", "C9", "DR-8", "KF-98")
def test_nobody_learns_who_exists(server: InProcessServer, writer: KeyedAgent) -> None:
    stranger = KeyedAgent("nobody-12345678", ecdsa_key(7, "ES256"))
    given = [challenge(server, agent.client_id, agent.key) for agent in (writer, stranger)]
    assert [set(one.json) for one in given] == [{"challenge", "expires_at", "expires_in"}] * 2
    assert [len(one.body) for one in given] == [len(given[0].body)] * 2
    answers = [ask(server, answer_of(server, stranger))]
    refused(server, answers[0], "client.unknown")
    answers.append(ask(server, answer_of(server, KeyedAgent(writer.client_id, stranger.key))))
    for state in (AgentState.SUSPENDED, AgentState.DELETED):
        agent = add_keyed_agent(server, f"a-{state}", auth_methods=BOTH)
        server.set_state(agent.client_id, state)
        answers.append(ask(server, answer_of(server, agent)))
    assert len({answer.json["error_description"] for answer in answers}) == 1


@rule("C3")
def test_an_agent_that_is_pinned_to_another_method_does_not_answer(server: InProcessServer) -> None:
    agent = add_keyed_agent(server, "pinned")
    refused(server, ask(server, answer_of(server, agent)), "client.method")


@rule("H3", "R8725-3.12-01", "R7523-2.2-01")
def test_an_answer_is_no_assertion_and_an_assertion_no_answer(server: InProcessServer, writer: KeyedAgent) -> None:
    refused(server, ask(server, answer_of(server, writer), client_assertion_type=names.ASSERTION_TYPE_JWT), "jws.typ")
    refused(server, ask(server, writer.assertion(server)), "jws.typ")


@rule("H4")
def test_what_is_given_is_written_nowhere(server: InProcessServer, writer: KeyedAgent) -> None:
    before, claimed = len(server.events("challenge.issue")), len(server.replay)
    for _ in range(50):
        assert challenge(server, writer.client_id, writer.key).status == 200
    assert (len(server.events("challenge.issue")), len(server.replay)) == (before, claimed)


@rule("H4")
def test_who_asks_too_often_waits() -> None:
    server = InProcessServer(limits=replace(Limits(), peer=replace(Limits().peer, amount=3)))
    answers = [challenge(server, "writer", key_for("ES256")) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].header("retry-after")
    assert server.events("challenge.issue")[-1]["reason"] == "limit.peer"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"key_thumbprint": "x" * 43}, "challenge.client_id"),
        ({"client_id": "x" * 257, "key_thumbprint": "x" * 43}, "challenge.client_id"),
        ({"client_id": "writer"}, "challenge.thumbprint"),
        ({"client_id": "writer", "key_thumbprint": "x" * 42}, "challenge.thumbprint"),
        ({"client_id": "writer", "key_thumbprint": "x" * 42 + "="}, "challenge.thumbprint"),
        ({"client_id": "writer", "key_thumbprint": "x" * 43, "purpose": "revoke"}, "challenge.purpose"),
        ([("client_id", "a"), ("client_id", "a")], "form.duplicate"),
        ({}, "form.empty"),
    ],
)
def test_what_is_wrong_is_said_and_recorded_once(server: InProcessServer, said: object, reason: str) -> None:
    answer = server.post(said, path=PATH)
    assert (answer.status, answer.json["error"], answer.header("cache-control")) == (400, "invalid_request", "no-store")
    (event,) = server.events("challenge.issue")
    assert (event["reason"], event["outcome"]) == (reason, "denied")


def test_only_a_post_from_the_right_host_is_answered(server: InProcessServer) -> None:
    assert server.ask("GET", PATH).status == 405
    assert server.post({"client_id": "a", "key_thumbprint": "x" * 43}, path=PATH, host="evil.example").status == 400
    assert server.post({"client_id": "a", "key_thumbprint": "x" * 43}, path=PATH + "/").status == 404


@rule("DR-6")
def test_after_memory_was_lost_a_challenge_from_before_is_not_accepted(
    server: InProcessServer, writer: KeyedAgent
) -> None:
    server.advance(120)
    given = challenge(server, writer.client_id, writer.key).json
    server.replay.lose()
    answer = ask(server, answer_of(server, writer, given))
    assert (answer.status, server.last_event()["reason"]) == (503, "replay.unsure")
    server.advance(11)


def test_a_clock_of_the_agent_is_not_asked(server: InProcessServer, writer: KeyedAgent) -> None:
    """The answer says nothing of when it was made."""
    given = challenge(server, writer.client_id, writer.key).json
    away = InProcessServer(clock=FrozenClock(server.clock() - timedelta(days=365)))
    assert away.issuer == server.issuer
    assert ask(server, answer_of(server, writer, given)).status == 200
