from __future__ import annotations

import asyncio
import pickle
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

import watchword
from tests import rule
from tests.client.world import AT_ONCE, DOWN, ISSUER, AuthorizationServer, answer, form, token_answer
from tests.forks import is_right_in_a_child, needs_fork
from watchword.client.credentials import ClientSecretBasic, ClientSecretPost
from watchword.client.errors import LoginMisconfigured, LoginRefused, LoginUnavailable
from watchword.client.login import Login
from watchword.testing.clock import FrozenClock

SECOND = timedelta(seconds=1)
Fetch = Callable[..., str]


def _afetch(login: Login, **wanted: str) -> str:
    return asyncio.run(login.atoken(**wanted))


both = pytest.mark.parametrize("fetch", [Login.token, _afetch], ids=["thread", "loop"])


class World:
    """A server, a clock and a login between them."""

    def __init__(self, **settings: object) -> None:
        self.clock = FrozenClock()
        self.server = AuthorizationServer()
        chosen = {"client": ClientSecretBasic("reader", "hush"), "scope": "read:data", "resource": "my-api", **settings}
        self.login = Login(issuer=ISSUER, transport=self.server, clock=self.clock, retry=AT_ONCE, **chosen)  # type: ignore[arg-type] -- a test's shorthand


@both
def test_a_token_is_discovered_requested_and_kept(fetch: Fetch) -> None:
    world = World()
    assert [fetch(world.login) for _ in range(3)] == ["token-1"] * 3
    assert (len(world.server.discoveries), len(world.server.token_requests)) == (1, 1)
    assert form(world.server.token_requests[0]) == {
        "grant_type": "client_credentials",
        "scope": "read:data",
        "audience": "my-api",
    }


@both
@rule("R6749-5.1-03")
def test_a_token_is_renewed_before_it_hurts_and_never_served_past_its_end(fetch: Fetch) -> None:
    world = World()
    fetch(world.login)
    world.clock.advance(449 * SECOND)
    assert fetch(world.login) == "token-1"
    world.clock.advance(SECOND)
    assert fetch(world.login) == "token-2"
    world.clock.advance(595 * SECOND)
    assert fetch(world.login) == "token-3"


@both
@rule("Q5")
def test_while_the_server_is_away_a_token_that_is_still_good_serves(fetch: Fetch) -> None:
    world = World()
    fetch(world.login)
    world.server.is_down = True
    world.clock.advance(500 * SECOND)
    assert fetch(world.login) == "token-1"
    world.clock.advance(94 * SECOND)
    assert fetch(world.login) == "token-1"
    world.clock.advance(SECOND)
    with pytest.raises(LoginUnavailable) as failed:
        fetch(world.login)
    assert failed.value.reason == "http.connect"
    world.server.is_down = False
    assert fetch(world.login) == "token-2"


@both
@rule("Q4", "Q5")
def test_a_server_in_trouble_is_left_alone_for_a_while(fetch: Fetch) -> None:
    world = World()
    fetch(world.login)
    world.clock.advance(460 * SECOND)
    world.server.is_down = True
    for _ in range(50):
        assert fetch(world.login) == "token-1"
    assert len(world.server.token_requests) == 2
    world.clock.advance(6 * SECOND)
    fetch(world.login)
    assert len(world.server.token_requests) == 3


@both
@rule("Q4")
def test_a_renewal_waits_as_long_as_the_server_asks(fetch: Fetch) -> None:
    world = World()
    fetch(world.login)
    world.clock.advance(460 * SECOND)
    world.server.script.append(answer(429, {"retry-after": "100"}))
    assert fetch(world.login) == "token-1"
    world.clock.advance(99 * SECOND)
    assert fetch(world.login) == "token-1"
    world.clock.advance(SECOND)
    assert fetch(world.login) == "token-2"


@both
@rule("Q5")
def test_an_unusable_answer_to_a_renewal_does_not_cost_the_good_token(fetch: Fetch) -> None:
    world = World()
    fetch(world.login)
    world.clock.advance(460 * SECOND)
    world.server.script.append(answer(200, None, nothing=True))
    assert fetch(world.login) == "token-1"


@both
def test_a_client_that_is_refused_stops_using_what_it_has(fetch: Fetch) -> None:
    world = World()
    fetch(world.login)
    world.clock.advance(460 * SECOND)
    world.server.script.extend([answer(401, error="invalid_client")] * 2)
    for _ in range(2):
        with pytest.raises(LoginRefused) as refused:
            fetch(world.login)
        assert refused.value.error == "invalid_client"
    assert fetch(world.login) == "token-2"


@both
@rule("R6749-5.1-03")
def test_a_token_without_a_lifetime_is_not_kept(fetch: Fetch) -> None:
    world = World()
    world.server.script.append(token_answer("once", expires_in=None))
    assert [fetch(world.login), fetch(world.login)] == ["once", "token-1"]


