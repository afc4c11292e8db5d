"""The kept key set: fresh, stale, unknown, unreachable; from many threads and loops at once."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import rule
from tests.resource.issuers import ISSUER, JWKS_URI, KEY, Issuer
from watchword.errors import VerifierUnavailable
from watchword.ports.http import TransportError
from watchword.protocol.kept_keys import COOL_DOWN, RETRY_DELAY
from watchword.resource import jwks_cache
from watchword.resource.issuer_keys import IssuerKeys
from watchword.resource.jwks_cache import GRACE, MAX_STALE, JwksCache
from watchword.testing.clock import FrozenClock

KID = str(KEY.public_jwk["kid"])
FRESHNESS = timedelta(seconds=300)
TICK = timedelta(microseconds=1)


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def issuer(clock):
    return Issuer(clock)


@pytest.fixture
def cache(issuer, clock):
    return JwksCache(IssuerKeys(ISSUER, JWKS_URI), transport=issuer, clock=clock)


def finish(steps):
    """Drive the steps to their end, waiting in this thread."""
    while True:
        try:
            flight = next(steps)
        except StopIteration as stop:
            return stop.value
        flight.result(10)


def land(cache):
    """Wait until nothing is in the air."""
    if (flight := cache._flight) is not None:
        flight.result(10)


def find(cache, kid=KID):
    return finish(cache.find(kid, "ES256"))


def failure_of(cache):
    with pytest.raises(VerifierUnavailable) as caught:
        finish(cache.usable())
    return caught.value.reason


def test_a_fresh_set_is_used_without_asking_again(cache, issuer, clock):
    assert find(cache).kid == KID
    clock.advance(FRESHNESS - TICK)
    assert find(cache).kid == KID
    land(cache)
    assert issuer.jwks_fetches == 1


def test_a_key_is_found_only_under_its_own_algorithm(cache):
    assert finish(cache.find(KID, "ES384")) is None


@rule("V4")
def test_a_stale_set_serves_while_one_fetch_runs(cache, issuer, clock):
    find(cache)
    new = issuer.rotate(keep=True)
    clock.advance(FRESHNESS)
    issuer.gate.clear()
    for _ in range(100):
        assert cache.current(clock()).keys.find(KID, "ES256").kid == KID
    assert cache.current(clock()).keys.find(new.public_jwk["kid"], "ES256") is None
    issuer.gate.set()
    land(cache)
    assert cache.current(clock()).keys.find(new.public_jwk["kid"], "ES256") is not None
    assert issuer.jwks_fetches == 2


@rule("K12", "R7517-5-03", "KF-37", "TRAP-14", "V4")
def test_ten_thousand_unknown_kids_cost_one_fetch_per_cool_down(cache, issuer, clock):
    assert all(find(cache, f"random-{number}") is None for number in range(5_000))
    assert issuer.jwks_fetches == 1
    clock.advance(COOL_DOWN - TICK)
    assert all(find(cache, f"random-{number}") is None for number in range(5_000, 10_000))
    assert issuer.jwks_fetches == 1
    clock.advance(TICK)
    assert all(find(cache, f"random-{number}") is None for number in range(10_000))
    assert issuer.jwks_fetches == 2
    assert find(cache).kid == KID


@rule("R7517-5-03", "FI-9")
def test_a_key_published_since_is_found_at_once(cache, issuer):
    find(cache)
    new = issuer.rotate(keep=True)
    assert find(cache, new.public_jwk["kid"]).kid == new.public_jwk["kid"]
    assert issuer.jwks_fetches == 2


@rule("K2")
def test_a_key_taken_back_is_gone_with_the_next_set(cache, issuer, clock):
    find(cache)
    issuer.rotate()
    clock.advance(FRESHNESS)
    cache.current(clock())
    land(cache)
    assert cache.current(clock()).keys.find(KID, "ES256") is None


@rule("K2")
def test_however_long_nobody_asked_a_key_taken_back_is_refused_after_max_age_and_grace(cache, issuer, clock):
    find(cache)
    issuer.rotate()
    clock.advance(FRESHNESS + GRACE - TICK)
    issuer.gate.clear()
    assert cache.current(clock()).keys.find(KID, "ES256") is not None
    clock.advance(TICK)
    assert cache.current(clock()) is None
    issuer.gate.set()
    assert find(cache) is None
    assert issuer.jwks_fetches == 2


@rule("K2", "K13")
def test_in_an_outage_nobody_waits_twice(cache, issuer, clock):
    find(cache)
    issuer.fail(500)
    clock.advance(FRESHNESS + GRACE)
    assert find(cache).kid == KID
    clock.advance(RETRY_DELAY)
    issuer.gate.clear()
    assert cache.current(clock()).keys.find(KID, "ES256") is not None
    issuer.gate.set()
    land(cache)


@rule("K13", "V4")
@pytest.mark.parametrize(
    "failure", [500, 404, b"<html>", TransportError("http.timeout"), TransportError("http.redirect")]
)
def test_the_last_good_set_survives_an_outage_of_an_hour_and_not_for_ever(cache, issuer, clock, failure):
    find(cache)
    issuer.fail(failure)
    for _ in range(72):
        clock.advance(timedelta(minutes=1))
        assert cache.current(clock()).keys.find(KID, "ES256") is not None
        land(cache)
    clock.advance(MAX_STALE - timedelta(minutes=72) - TICK)
    assert finish(cache.usable()) is not None
    land(cache)
    clock.advance(TICK)
    assert failure_of(cache) in {"keys.status", "keys.json", "http.timeout", "http.redirect"}
    issuer.mend()
    clock.advance(RETRY_DELAY)
    assert find(cache).kid == KID


@rule("K13")
def test_an_outage_is_told_once_per_try_and_so_is_its_end(cache, issuer, clock, caplog):
    caplog.set_level(logging.INFO, "watchword.resource")
    find(cache)
    issuer.fail(500)
    clock.advance(FRESHNESS)
    for _ in range(100):
        cache.current(clock())
        land(cache)
    assert cache.status().failure == "keys.status"
    assert cache.status().usable_until == clock() - FRESHNESS + MAX_STALE
    issuer.mend()
    clock.advance(RETRY_DELAY)
    cache.current(clock())
    land(cache)
    assert [(record.levelname, "keys.status" in record.getMessage()) for record in caplog.records] == [
        ("WARNING", True),
        ("INFO", False),
    ]
    assert cache.status().failure == ""


@rule("V4")
def test_without_any_set_nothing_is_guessed_and_the_issuer_is_not_flooded(cache, issuer, clock):
    issuer.fail(TransportError("http.connect"))
    assert {failure_of(cache) for _ in range(100)} == {"http.connect"}
    assert issuer.jwks_fetches == 1
    clock.advance(RETRY_DELAY)
    issuer.mend()
    assert find(cache).kid == KID
    assert cache.status().fetched_at == clock()


def test_before_the_first_fetch_the_status_says_so(cache):
    status = cache.status()
    assert (status.fetched_at, status.usable_until, status.failure) == (None, None, "")


@rule("V6")
def test_a_defect_in_the_transport_leaves_nobody_waiting(cache, issuer):
    issuer.fail(ZeroDivisionError())
    assert failure_of(cache) == "keys.fault"


def test_when_no_thread_can_be_started_nobody_waits(cache, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert failure_of(cache) == "keys.thread"


def test_a_log_that_cannot_be_written_leaves_nobody_waiting(cache, issuer, clock, monkeypatch):
    def full(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr(jwks_cache._log, "warning", full)
    monkeypatch.setattr(jwks_cache._log, "info", full)
    ended = threading.Semaphore(0)
    monkeypatch.setattr(threading, "excepthook", lambda _: ended.release())
    issuer.fail()
    assert failure_of(cache) == "keys.status"
    issuer.mend()
    clock.advance(RETRY_DELAY)
    assert find(cache).kid == KID
    assert cache.status().failure == ""
    assert ended.acquire(timeout=10)
    assert ended.acquire(timeout=10)


@rule("W3")
def test_a_clock_that_goes_back_keeps_neither_an_old_set_nor_a_cool_down(cache, issuer, clock):
    find(cache, "unknown")
    clock.advance(timedelta(hours=-5))
    assert find(cache).kid == KID
    land(cache)
    assert issuer.jwks_fetches == 2
    new = issuer.rotate(keep=True)
    assert find(cache, new.public_jwk["kid"]) is not None


@rule("V4")
def test_fifty_threads_share_one_flight(cache, issuer):
    issuer.gate.clear()
    barrier = threading.Barrier(51)
    found = []

    def ask():
        barrier.wait(10)
        found.append(find(cache))

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    barrier.wait(10)
    assert issuer.arrived.acquire(timeout=10)
    issuer.gate.set()
    for thread in threads:
        thread.join(10)
    assert [key.kid for key in found] == [KID] * 50
    assert issuer.jwks_fetches == 1


@rule("V4", "K12")
def test_loops_and_threads_with_unknown_kids_share_one_flight(cache, issuer):
    find(cache)
    issuer.gate.clear()
    barrier = threading.Barrier(9)
    answers = []

    async def one_loop():
        async def ask(number):
            steps = cache.find(f"unknown-{number}", "ES256")
            while True:
                try:
                    flight = next(steps)
                except StopIteration as stop:
                    return stop.value
                await asyncio.wrap_future(flight)

        tasks = [asyncio.create_task(ask(number)) for number in range(50)]
        await asyncio.sleep(0)
        barrier.wait(10)
        answers.extend(await asyncio.gather(*tasks))

    threads = [threading.Thread(target=asyncio.run, args=(one_loop(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    barrier.wait(10)
    issuer.gate.set()
    for thread in threads:
        thread.join(10)
    assert answers == [None] * 400
    assert issuer.jwks_fetches == 2


def test_one_who_gives_up_waiting_ends_no_flight(cache, issuer, clock):
    issuer.gate.clear()

    async def give_up():
        async def wait():
            await asyncio.wrap_future(next(cache.usable()))

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(give_up())
    issuer.gate.set()
    land(cache)
    assert cache.current(clock()) is not None
    assert issuer.jwks_fetches == 1


def test_after_a_fork_the_child_does_not_wait_for_its_parents_flight(cache, issuer, clock):
    issuer.gate.clear()
    assert cache.current(clock()) is None
    lost = cache._flight
    assert issuer.arrived.acquire(timeout=10)
    cache.renew_after_fork()  # what os.fork calls in the child: test_verifier.py forks
    assert cache.current(clock()) is None
    assert cache._flight is not lost
    issuer.gate.set()
    land(cache)
    lost.result(10)
    assert find(cache).kid == KID


def test_a_cache_that_nobody_uses_is_collected(issuer, clock):
    cache = JwksCache(IssuerKeys(ISSUER, JWKS_URI), transport=issuer, clock=clock)
    seen = weakref.ref(cache)
    del cache
    gc.collect()
    assert seen() is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["good", "unknown", "wait", "long", "down", "up", "rotate"]), max_size=40))
@rule("V4", "KF-37")
def test_whatever_happens_fetches_are_rare_and_a_served_set_is_young(steps):
    """At most one fetch per cool-down for unknown kids, one per freshness period, one per failed retry."""
    clock = FrozenClock()
    issuer = Issuer(clock)
    cache = JwksCache(IssuerKeys(ISSUER, JWKS_URI), transport=issuer, clock=clock)
    fetched, asked = [], 0
    for step in steps:
        asked = issuer.jwks_fetches
        if step == "wait":
            clock.advance(timedelta(seconds=7))
        elif step == "long":
            clock.advance(timedelta(minutes=50))
        elif step == "down":
            issuer.fail(500)
        elif step == "up":
            issuer.mend()
        elif step == "rotate":
            issuer.published = [KEY.public_jwk]
        else:
            try:
                key = find(cache, KID if step == "good" else "unknown")
                assert (key is not None) == (step == "good")
                assert clock() < cache.held.usable_until
                assert clock() - cache.held.fetched_at < MAX_STALE
            except VerifierUnavailable:
                assert cache.held is None or clock() >= cache.held.usable_until
            land(cache)
        fetched += [clock()] * (issuer.jwks_fetches - asked)
    in_one_moment = max((fetched.count(moment) for moment in set(fetched)), default=0)
    assert in_one_moment <= 2  # a stale set renewed, and one asked for an unknown kid
