"""The revocation feed: who may read it, and what is told in which order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests import rule
from tests.endpoints.feed_reading import Stream, add_api, add_feed, kinds, read, revoke_one, token_of
from tests.vectors import key_for

from watchword.asgi.peer import Shown
from watchword.compose import MutualTls
from watchword.feeding import Feeding
from watchword.ports.agents import AgentState
from watchword.ports.store import Replace
from watchword.protocol.certificate_chain import parse_authorities
from watchword.protocol.dpop import build_proof
from watchword.protocol.revocation import RevocationKind
from watchword.server.certificates import Certificates
from watchword.server.feed import FeedRules
from watchword.testing.certificates import Authority, self_signed
from watchword.testing.clock import FrozenClock
from watchword.testing.server import ISSUER, InProcessServer, Registered

KEY = key_for("ES256")
NOW = FrozenClock()()


@pytest.fixture
def api(server: InProcessServer) -> Registered:
    add_feed(server)
    return add_api(server)


def reason_of(server: InProcessServer) -> str:
    return str(server.events("feed.read")[-1]["reason"])


def test_a_reader_that_holds_nothing_gets_everything_and_then_what_comes(server, api):
    revoke_one(server, "first")
    with Stream(server, token_of(server, api)) as stream:
        assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream")
        assert (stream.headers["cache-control"], stream.headers["x-accel-buffering"]) == ("no-store", "no")
        where, snapshot = stream.next()
        assert (where, kinds(snapshot)) == ("1-1", [("agent", "first")])
        assert (snapshot.after, snapshot.is_snapshot, snapshot.is_complete) == (0, True, True)
        revoke_one(server, "second", RevocationKind.TOKEN)
        told = stream.news()
        assert (told.after, told.sequence, kinds(told)) == (1, 2, [("token", "second")])
        assert (told.is_snapshot, told.is_complete) == (False, False)


def test_a_snapshot_of_nothing_is_complete(server, api):
    with Stream(server, token_of(server, api)) as stream:
        _, snapshot = stream.next()
        assert (snapshot.after, snapshot.sequence, snapshot.is_complete, snapshot.revocations) == (0, 0, True, ())
        _, beat = stream.next()
        assert (beat.after, beat.sequence, beat.is_snapshot) == (0, 0, False)


def test_a_reader_goes_on_where_it_stood(server, api):
    for target in ("first", "second", "third"):
        revoke_one(server, target)
    with Stream(server, token_of(server, api), last_event_id="1-2") as stream:
        told = stream.news()
        assert (told.after, kinds(told), told.is_snapshot) == (2, [("agent", "third")], False)
    with Stream(server, token_of(server, api), query="after=1-1") as stream:
        assert kinds(stream.news()) == [("agent", "second"), ("agent", "third")]


@pytest.mark.parametrize("held", ["2-1", "1-9"], ids=["another life", "ahead"])
def test_a_position_that_is_not_of_this_store_begins_anew(server, api, held):
    revoke_one(server, "first")
    with Stream(server, token_of(server, api), last_event_id=held) as stream:
        _, snapshot = stream.next()
        assert (snapshot.is_snapshot, kinds(snapshot)) == (True, [("agent", "first")])


def test_of_one_target_only_the_latest_is_told(server, api):
    for _ in range(5):
        revoke_one(server, "again")
        server.advance(2)
    with Stream(server, token_of(server, api)) as stream:
        _, snapshot = stream.next()
        assert ([one.sequence for one in snapshot.revocations], snapshot.sequence) == ([5], 5)


def test_an_event_is_signed_once_for_all_readers(server, api):
    token = token_of(server, api)
    with Stream(server, token) as one, Stream(server, token) as other:
        assert one.block()[2] == other.block()[2]
        revoke_one(server, "first")
        texts = []
        for stream in (one, other):
            while not (lines := stream.block())[0].endswith("-1"):
                pass
            texts.append(lines[2])
        assert texts[0] == texts[1]


@rule("R7")
def test_an_old_event_says_that_it_is_old(server, api):
    """Whoever replays it tells nothing new: it does not continue what a reader holds."""
    with Stream(server, token_of(server, api)) as stream:
        stream.next()
        revoke_one(server, "first")
        old = stream.news()
        revoke_one(server, "second")
        new = stream.news()
        assert (old.after, old.sequence, new.after, new.sequence) == (0, 1, 1, 2)


def test_without_a_stream_there_is_polling(server, api):
    token = token_of(server, api)
    revoke_one(server, "first")
    with Stream(server, token, query="wait=0") as poll:
        assert (poll.status, poll.headers["content-type"]) == (200, "application/json")
        answer = poll.json
        assert (answer["position"], answer["moreAvailable"]) == ("1-1", False)
        assert kinds(read(server, answer["events"][0])) == [("agent", "first")]
    with Stream(server, token, query="wait=0&after=1-1") as poll:
        beat = read(server, poll.json["events"][0])
        assert (beat.after, beat.sequence) == (1, 1)


def test_who_wants_json_polls(server, api):
    with Stream(server, token_of(server, api), accept="application/json") as poll:
        assert read(server, poll.json["events"][0]).is_complete


@pytest.mark.parametrize(
    ("how", "status", "reason"),
    [
        ({}, 401, "token.missing"),
        ({"authorization": "Basic YTpi"}, 401, "token.scheme"),
        ({"authorization": "Bearer nonsense"}, 401, "jws.form"),
        ({"authorization": "Bearer x", "query": "wait=61"}, 400, "feed.wait"),
        ({"authorization": "Bearer x", "query": "wait=soon"}, 400, "feed.wait"),
        ({"authorization": "Bearer x", "query": "after=yesterday"}, 400, "feed.position"),
        ({"authorization": "Bearer x", "last_event_id": "1"}, 400, "feed.position"),
        ({"authorization": "Bearer x", "query": "wait=1&wait=2"}, 400, "feed.query"),
        ({"query": "access_token=x"}, 400, "feed.query"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused(server, api, how, status, reason):
    with Stream(server, **how) as refused:
        assert refused.status == status
    assert reason_of(server) == reason
    with Stream(server, token_of(server, api)) as stream:
        assert stream.status == 200


def test_a_token_for_another_resource_is_refused(server, api, reader):
    with Stream(server, server.token(reader).json["access_token"]) as refused:
        assert refused.status == 401
        assert refused.headers["www-authenticate"].startswith('Bearer realm="watchword events", error="invalid_token"')
    assert reason_of(server) == "token.audience"


def test_a_token_without_the_scope_is_refused(server, api):
    server.add_resource("more", ("other",), identifier="https://other.example")
    other = server.add_agent("other", permissions={"more": ("other",)}, serves=("my-api",))
    with Stream(server, server.token(other, scope="other").json["access_token"]) as refused:
        assert (refused.status, reason_of(server)) == (401, "token.audience")


def test_an_agent_that_serves_nothing_is_refused(server, api):
    nobody = add_api(server, "nobody", serves=())
    with Stream(server, token_of(server, nobody)) as refused:
        assert (refused.status, reason_of(server)) == (403, "feed.serves")


def test_a_token_that_has_ended_is_refused(server, api):
    token = token_of(server, api)
    server.advance(600)
    with Stream(server, token) as refused:
        assert (refused.status, reason_of(server)) == (401, "token.expired")


def test_a_revoked_token_is_refused(server, api):
    token = token_of(server, api)
    revoke_one(server, api.client_id)
    with Stream(server, token) as refused:
        assert (refused.status, reason_of(server)) == (401, "token.revoked")


def test_a_suspended_agents_stream_ends_at_once(server, api):
    with Stream(server, token_of(server, api)) as stream:
        stream.next()
        server.set_state(api.client_id, AgentState.SUSPENDED)
        assert 0 < stream.end() <= 1600


def test_an_agent_that_serves_nothing_any_more_is_sent_away(server, api):
    with Stream(server, token_of(server, api)) as stream:
        agent = server.agent_of(api.client_id)
        server.commit(Replace(replace(agent, serves=(), version=agent.version + 1)))
        assert stream.end()


def test_a_revoked_tokens_stream_ends_at_once(server, api):
    with Stream(server, token_of(server, api)) as stream:
        revoke_one(server, api.credential_id, RevocationKind.CREDENTIAL)
        assert stream.end()


def test_a_stream_ends_with_its_token(server, api):
    with Stream(server, token_of(server, api)) as stream:
        server.advance(600)
        assert stream.end()


def test_everybody_is_sent_away_when_the_server_stops(server, api):
    token = token_of(server, api)
    with Stream(server, token) as stream:
        server.app.leave()
        assert stream.end()
        with Stream(server, token) as refused:
            assert refused.status == 503


def proof(token: str, *, url: str = f"{ISSUER}/oauth/events", jti: str = "p") -> str:
    return build_proof(KEY, method="GET", url=url, jti=jti, issued_at=NOW, token=token)


def test_a_token_that_is_bound_to_a_key_needs_a_proof_of_it(server, api):
    login = build_proof(KEY, method="POST", url=f"{ISSUER}/oauth/token", jti="l", issued_at=NOW)
    form = {"grant_type": "client_credentials", "scope": "events:read"}
    token = server.post(form, api.basic, ("dpop", login)).json["access_token"]
    refusals = [
        ({"authorization": f"Bearer {token}"}, "token.bound"),
        ({"authorization": f"DPoP {token}"}, "dpop.missing"),
        ({"authorization": f"DPoP {token}", "dpop": proof(token, url=f"{ISSUER}/other")}, "dpop.url"),
        ({"authorization": f"DPoP {token}", "dpop": proof("other")}, "dpop.ath"),
    ]
    for headers, reason in refusals:
        with Stream(server, **headers) as refused:
            assert (refused.status, reason_of(server)) == (401, reason)
    with Stream(server, authorization=f"DPoP {token}", dpop=proof(token)) as stream:
        assert stream.status == 200
    with Stream(server, authorization=f"DPoP {token}", dpop=proof(token)) as refused:
        assert (refused.status, reason_of(server)) == (401, "dpop.replayed")


@pytest.mark.parametrize(
    ("rules", "status", "reason"),
    [
        (FeedRules(readers_per_agent=1), 429, "feed.agent_readers"),
        (FeedRules(readers=1), 503, "feed.readers"),
    ],
    ids=["as one agent", "in all"],
)
def test_there_are_so_many_places(rules, status, reason):
    server = InProcessServer(feeding=Feeding(rules))
    server.add_resource()
    add_feed(server)
    token = token_of(server, add_api(server))
    with Stream(server, token) as first:
        first.next()
        with Stream(server, token) as refused:
            assert refused.status == status
            assert refused.headers["retry-after"]
        assert server.limited == {reason.replace(".", "_"): 1}
    with Stream(server, token) as again:
        assert again.status == 200


def test_a_token_that_is_bound_to_a_certificate_needs_a_connection_with_it():
    root = Authority(now=NOW)
    certificates = Certificates(lambda: parse_authorities(root.pem))
    server = InProcessServer(mutual_tls=MutualTls(certificates=certificates, url="https://mtls.example.com"))
    server.add_resource()
    add_feed(server)
    api = add_api(server, mtls_bound=True)
    own, other = (Shown((self_signed(name, now=NOW).der,), "auth.example.com") for name in ("api", "other"))
    form = {"grant_type": "client_credentials", "scope": "events:read"}
    token = server.post(form, api.basic, shown=own).json["access_token"]
    for shown, reason in ((None, "token.no_certificate"), (other, "token.other_certificate")):
        with Stream(server, token, shown=shown) as refused:
            assert (refused.status, reason_of(server)) == (401, reason)
    with Stream(server, token, shown=own) as stream:
        assert stream.status == 200
