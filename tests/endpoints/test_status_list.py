"""The status lists over HTTP: what a token names is there, for everybody and for every cache. Token Status List, draft 21."""

import json
from datetime import timedelta

import pytest
from tests import rule

from watchword.ports.revocations import Revoke
from watchword.protocol import jose
from watchword.protocol.revocation import Revocation, RevocationKind
from watchword.protocol.status_list import StatusList, check_status_list, parse_status, parse_status_list
from watchword.server.revocations import until
from watchword.server.status_lists import StatusRules
from watchword.testing.server import InProcessServer, Registered


@pytest.fixture
def server() -> InProcessServer:
    server = InProcessServer(status_lists=StatusRules())
    server.add_resource()
    return server


def claims_of(token: str) -> dict[str, object]:
    claims: dict[str, object] = json.loads(jose.parse_compact(token, typ="at+jwt").payload)
    return claims


def issue(server: InProcessServer, agent: Registered) -> str:
    return str(server.token(agent).json["access_token"])


def read(server: InProcessServer, uri: str) -> StatusList:
    answer = server.ask("GET", uri.removeprefix(server.issuer))
    assert (answer.status, answer.header("content-type")) == (200, "application/statuslist+jwt")
    (key,) = server.run(server.store.signing_keys())
    return check_status_list(
        parse_status_list(answer.body.decode()),
        key=jose.import_public_jwk(key.public_jwk),
        issuer=server.issuer,
        uri=uri,
        algorithms=frozenset({"ES256"}),
        now=server.clock(),
        leeway=timedelta(0),
    )


def revoke(server: InProcessServer, kind: RevocationKind, target: str) -> None:
    now = server.clock()
    made = Revocation(kind=kind, target=target, cutoff=now, created_at=now, expires_at=until(now))
    server.commit(Revoke(made))


@rule("TSL-02")
def test_a_token_names_its_place_and_the_list_there_says_whether_it_is_revoked(server: InProcessServer) -> None:
    tokens = [issue(server, server.add_agent(name)) for name in ("reader", "writer")]
    places = [parse_status(claims_of(token)["status"]) for token in tokens]
    assert places[0] is not None
    assert places[1] is not None
    assert places[0] != places[1]
    assert places[0].uri == f"{server.issuer}/oauth/status/0"
    assert [read(server, place.uri).status(place.index) for place in places if place] == [0, 0]
    server.advance(3)
    revoke(server, RevocationKind.AGENT, str(claims_of(tokens[0])["client_id"]))
    assert [read(server, place.uri).status(place.index) for place in places if place] == [1, 0]


@rule("R8")
def test_what_an_agent_is_given_after_the_cut_off_is_valid(server: InProcessServer) -> None:
    agent = server.add_agent()
    before = parse_status(claims_of(issue(server, agent))["status"])
    revoke(server, RevocationKind.AGENT, agent.client_id)
    after = parse_status(claims_of(issue(server, agent))["status"])
    assert before is not None
    assert after is not None
    found = read(server, after.uri)
    assert (found.status(before.index), found.status(after.index)) == (1, 0)
    event = server.last_event()
    assert int(event["details"]["iat"]) > server.clock().timestamp() - 1


@rule("R7009-2.1-04")
def test_a_token_that_its_agent_revokes_is_marked(server: InProcessServer) -> None:
    agent = server.add_agent()
    tokens = [issue(server, agent) for _ in range(3)]
    places = [parse_status(claims_of(token)["status"]) for token in tokens]
    assert server.post({"token": tokens[1]}, agent.basic, path="/oauth/revoke").status == 200
    assert [read(server, place.uri).status(place.index) for place in places if place] == [0, 1, 0]


@rule("TSL-01")
def test_a_list_may_be_kept_by_anybody_for_as_long_as_it_says(server: InProcessServer) -> None:
    issue(server, server.add_agent())
    answer = server.ask("GET", "/oauth/status/0")
    assert answer.header("cache-control") == "public, max-age=10"
    assert answer.header("access-control-allow-origin") == "*"
    etag = str(answer.header("etag"))
    assert server.ask("GET", "/oauth/status/0", headers=[("if-none-match", etag)]).status == 304
    assert server.ask("HEAD", "/oauth/status/0").body == b""
    assert len(answer.body) < 1000


@rule("TSL-04")
def test_the_metadata_say_where_the_lists_are(server: InProcessServer) -> None:
    metadata = server.ask("GET", "/.well-known/oauth-authorization-server").json
    place = str(metadata["status_list_aggregation_endpoint"])
    assert place == f"{server.issuer}/oauth/status"
    assert server.ask("GET", "/oauth/status").json == {"status_lists": []}
    issue(server, server.add_agent())
    assert server.ask("GET", "/oauth/status").json == {"status_lists": [f"{server.issuer}/oauth/status/0"]}


@pytest.mark.parametrize("rest", ["/", "/1", "/00", "/-1", "/1e3", "/x", "/0/", "/%30", "/9999999999", "/0?x=1"])
def test_there_is_no_other_list(server: InProcessServer, rest: str) -> None:
    issue(server, server.add_agent())
    answer = server.ask("GET", f"/oauth/status{rest}")
    assert answer.status == (200 if rest == "/0?x=1" else 404)
    assert server.ask("POST", "/oauth/status/0").status == 405
    assert read(server, f"{server.issuer}/oauth/status/0").status(0) == 0


def test_without_the_setting_there_is_nothing_of_it() -> None:
    server = InProcessServer()
    server.add_resource()
    token = issue(server, server.add_agent())
    assert "status" not in claims_of(token)
    assert "status" not in server.last_event()["details"]
    assert server.ask("GET", "/oauth/status/0").status == 404
    assert "status_list_aggregation_endpoint" not in server.ask("GET", "/.well-known/oauth-authorization-server").json
