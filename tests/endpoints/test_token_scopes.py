"""What a token is for and what it allows: ABUSE 6.6, RFC 6749 §3.3, RFC 8707, CONTRACT's selection of a resource."""

from datetime import UTC, datetime, timedelta

import pytest
from tests import rule
from tests.endpoints.test_token_parsing import GRANT, assert_refused

from watchword.ports.agents import Conditions
from watchword.protocol.jose import parse_compact
from watchword.testing.clock import FrozenClock
from watchword.testing.server import Answer, InProcessServer, Registered

pytestmark = pytest.mark.usefixtures("sane")

API = "https://api.example.com/v1"


def claims_of(answer: Answer) -> dict[str, object]:
    import json

    assert answer.status == 200, answer.body
    return json.loads(parse_compact(answer.json["access_token"], typ="at+jwt").payload)


def ask(server: InProcessServer, agent: Registered, *pairs: tuple[str, str]) -> Answer:
    return server.post([("grant_type", "client_credentials"), *pairs], agent.basic)


@rule("R6749-3.3-04", "S1", "S3", "S11", "R8707-2-05")
@pytest.mark.parametrize("scope", ["write:data", "read:data write:data"])
def test_a_scope_that_is_not_permitted_is_refused_whole(
    server: InProcessServer, reader: Registered, scope: str
) -> None:
    assert_refused(server, ask(server, reader, ("scope", scope)), "scope.not_permitted", error="invalid_scope")


@rule("S1", "S3", "R6749-3.3-01", "R8707-2-05")
@pytest.mark.parametrize(
    "scope", ["no:such", "read", "read:data:all", "READ:DATA", "read:*", "*", "read:data delete:data"]
)
def test_a_scope_that_the_resource_does_not_have_is_refused(
    server: InProcessServer, reader: Registered, scope: str
) -> None:
    assert_refused(server, ask(server, reader, ("scope", scope)), "scope.unknown", error="invalid_scope")


@rule("R6749-3.3-01", "S2")
@pytest.mark.parametrize(
    "scope",
    [
        'read:data "',
        "read:data\\",
        "read:data\tx",
        "read:data  write:data",
        " read:data",
        "read:d\u00e4ta",
        "read:data\u00a0x",
        "read:data read:data",
    ],
)
def test_a_malformed_scope_is_refused(server: InProcessServer, reader: Registered, scope: str) -> None:
    answer = ask(server, reader, ("scope", scope))
    assert (answer.status, answer.json["error"]) == (400, "invalid_scope")
    assert server.last_event()["reason"] in ("scope.syntax", "scope.duplicate")


@rule("S2")
def test_ten_thousand_scopes_are_refused(server: InProcessServer, reader: Registered) -> None:
    answer = ask(server, reader, ("scope", " ".join(f"s{number}" for number in range(10_000))))
    assert_refused(server, answer, "scope.too_many", error="invalid_scope")


@rule("R6749-3.3-03", "S4")
def test_no_scope_and_no_default_is_refused(server: InProcessServer, reader: Registered) -> None:
    answer = ask(server, reader)
    assert_refused(server, answer, "scope.missing", error="invalid_scope")
    assert "my-api" in answer.json["error_description"]


@rule("R6749-3.3-02", "R6749-3.3-03", "S4")
def test_the_default_scopes_are_given_and_told_when_none_are_asked_for(server: InProcessServer) -> None:
    agent = server.add_agent(
        "defaults", permissions={"my-api": ("read:data", "write:data")}, default_scopes=("read:data",)
    )
    answer = ask(server, agent)
    assert answer.json["scope"] == claims_of(answer)["scope"] == "read:data"


@rule("R8707-2-01", "S5", "KF-78")
@pytest.mark.parametrize(
    "resource", ["my-api", "/relative", "https://api.example.com/#f", "https://unknown.example.com", "not a uri"]
)
def test_a_resource_that_is_malformed_or_unknown_is_refused(
    server: InProcessServer, reader: Registered, resource: str
) -> None:
    answer = ask(server, reader, ("scope", "read:data"), ("resource", resource))
    assert (answer.status, answer.json["error"]) == (400, "invalid_target")
    assert server.last_event()["reason"].startswith("target.")


