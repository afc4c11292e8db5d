"""Who is stopped by whose failures: ABUSE 6.11."""

from __future__ import annotations

import contextlib
from collections import Counter
from datetime import timedelta

import pytest

from tests import rule
from watchword.adapters.limits_memory import MemoryRateLimiter
from watchword.errors import InvalidClient, OAuthError, RateLimited, StoreUnavailable, Unauthenticated
from watchword.ports.ratelimit import Rate
from watchword.server import limits as module
from watchword.server.limits import Limits, RequestLimits
from watchword.testing.clock import FrozenClock

pytestmark = pytest.mark.anyio

MINUTE = timedelta(seconds=60)
NUMBERS = Limits(
    peer=Rate(5, MINUTE), agent=Rate(4, MINUTE), login_failures=Rate(3, MINUTE), peer_failures=Rate(10, MINUTE)
)
HOME, ELSEWHERE = "192.0.2.7", "198.51.100.1"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Scene:
    """Limits under a clock, and what they told."""

    def __init__(self) -> None:
        self.clock = FrozenClock()
        self.told: Counter[str] = Counter()
        self.limits = RequestLimits(
            NUMBERS, lambda _, rate: MemoryRateLimiter(rate), lambda name: self.told.update([name])
        )

    async def login(self, name: str = "reader", *, at: str = HOME, error: Exception | None = None) -> str:
        """Try to log in; return how it ended: ``ok``, or the reason."""
        try:
            async with self.limits.attempt(at, self.clock()) as attempt:
                if name:
                    await attempt.claim(name)
                if error is not None:
                    raise error
        except (OAuthError, Unauthenticated, StoreUnavailable) as raised:
            return raised.reason
        return "ok"

    async def fail(self, name: str = "reader", *, at: str = HOME, times: int = 1) -> list[str]:
        return [await self.login(name, at=at, error=InvalidClient("client.credential")) for _ in range(times)]

    async def exhaust_peer(self, at: str = HOME) -> None:
        for number in range(NUMBERS.peer_failures.amount):
            await self.fail(f"unknown-{number}", at=at)


@pytest.fixture
def scene() -> Scene:
    return Scene()


@rule("B1", "R6749-2.3-07")
async def test_after_so_many_failures_not_even_the_right_credential_is_looked_at(scene: Scene) -> None:
    assert await scene.fail(times=4) == ["client.credential"] * 3 + ["limit.login_failures"]
    assert await scene.login() == "limit.login_failures"
    assert scene.told == {"login_failures": 2}


@rule("B4", "R6749-2.3-07", "B1")
async def test_failures_elsewhere_do_not_stop_the_right_credential(scene: Scene) -> None:
    await scene.fail(times=50)
    await scene.exhaust_peer()
    assert await scene.login(at=ELSEWHERE) == "ok"


@rule("B4")
async def test_failures_of_one_client_do_not_stop_another_behind_the_same_address(scene: Scene) -> None:
    await scene.fail(times=1000)
    assert await scene.login("writer") == "ok"
    assert await scene.fail("writer") == ["client.credential"]


@rule("B11")
async def test_a_success_forgives_nothing(scene: Scene) -> None:
    assert await scene.fail(times=2) == ["client.credential"] * 2
    assert await scene.login() == "ok"
    assert await scene.fail(times=2) == ["client.credential", "limit.login_failures"]


@rule("B11")
async def test_the_peers_failures_are_not_forgiven_either(scene: Scene) -> None:
    await scene.exhaust_peer()
    await scene.login(at=ELSEWHERE)
    assert await scene.login() == "limit.peer_failures"


@rule("B1", "B10")
async def test_time_alone_lets_one_try_again(scene: Scene) -> None:
    await scene.fail(times=4)
    scene.clock.advance(timedelta(seconds=19))
    assert await scene.login() == "limit.login_failures"
    scene.clock.advance(timedelta(seconds=1))
    assert await scene.fail(times=2) == ["client.credential", "limit.login_failures"]


@rule("B6", "KF-91")
@pytest.mark.parametrize("variant", ["READER", " reader", "reader ", "rea der", "ｒｅａｄｅｒ", "Reader\t"])
async def test_another_spelling_of_a_name_has_no_count_of_its_own(scene: Scene, variant: str) -> None:
    await scene.fail(times=3)
    assert await scene.login(variant) == "limit.login_failures"


@rule("B9")
async def test_long_names_that_differ_behind_their_bound_share_a_count(scene: Scene) -> None:
    for number in range(3):
        await scene.fail("x" * 256 + str(number))
    assert await scene.login("x" * 256 + "more") == "limit.login_failures"


@rule("B7")
async def test_the_addresses_of_one_slash_64_are_one_peer(scene: Scene) -> None:
    for number in range(3):
        await scene.fail(at=f"2001:db8:1:2::{number:x}")
    assert await scene.login(at="2001:db8:1:2:ffff::1") == "limit.login_failures"
    assert await scene.login(at="2001:db8:1:3::1") == "ok"


@rule("B5")
async def test_a_peer_that_tries_one_secret_on_many_clients_is_stopped(scene: Scene) -> None:
    await scene.exhaust_peer()
    assert await scene.login("one-more") == "limit.peer_failures"
    assert await scene.login("one-more", at=ELSEWHERE) == "ok"