@both
def test_an_invalidated_token_is_replaced_once_however_many_say_so(fetch: Fetch) -> None:
    world = World()
    old = fetch(world.login)
    world.login.invalidate(old)
    new = fetch(world.login)
    world.login.invalidate(old)
    assert [new, fetch(world.login)] == ["token-2", "token-2"]


@both
@rule("KF-81")
def test_another_scope_or_resource_is_another_token(fetch: Fetch) -> None:
    world = World()
    plain = fetch(world.login)
    scoped = fetch(world.login, scope="write:data")
    elsewhere = fetch(world.login, resource="https://other.example.com/v1")
    assert (plain, scoped, elsewhere) == ("token-1", "token-2", "token-3")
    assert fetch(world.login, scope="write:data") == scoped
    sent = [form(request) for request in world.server.token_requests]
    assert [one.get("scope") for one in sent] == ["read:data", "write:data", "read:data"]
    assert [(one.get("audience"), one.get("resource")) for one in sent] == [
        ("my-api", None),
        ("my-api", None),
        (None, "https://other.example.com/v1"),
    ]


@both
def test_the_order_of_scopes_makes_no_difference(fetch: Fetch) -> None:
    world = World(scope=["b", "a", "b"])
    assert fetch(world.login) == fetch(world.login, scope="a b") == "token-1"
    assert form(world.server.token_requests[0])["scope"] == "a b"


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        ({"resource": "my-api"}, {"audience": "my-api"}),
        ({"resource": "https://api.example.com"}, {"resource": "https://api.example.com"}),
        ({"resource": "urn:example:api"}, {"resource": "urn:example:api"}),
        ({"resource": None, "audience": "my-api"}, {"audience": "my-api"}),
        (
            {"resource": "https://api.example.com", "audience": "my-api"},
            {"resource": "https://api.example.com", "audience": "my-api"},
        ),
        ({"resource": None}, {}),
    ],
)
def test_an_absolute_uri_is_a_resource_and_a_plain_name_an_audience(
    settings: dict[str, str | None], sent: dict[str, str]
) -> None:
    world = World(scope=None, **settings)
    world.login.token()
    assert form(world.server.token_requests[0]) == {"grant_type": "client_credentials", **sent}


@both
def test_a_token_endpoint_that_has_moved_is_found_again(fetch: Fetch) -> None:
    world = World()
    fetch(world.login, scope="one")
    world.server.metadata = answer(issuer=ISSUER, token_endpoint=f"{ISSUER}/new")
    world.server.script.append(answer(404))
    with pytest.raises(LoginUnavailable):
        fetch(world.login, scope="two")
    assert fetch(world.login, scope="two") == "token-2"
    assert world.server.token_requests[-1].url == f"{ISSUER}/new"


@both
@rule("Q5")
def test_metadata_is_read_anew_each_hour_and_the_old_serves_where_that_fails(fetch: Fetch) -> None:
    world = World()
    fetch(world.login)
    world.clock.advance(timedelta(hours=2))
    fetch(world.login)
    assert len(world.server.discoveries) == 2
    world.clock.advance(timedelta(hours=2))
    world.server.metadata = DOWN
    assert fetch(world.login) == "token-3"


@both
@rule("R8414-3.3-01", "R9700upd-01", "MCP-07", "Q9")
def test_nothing_is_shown_to_an_issuer_that_is_another(fetch: Fetch) -> None:
    world = World()
    world.server.metadata = answer(issuer="https://evil.example", token_endpoint="https://evil.example/token")
    with pytest.raises(LoginMisconfigured) as refused:
        fetch(world.login)
    assert refused.value.reason == "discovery.issuer"
    assert world.server.token_requests == []
    assert all("authorization" not in request.headers for request in world.server.requests)


@both
@rule("R9700upd-01", "MCP-07", "Q9")
def test_two_logins_share_nothing(fetch: Fetch) -> None:
    first, second = World(), World()
    second.login = Login(
        issuer="https://other.example",
        client=ClientSecretBasic("reader", "other"),
        transport=second.server,
        clock=second.clock,
    )
    second.server.metadata = answer(issuer="https://other.example", token_endpoint="https://other.example/token")
    second.server.issued = 100
    assert (fetch(first.login), fetch(second.login)) == ("token-1", "token-101")
    assert {request.url.split("/")[2] for request in first.server.requests} == {"login.example.com"}
    assert {request.url.split("/")[2] for request in second.server.requests} == {"other.example"}


def test_the_offset_of_the_issuers_clock_is_known_after_the_first_answer() -> None:
    world = World()
    world.server.metadata = answer(
        200, {"date": "Tue, 24 Nov 2026 12:10:00 GMT"}, issuer=ISSUER, token_endpoint=f"{ISSUER}/oauth/token"
    )
    world.login.token()
    assert world.login.clock_offset == timedelta(minutes=10)


