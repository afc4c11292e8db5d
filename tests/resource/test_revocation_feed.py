"""The feed at a verifier: what is revoked is refused at once, and what cannot be known is not guessed."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import timedelta

import pytest

from tests import rule
from tests.forks import is_right_in_a_child, needs_fork
from tests.resource.feeds import FeedIssuer, FeedLogin, counted, wait_for
from tests.resource.issuers import KEY, bearer
from watchword.errors import BadSettings, InvalidToken, OAuthError, VerifierUnavailable
from watchword.ports.http import TransportError
from watchword.protocol.jose import generate_private_key
from watchword.protocol.revocation import RevocationKind
from watchword.resource import Guard, feed_reader
from watchword.resource.feed_state import MAX_SKEW
from watchword.resource.refusal import build_refusal
from watchword.resource.revocation_feed import MAX_STALENESS

TICK = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
    monkeypatch.setattr(feed_reader, "SHORTEST_PAUSE", 0.01)
    monkeypatch.setattr(feed_reader, "LONGEST_PAUSE", 0.02)


@pytest.fixture
def issuer():
    return FeedIssuer()


@pytest.fixture
def feed(issuer):
    made = issuer.feed()
    yield made
    made.close()


@pytest.fixture
def connection(issuer, feed):
    """The feed, heard: nothing is revoked."""
    feed.status()
    made = issuer.call()
    made.put(issuer.snapshot())
    wait_for(lambda: feed.status().is_fresh)
    return made


def reason_of(verifier, token) -> str:
    with pytest.raises((OAuthError, VerifierUnavailable)) as caught:
        verifier.verify_token_sync(token)
    return caught.value.reason


def heard(feed, sequence):
    wait_for(lambda: feed.status().sequence == sequence)


TARGETS = {
    RevocationKind.TOKEN: "jti-1",
    RevocationKind.AGENT: "reader-1",
    RevocationKind.PERMISSION: "reader-1 my-api",
    RevocationKind.CREDENTIAL: "crd-1",
    RevocationKind.RESOURCE: "my-api",
    RevocationKind.SCOPE: "my-api read:data",
    RevocationKind.SIGNING_KEY: "",
    RevocationKind.EVERYTHING: "",
}


@rule("V2", "R4", "R7009-2.1-04")
@pytest.mark.parametrize("kind", list(RevocationKind))
def test_what_is_revoked_is_refused_though_it_was_remembered(issuer, feed, connection, kind):
    verifier = issuer.watched(feed)
    token = issuer.token(credential_id="crd-1")
    for _ in range(3):
        assert verifier.verify_token_sync(token).client_id == "reader-1"
    target = TARGETS[kind] or (str(issuer.signing_key.public_jwk["kid"]) if kind is RevocationKind.SIGNING_KEY else "")
    signer = generate_private_key("ES256")
    issuer.published.append(signer.public_jwk)
    connection.put(issuer.event(0, 1, issuer.revocation(kind, target, 1), key=signer))
    heard(feed, 1)
    assert reason_of(verifier, token) == "token.revoked"
    assert asyncio.run(_reason_of_request(verifier, token)) == "token.revoked"
    issuer.clock.advance(SECOND)
    assert verifier.verify_token_sync(issuer.token(key=signer, jti="jti-2")).token_id == "jti-2"


async def _reason_of_request(verifier, token) -> str:
    with pytest.raises(OAuthError) as caught:
        await verifier.verify(bearer(token))
    return caught.value.reason


@rule("R7")
def test_nobody_is_let_in_before_the_snapshot_is_complete(issuer, feed):
    verifier = issuer.watched(feed)
    found: list[str] = []
    asker = threading.Thread(target=lambda: found.append(reason_of(verifier, issuer.token())))
    asker.start()
    connection = issuer.call()
    assert "last-event-id" not in connection.request.headers
    connection.put(issuer.event(0, 4, snapshot=True))
    wait_for(lambda: counted(feed, "accepted") == [1])
    assert not feed.status().is_fresh
    revocation = issuer.revocation(RevocationKind.AGENT, "reader-1", 5)
    connection.put(issuer.event(4, 5, revocation, snapshot=True, complete=True))
    asker.join(10)
    assert found == ["token.revoked"]
    assert verifier.verify_token_sync(issuer.token(client_id="writer-1")).client_id == "writer-1"


def test_a_feed_that_cannot_be_had_is_waited_for_no_longer_than_until_it_fails(issuer, feed):
    issuer.refuse = [TransportError("http.connect")] * 1000
    assert reason_of(issuer.watched(feed), issuer.token()) == "revocation.stale"
    assert feed.status().failure == "http.connect"


@rule("R7")
def test_a_feed_that_is_silent_is_not_relied_on_after_its_time(issuer, feed, connection, caplog):
    verifier, token = issuer.watched(feed), issuer.token()
    caplog.set_level(logging.WARNING, "watchword.resource")
    verifier.verify_token_sync(token)
    issuer.clock.advance(MAX_STALENESS - TICK)
    verifier.verify_token_sync(token)
    issuer.clock.advance(TICK)
    for _ in range(2):
        assert reason_of(verifier, token) == "revocation.stale"
    assert list(counted(feed, "stale refused")) == [2]
    connection.put(issuer.event(0, 0))
    wait_for(lambda: feed.status().is_fresh)
    assert verifier.verify_token_sync(token).client_id == "reader-1"
    said = [record.message for record in caplog.records if "relied" in record.message or "last heard" in record.message]
    assert [line.split("(")[0].split(" at ")[0].split(" feed of ")[1] for line in said] == [
        "https://auth.example.com was last heard",
        "https://auth.example.com is relied on again",
    ]


def test_a_clock_that_is_put_back_makes_nothing_fresh(issuer, feed, connection):
    verifier, token = issuer.watched(feed), issuer.token()
    issuer.clock.advance(-SECOND)
    assert reason_of(verifier, token) == "revocation.stale"
    connection.put(issuer.event(0, 0))
    wait_for(lambda: feed.status().is_fresh)
    assert verifier.verify_token_sync(token).client_id == "reader-1"


@rule("R7")
def test_an_unheard_feed_can_be_borne_but_what_it_has_said_still_holds(issuer):
    feed = issuer.feed(when_stale="accept", max_staleness=timedelta(seconds=2))
    verifier = issuer.watched(feed)
    feed.status()
    connection = issuer.call()
    connection.put(issuer.snapshot(1, issuer.revocation(RevocationKind.TOKEN, "dead", 1)))
    heard(feed, 1)
    dead = issuer.token(jti="dead")
    issuer.clock.advance(timedelta(seconds=2))
    for _ in range(3):
        assert verifier.verify_token_sync(issuer.token()).client_id == "reader-1"
    assert reason_of(verifier, dead) == "token.revoked"
    assert list(counted(feed, "stale accepted")) == [3]
    feed.close()


KID = str(KEY.public_jwk["kid"])
FORGED = {
    "another key under that name": (
        "jws.signature",
        lambda _: {"header": {"kid": KID}, "key": generate_private_key("ES256")},
    ),
    "a key that is not published": ("feed.unknown_key", lambda _: {"key": generate_private_key("ES256")}),
    "another type": ("jws.typ", lambda _: {"header": {"typ": "at+jwt"}}),
    "another issuer": ("secevent.issuer", lambda _: {"claims": {"iss": "https://other.example"}}),
    "for somebody else": ("secevent.audience", lambda _: {"claims": {"aud": "my-api"}}),
    "too old": ("feed.time", lambda _: {"age": MAX_SKEW + SECOND}),
    "of tomorrow": ("feed.time", lambda _: {"age": -MAX_SKEW - SECOND}),
    "another life of the store": ("feed.generation", lambda _: {"generation": 2}),
    "no event": ("secevent.event", lambda _: {"claims": {"events": {}}}),
}


@rule("R7", "TRAP-12")
@pytest.mark.parametrize("name", FORGED)
def test_an_event_that_is_not_right_is_dropped_with_its_connection(issuer, feed, connection, name):
    reason, made = FORGED[name]
    before = feed.status().heard_at
    issuer.clock.advance(SECOND)
    revocation = issuer.revocation(RevocationKind.AGENT, "reader-1", 1)
    connection.put(issuer.event(0, 1, revocation, **made(issuer)))
    following = issuer.call()
    assert connection.is_closed
    assert list(counted(feed, f"dropped {reason}")) == [1]
    assert (feed.status().heard_at, feed.status().held) == (before, 0)
    following.put(issuer.snapshot(1, revocation))
    heard(feed, 1)
    assert reason_of(issuer.watched(feed), issuer.token(iat=int(issuer.clock().timestamp()))) == "token.revoked"


@rule("R7")
@pytest.mark.parametrize(
    ("after", "sequence", "reason"), [(2, 3, "feed.order"), (6, 7, "feed.gap")], ids=["behind", "ahead"]
)
def test_an_event_that_does_not_continue_what_is_held_is_dropped(issuer, feed, connection, after, sequence, reason):
    connection.put(issuer.event(0, 5))
    heard(feed, 5)
    connection.put(issuer.event(after, sequence))
    following = issuer.call()
    assert list(counted(feed, f"dropped {reason}")) == [1]
    following.put(issuer.snapshot(7) if reason == "feed.gap" else issuer.event(5, 7))
    heard(feed, 7)


@rule("R7")
def test_a_stream_that_is_cut_off_in_an_event_says_nothing_and_goes_on_where_it_was(issuer, feed, connection):
    connection.put(issuer.event(0, 5))
    heard(feed, 5)
    whole = issuer.event(5, 6, issuer.revocation(RevocationKind.AGENT, "reader-1", 6))
    connection.put(whole[: len(whole) // 2], TransportError("http.protocol"))
    following = issuer.call()
    assert following.request.headers["last-event-id"] == "1-5"
    assert feed.status().held == 0
    following.put(whole)
    heard(feed, 6)
    assert reason_of(issuer.watched(feed), issuer.token()) == "token.revoked"


@rule("R7", "R4")
def test_a_store_put_back_to_another_day_makes_nothing_good_again(issuer, feed, connection):
    connection.put(issuer.event(0, 5, issuer.revocation(RevocationKind.AGENT, "reader-1", 5)))
    heard(feed, 5)
    connection.put(TransportError("http.connect"))
    issuer.generation = 2
    issuer.call().put(issuer.snapshot(1))
    wait_for(lambda: feed.status().generation == 2)
    assert reason_of(issuer.watched(feed), issuer.token()) == "token.revoked"


@rule("K8", "FI-10")
def test_a_key_that_is_given_up_signs_nothing_that_is_believed(issuer, feed, connection):
    given_up = issuer.signing_key
    new = issuer.rotate(keep=True)
    kid = str(given_up.public_jwk["kid"])
    connection.put(issuer.event(0, 1, issuer.revocation(RevocationKind.SIGNING_KEY, kid, 1), key=new))
    heard(feed, 1)
    connection.put(issuer.event(1, 2, key=given_up))
    following = issuer.call()
    assert list(counted(feed, "dropped feed.key")) == [1]
    following.put(issuer.event(1, 2, key=new))
    heard(feed, 2)


def test_it_is_asked_for_with_the_api_s_own_token_and_proof(issuer):
    login = FeedLogin(issuer)
    feed = issuer.feed(login=login)
    issuer.refuse = [(401, {"dpop-nonce": "n1"})]
    feed.status()
    request = issuer.call().request
    where = "https://auth.example.com/oauth/events"
    assert login.asked == [("GET", where, "events:read", where)] * 2
    assert (request.url, request.headers["dpop"], request.headers["accept"]) == (where, "proof n1", "text/event-stream")
    feed.close()


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [((403, {}), "feed.status"), ((503, {}), "feed.status"), ((200, {"content-type": "text/html"}), "feed.content")],
)
def test_what_is_no_feed_is_not_read(issuer, refusal, reason):
    login = FeedLogin(issuer)
    feed = issuer.feed(login=login)
    issuer.refuse = [refusal] * 1000
    feed.status()
    wait_for(lambda: feed.status().failure == reason)
    assert bool(login.invalidated) == (refusal[0] == 403)
    issuer.refuse = []
    issuer.call().put(issuer.snapshot())
    wait_for(lambda: feed.status().is_fresh)
    assert feed.status().failure == ""
    feed.close()


def test_a_transport_that_has_no_streams_is_named(issuer):
    class Plain:
        send, asend = issuer.send, issuer.asend

    feed = issuer.feed(transport=Plain())
    feed.status()
    wait_for(lambda: feed.status().failure == "feed.transport")
    feed.close()


def test_another_connection_takes_over_before_the_token_ends_and_nothing_is_missed(issuer):
    feed = issuer.feed(login=FeedLogin(issuer, lifetime=timedelta(seconds=100)))
    feed.status()
    first = issuer.call()
    first.put(issuer.snapshot(3))
    heard(feed, 3)
    issuer.clock.advance(timedelta(seconds=90))
    first.put(issuer.event(3, 3))
    second = issuer.call()
    assert second.request.headers["last-event-id"] == "1-3"
    first.put(issuer.event(3, 4, issuer.revocation(RevocationKind.TOKEN, "a", 4)))
    heard(feed, 4)
    second.put(issuer.event(3, 5, issuer.revocation(RevocationKind.TOKEN, "a", 4)))
    heard(feed, 5)
    first.put(issuer.event(4, 5))
    wait_for(lambda: first.is_closed)
    second.put(issuer.event(5, 6))
    heard(feed, 6)
    assert (feed.status().held, feed.status().failure) == (1, "")
    feed.close()


def test_a_connection_that_cannot_take_over_leaves_the_other_in_charge(issuer):
    feed = issuer.feed(login=FeedLogin(issuer, lifetime=timedelta(seconds=100)))
    feed.status()
    first = issuer.call()
    first.put(issuer.snapshot(3))
    heard(feed, 3)
    issuer.refuse = [(503, {})]
    issuer.clock.advance(timedelta(seconds=90))
    first.put(issuer.event(3, 3))
    wait_for(lambda: not issuer.refuse)
    first.put(issuer.event(3, 4))
    heard(feed, 4)
    assert feed.status().failure == ""
    wait_for(lambda: feed._reader._newest == 1)
    issuer.clock.advance(feed_reader.RENEW_AGAIN)
    first.put(issuer.event(4, 4))
    second = issuer.call()
    second.put(issuer.event(4, 5))
    heard(feed, 5)
    feed.close()


@rule("R6")
def test_what_can_hit_nothing_any_more_is_forgotten(issuer, feed, connection):
    connection.put(issuer.event(0, 1, issuer.revocation(RevocationKind.TOKEN, "a", 1)))
    heard(feed, 1)
    assert feed.status().held == 1
    issuer.clock.advance(timedelta(hours=1))
    connection.put(issuer.event(1, 2))
    heard(feed, 2)
    assert feed.status().held == 0


def test_the_guard_says_that_it_cannot_check_and_not_that_the_token_is_bad(issuer, feed):
    answer = build_refusal(VerifierUnavailable("revocation.stale"), realm="my-api")
    assert (answer.status, dict(answer.headers)["retry-after"]) == (503, "5")
    assert "www-authenticate" not in dict(answer.headers)
    revoked = build_refusal(InvalidToken("token.revoked"), realm="my-api")
    assert (revoked.status, 'error="invalid_token"' in dict(revoked.headers)["www-authenticate"]) == (401, True)
    assert Guard(lambda *_: None, issuer.watched(feed)) is not None


def test_several_verifiers_of_one_issuer_share_a_feed(issuer, feed, connection):
    ours, other = issuer.watched(feed), issuer.watched(feed, audience="other")
    connection.put(issuer.event(0, 1, issuer.revocation(RevocationKind.AGENT, "reader-1", 1)))
    heard(feed, 1)
    assert reason_of(ours, issuer.token()) == "token.revoked"
    assert reason_of(other, issuer.token(audience="other")) == "token.revoked"


@needs_fork
def test_a_child_reads_the_feed_by_itself(issuer, feed, connection):
    def works() -> bool:
        feed.status()
        made = issuer.call()
        made.put(issuer.event(0, 1, issuer.revocation(RevocationKind.AGENT, "reader-1", 1)))
        heard(feed, 1)
        return reason_of(issuer.watched(feed), issuer.token()) == "token.revoked"

    assert is_right_in_a_child(works)
    connection.put(issuer.event(0, 1))
    heard(feed, 1)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"max_staleness": timedelta(seconds=1)}, "feed.max_staleness"),
        ({"max_staleness": timedelta(hours=2)}, "feed.max_staleness"),
        ({"when_stale": "introspect"}, "feed.when_stale"),
        ({"jwks_uri": "http://auth.example.com/keys"}, "verifier.jwks_uri"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(issuer, settings, reason):
    with pytest.raises(BadSettings) as caught:
        issuer.feed(**settings)
    assert caught.value.reason == reason


def test_the_feed_of_another_issuer_is_refused(issuer):
    other = FeedIssuer()
    other.url = "https://other.example.com"
    with pytest.raises(BadSettings) as caught:
        issuer.watched(other.feed())
    assert caught.value.reason == "verifier.revocation"
    with pytest.raises(BadSettings) as caught:
        issuer.feed(when_stale=other.feed())
    assert caught.value.reason == "feed.when_stale"