@rule("R8707-2-04", "S5")
def test_several_resources_are_refused(server: InProcessServer, reader: Registered) -> None:
    server.add_resource("second", identifier=API)
    pairs = [("resource", f"https://{number}.example.com") for number in range(20)]
    assert_refused(
        server, ask(server, reader, ("scope", "read:data"), *pairs), "target.several", error="invalid_target"
    )


@rule("R8707-2-02", "R8707-2-06", "S6")
def test_the_audience_is_exactly_the_resource_that_was_named(server: InProcessServer) -> None:
    server.add_resource("api-v1", identifier=API)
    server.add_resource("api-v11", identifier=API + "1")
    agent = server.add_agent("both", permissions={"api-v1": ("read:data",), "api-v11": ("read:data",)})
    for pair in (("resource", API), ("audience", API)):
        assert claims_of(ask(server, agent, ("scope", "read:data"), pair))["aud"] == API
    assert claims_of(ask(server, agent, ("scope", "read:data"), ("audience", API + "1")))["aud"] == API + "1"


@rule("R8707-2-06")
def test_a_resource_and_an_audience_must_agree(server: InProcessServer) -> None:
    server.add_resource("api", identifier=API)
    agent = server.add_agent("both", permissions={"api": ("read:data",), "my-api": ("read:data",)})
    agreeing = ask(server, agent, ("scope", "read:data"), ("resource", API), ("audience", API))
    assert claims_of(agreeing)["aud"] == API
    answer = ask(server, agent, ("scope", "read:data"), ("resource", API), ("audience", "my-api"))
    assert_refused(server, answer, "target.disagree", error="invalid_target")


@rule("S5", "KF-78")
def test_a_resource_without_a_permission_is_refused_like_an_unknown_one(
    server: InProcessServer, reader: Registered
) -> None:
    server.add_resource("private", identifier="private-api")
    known = ask(server, reader, ("scope", "read:data"), ("audience", "private-api"))
    unknown = ask(server, reader, ("scope", "read:data"), ("audience", "no-such-api"))
    assert known.json["error"] == unknown.json["error"] == "invalid_target"
    assert {event["reason"] for event in server.events()} == {"target.unknown"}
    assert known.json["error_description"].replace("private-api", "X") == unknown.json["error_description"].replace(
        "no-such-api", "X"
    )


@rule("R8707-2-03")
def test_without_a_target_the_only_resource_that_owns_the_scopes_is_taken(server: InProcessServer) -> None:
    server.add_resource("reports", scopes=("read:reports",))
    agent = server.add_agent("two", permissions={"my-api": ("read:data",), "reports": ("read:reports",)})
    assert claims_of(ask(server, agent, ("scope", "read:reports")))["aud"] == "reports"
    assert claims_of(ask(server, agent, ("scope", "read:data")))["aud"] == "my-api"


@rule("R8707-2-03", "TRAP-20")
def test_an_ambiguous_target_is_the_default_resource_or_refused(server: InProcessServer) -> None:
    server.add_resource("twin")
    permissions = {"my-api": ("read:data",), "twin": ("read:data",)}
    with_default = server.add_agent("decided", permissions=permissions, default_resource="twin")
    assert claims_of(ask(server, with_default, ("scope", "read:data")))["aud"] == "twin"
    without = server.add_agent("undecided", permissions=permissions, default_resource=None)
    answer = ask(server, without, ("scope", "read:data"))
    assert_refused(server, answer, "target.ambiguous", error="invalid_target")
    assert "audience" in answer.json["error_description"]


@rule("S1", "R9700-2.3-01")
def test_an_agent_without_permissions_gets_nothing(server: InProcessServer) -> None:
    agent = server.add_agent("nobody", permissions={})
    answer = ask(server, agent, ("scope", "read:data"), ("audience", "my-api"))
    assert_refused(server, answer, "target.unknown", error="invalid_target")


@rule("S7")
def test_a_new_permission_holds_for_the_next_token(server: InProcessServer) -> None:
    agent = server.add_agent("growing", permissions={})
    assert ask(server, agent, ("scope", "read:data"), ("audience", "my-api")).status == 400
    from watchword.ports.agents import Permission
    from watchword.ports.store import Create, DeletePermission

    permission = Permission(
        id="new", client_id=agent.client_id, resource="my-api", scopes=("read:data",), created_at=server.clock()
    )
    server.commit(Create(permission))
    assert ask(server, agent, ("scope", "read:data"), ("audience", "my-api")).status == 200
    server.commit(DeletePermission(agent.client_id, "new"))
    assert ask(server, agent, ("scope", "read:data"), ("audience", "my-api")).status == 400