def _crowd(world: World, wants: list[str], *, threads: int, loops: int, tasks: int) -> list[tuple[str, str]]:
    """Let threads, and tasks of several loops, ask at the same moment; return what each wanted and got."""
    start = threading.Barrier(threads + loops)

    def in_thread(want: str) -> list[tuple[str, str]]:
        start.wait(20)
        return [(want, world.login.token(scope=want))]

    def in_loop(mine: list[str]) -> list[tuple[str, str]]:
        async def one(want: str) -> tuple[str, str]:
            return want, await world.login.atoken(scope=want)

        async def everyone() -> list[tuple[str, str]]:
            return await asyncio.gather(*map(one, mine))

        start.wait(20)
        return asyncio.run(everyone())

    with ThreadPoolExecutor(threads + loops) as pool:
        running = [pool.submit(in_thread, want) for want in wants[:threads]]
        running += [pool.submit(in_loop, wants[threads + loop * tasks :][:tasks]) for loop in range(loops)]
        return [pair for one in running for pair in one.result(30)]


@rule("Q3", "KF-81", "R6749-5.1-03")
def test_a_thousand_callers_at_once_each_get_their_own_with_one_request_for_each() -> None:
    world = World()
    wants = [f"scope:{number % 50}" for number in range(1000)]
    random.Random(7).shuffle(wants)
    got = _crowd(world, wants, threads=40, loops=4, tasks=240)
    assert len(got) == 1000
    assert all(world.server.issued_for[token] == want for want, token in got)
    assert sorted(world.server.issued_for.values()) == sorted(set(wants))
    assert (len(world.server.token_requests), len(world.server.discoveries)) == (50, 1)


@rule("Q3", "KF-81")
def test_a_thousand_different_wants_at_once_are_never_mixed_up() -> None:
    world = World()
    got = _crowd(world, [f"scope:{number}" for number in range(1000)], threads=40, loops=4, tasks=240)
    assert {token: want for want, token in got} == world.server.issued_for
    assert len(world.server.issued_for) == 1000


@rule("Q8")
def test_a_cancelled_task_does_not_take_the_others_along() -> None:
    world = World()
    world.server.gate = threading.Event()

    async def scenario() -> list[str]:
        leader = asyncio.create_task(world.login.atoken())
        await asyncio.to_thread(world.server.entered.wait, 5)
        others = [asyncio.create_task(world.login.atoken()) for _ in range(5)]
        await asyncio.sleep(0)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        assert world.server.gate is not None
        world.server.gate.set()
        return await asyncio.gather(*others)

    assert len(set(asyncio.run(scenario()))) == 1


@rule("Q5")
def test_while_one_renews_the_others_do_not_wait() -> None:
    world = World()
    world.login.token()
    world.clock.advance(460 * SECOND)
    world.server.gate = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(world.login.token)
        assert world.server.entered.wait(5)
        assert world.login.token() == "token-1"
        assert asyncio.run(world.login.atoken()) == "token-1"
        world.server.gate.set()
        assert renewing.result() == "token-2"


@rule("Q8", "O15")
@needs_fork
def test_a_forked_child_goes_on_with_the_same_login() -> None:
    world = World()
    world.login.token()
    assert is_right_in_a_child(
        lambda: world.login.token() == "token-1" and world.login.token(scope="other") == "token-2",
        held=(world.login._cache._lock, world.login._token_flights._lock, world.login._discovery_flights._lock),
    )


@rule("Q6")
@pytest.mark.parametrize("kind", [ClientSecretBasic, ClientSecretPost])
def test_no_secret_and_no_token_is_in_anything_a_login_shows(kind: type[ClientSecretBasic]) -> None:
    world = World(client=kind("reader", "hush-secret"))
    world.server.script.append(token_answer("hush-token"))
    world.login.token()
    world.server.script.append(
        answer(400, error="invalid_scope", error_description="secret hush-secret is fine, scope is not")
    )
    with pytest.raises(LoginRefused) as refused:
        world.login.token(scope="other")
    shown = (
        repr(world.login) + str(world.login) + repr(refused.value) + str(refused.value) + repr(refused.value.__dict__)
    )
    shown += repr(world.server.requests) + repr(list(world.login._cache._tokens.items()))
    assert "hush" not in shown
    with pytest.raises(TypeError) as not_pickled:
        pickle.dumps(world.login)
    assert "hush" not in str(not_pickled.value)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"scope": 'read"data'}, "scope.syntax"),
        ({"scope": ["read data"]}, "scope.syntax"),
        ({"scope": ["ré"]}, "scope.syntax"),
    ],
)
def test_a_login_that_cannot_work_is_not_built(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(LoginMisconfigured) as refused:
        World(**settings)
    assert refused.value.reason == reason


def test_a_scope_that_is_none_is_named() -> None:
    with pytest.raises(LoginMisconfigured, match="'a,\"b' is not a scope"):
        World(scope='x a,"b')


@pytest.mark.parametrize("issuer", [None, ""])
def test_an_issuer_that_is_not_set_is_refused_as_one_that_is_none(issuer: str) -> None:
    with pytest.raises(LoginMisconfigured) as refused:
        Login(issuer=issuer, client=ClientSecretBasic("reader", "hush"))
    assert refused.value.reason == "issuer.syntax"


def test_it_is_found_under_its_public_name() -> None:
    assert watchword.Login is Login