@rule("B4")
async def test_who_was_proved_from_there_before_is_not_locked_out_by_a_neighbour(scene: Scene) -> None:
    assert await scene.login() == "ok"
    await scene.exhaust_peer()
    assert await scene.login() == "ok"
    assert await scene.login("newcomer") == "limit.peer_failures"


@rule("B4", "C8", "R6749-2.3-06")
async def test_of_a_peer_that_failed_too_often_nothing_tells_who_is_known(scene: Scene) -> None:
    await scene.login()
    await scene.exhaust_peer()
    assert await scene.fail("reader") == await scene.fail("never-there") == ["limit.peer_failures"]
    assert await scene.fail("reader", times=3) == ["limit.peer_failures"] * 2 + ["limit.login_failures"]


@rule("E11")
async def test_a_malformed_request_is_a_failure_of_its_peer(scene: Scene) -> None:
    for _ in range(NUMBERS.peer_failures.amount):
        assert await scene.login("", error=InvalidClient("client.no_credentials")) == "client.no_credentials"
    assert await scene.login("", error=InvalidClient("client.no_credentials")) == "limit.peer_failures"


async def test_a_fault_of_ours_is_nobodys_failure(scene: Scene) -> None:
    for _ in range(20):
        assert await scene.login(error=StoreUnavailable("store.memory")) == "store.memory"
    assert await scene.login() == "ok"


@rule("B5")
async def test_operators_fail_into_the_same_counts(scene: Scene) -> None:
    for number in range(NUMBERS.peer_failures.amount):
        assert await scene.login(f"t{number}", error=Unauthenticated("operator.credential")) == "operator.credential"
    assert await scene.login() == "limit.peer_failures"


async def test_a_peer_and_an_agent_are_admitted_as_often_as_the_table_says(scene: Scene) -> None:
    now = scene.clock()
    for _ in range(4):
        await scene.limits.admit_peer(HOME, now)
        await scene.limits.admit_agent("reader", now)
    await scene.limits.admit_peer(HOME, now)
    for refused in (scene.limits.admit_peer(HOME, now), scene.limits.admit_agent("reader", now)):
        with pytest.raises(RateLimited) as caught:
            await refused
        assert caught.value.retry_after == MINUTE / (5 if caught.value.reason == "limit.peer" else 4)
    await scene.limits.admit_peer(ELSEWHERE, now)
    await scene.limits.admit_agent("writer", now)


@rule("B10")
async def test_a_clock_set_back_stops_nobody_for_longer_than_the_period(scene: Scene) -> None:
    await scene.fail(times=4)
    scene.clock.advance(timedelta(days=-30))
    assert await scene.login() == "limit.login_failures"
    scene.clock.advance(MINUTE)
    assert await scene.login() == "ok"


@rule("E11")
async def test_of_a_flood_the_first_refusal_of_a_minute_is_recorded_and_says_how_many_were_not(scene: Scene) -> None:
    async def refusal(key: str) -> tuple[bool, int]:
        with pytest.raises(RateLimited) as caught:
            await scene.limits.admit_agent(key, scene.clock())
        return caught.value.is_recorded, caught.value.unrecorded

    for key in ("reader", "writer"):
        for _ in range(NUMBERS.agent.amount):
            await scene.limits.admit_agent(key, scene.clock())
    assert [await refusal("reader") for _ in range(3)] == [(True, 0), (False, 0), (False, 0)]
    assert await refusal("writer") == (True, 2)
    assert await refusal("reader") == (False, 0)
    scene.clock.advance(MINUTE)
    for _ in range(NUMBERS.agent.amount):
        await scene.limits.admit_agent("reader", scene.clock())
    assert await refusal("reader") == (True, 1)
    assert scene.told == {"agent": 6}


@rule("B9")
async def test_the_memory_of_who_was_proved_is_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PROVED", 3)
    for name in ("first", "reader", "second", "third", "reader", "fourth"):
        await scene.login(name)
    await scene.exhaust_peer()
    names = ("first", "second", "third", "reader", "fourth")
    assert [name for name in names if await scene.login(name) == "ok"] == ["third", "reader", "fourth"]


async def test_the_defaults_do_not_stop_a_busy_honest_agent(scene: Scene) -> None:
    scene.limits = RequestLimits(
        Limits(), lambda _, rate: MemoryRateLimiter(rate), lambda name: scene.told.update([name])
    )
    for number in range(20_000):
        await scene.limits.admit_peer(HOME, scene.clock())
        await scene.limits.admit_agent("reader", scene.clock())
        if number % 100 == 99:
            scene.clock.advance(timedelta(milliseconds=10))
    assert scene.told == {}


@rule("E11")
async def test_who_waited_with_other_guesses_for_what_all_are_compared_with_is_looked_at_again(scene: Scene) -> None:
    waiting = [scene.limits.attempt(HOME, scene.clock()) for _ in range(40)]
    for attempt in waiting:
        await attempt.claim("reader")
    compared = []
    for attempt in waiting:
        with contextlib.suppress(InvalidClient, RateLimited):
            async with attempt:
                await attempt.confirm()
                compared.append(attempt)
                raise InvalidClient("client.credential")
    assert compared == waiting[: NUMBERS.login_failures.amount]