@rule("S8")
def test_the_lifetime_is_the_shortest_of_all_limits(server: InProcessServer) -> None:
    now = server.clock()
    server.add_resource("long", token_lifetime=timedelta(hours=9))
    server.add_resource("short", token_lifetime=timedelta(seconds=90))
    for resource, conditions, expires_at, expected in [
        ("long", Conditions(), None, 3600),
        ("short", Conditions(), None, 90),
        ("long", Conditions(maximum_lifetime=timedelta(seconds=45)), None, 45),
        ("long", Conditions(not_after=now + timedelta(seconds=30)), None, 30),
        ("long", Conditions(), now + timedelta(seconds=20), 20),
    ]:
        agent = server.add_agent(
            "a", permissions={resource: ("read:data",)}, conditions=conditions, expires_at=expires_at
        )
        answer = ask(server, agent, ("scope", "read:data"))
        assert answer.json["expires_in"] == expected
        claims = claims_of(answer)
        assert claims["exp"] - claims["iat"] == expected


@rule("S12")
@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        (Conditions(not_before=datetime(2026, 11, 24, 12, 1, tzinfo=UTC)), "permission.not_yet"),
        (Conditions(not_after=datetime(2026, 11, 24, 12, 0, tzinfo=UTC)), "permission.ended"),
        (Conditions(source_networks=("198.51.100.0/24",)), "permission.network"),
        (Conditions(hours="13:00-17:00"), "permission.hours"),
        (Conditions(hours="22:00-06:00"), "permission.hours"),
    ],
)
def test_a_permission_whose_conditions_do_not_hold_permits_nothing(
    server: InProcessServer, conditions: Conditions, reason: str
) -> None:
    agent = server.add_agent("conditional", conditions=conditions)
    assert_refused(server, server.token(agent), reason, error="invalid_scope")


@rule("P12", "KF-121")
def test_a_network_condition_looks_at_the_peer_and_at_no_header(server: InProcessServer) -> None:
    agent = server.add_agent("inside", conditions=Conditions(source_networks=("198.51.100.0/24", "2001:db8::/32")))
    form = f"{GRANT}&scope=read:data"
    assert server.post(form, agent.basic, peer="198.51.100.9").status == 200
    assert server.post(form, agent.basic, peer="::ffff:198.51.100.9").status == 200
    assert server.post(form, agent.basic, peer="2001:db8::1").status == 200
    assert server.post(form, agent.basic, peer="not-an-address").status == 400
    assert (
        server.post(form, agent.basic, ("x-forwarded-for", "198.51.100.9"), ("forwarded", "for=198.51.100.9")).status
        == 400
    )


def test_another_permission_may_hold_where_one_does_not(server: InProcessServer) -> None:
    from watchword.ports.agents import Permission
    from watchword.ports.store import Create

    agent = server.add_agent("twice", conditions=Conditions(hours="13:00-17:00"))
    assert server.token(agent).status == 400
    server.commit(
        Create(
            Permission(
                id="second",
                client_id=agent.client_id,
                resource="my-api",
                scopes=("read:data",),
                created_at=server.clock(),
            )
        )
    )
    assert server.token(agent).status == 200


@rule("R9700-2.2.1-01")
def test_a_resource_that_wants_proof_of_possession_gives_no_bearer_token(server: InProcessServer) -> None:
    server.add_resource("strict", require_pop=True)
    by_resource = server.add_agent("a", permissions={"strict": ("read:data",)})
    by_permission = server.add_agent("b", conditions=Conditions(require_sender_constraint=True))
    for agent in (by_resource, by_permission):
        assert_refused(server, server.token(agent), "binding.required")


def test_a_clock_set_back_gives_no_longer_tokens() -> None:
    clock = FrozenClock()
    server = InProcessServer(clock=clock)
    server.add_resource()
    agent = server.add_agent("a", expires_at=clock() + timedelta(minutes=5))
    clock.advance(timedelta(hours=-1))
    claims = claims_of(server.token(agent))
    assert claims["exp"] - claims["iat"] == 600
