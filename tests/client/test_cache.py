from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import rule
from watchword.client.cache import LONGEST_LIFE, MAX_ENTRIES, CacheKey, Freshness, Token, TokenCache, build_token

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
KEY = CacheKey(issuer="https://login.example.com", client_id="reader", resource=None, audience="my-api", scopes=("a",))
SECOND = timedelta(seconds=1)


def token(value: str = "t", life: timedelta = timedelta(seconds=600), jitter: float = 0.5) -> Token:
    return build_token(value, ("a",), sent_at=NOW, life=life, jitter=jitter)


@rule("Q5", "R6749-5.1-03")
def test_a_token_is_renewed_at_four_fifths_of_its_life_and_not_served_at_its_end() -> None:
    kept = token()
    assert kept.renew_at == NOW + 480 * SECOND
    assert kept.expires_at == NOW + 595 * SECOND
    moments = [kept.freshness(NOW + seconds * SECOND) for seconds in (0, 479, 480, 594, 595, 600, 9999)]
    fresh, stale, expired = Freshness.FRESH, Freshness.STALE, Freshness.EXPIRED
    assert moments == [fresh, fresh, stale, stale, expired, expired, expired]


@rule("Q4")
def test_renewals_of_many_clients_are_spread() -> None:
    assert token(jitter=0.0).renew_at == NOW + 450 * SECOND
    assert token(jitter=0.9999).renew_at > NOW + 509 * SECOND


@given(st.floats(0, 1e9), st.floats(0, 1, exclude_max=True))
def test_the_times_of_every_token_are_in_order(life: float, jitter: float) -> None:
    kept = token(life=timedelta(seconds=life), jitter=jitter)
    assert kept.obtained_at <= kept.renew_at <= kept.expires_at
    assert kept.expires_at <= NOW + min(timedelta(seconds=life), LONGEST_LIFE)


@rule("W3")
def test_a_clock_that_stepped_behind_a_tokens_birth_does_not_serve_it() -> None:
    assert token().freshness(NOW - SECOND) is Freshness.EXPIRED


@rule("Q6")
def test_a_token_is_not_in_its_repr() -> None:
    assert "hush" not in repr(token("hush"))


def test_what_was_kept_is_found_until_it_expires() -> None:
    cache = TokenCache()
    cache.keep(KEY, token(), NOW)
    assert cache.find(KEY, NOW) == token()
    assert cache.find(KEY, NOW + 595 * SECOND) is None


@rule("KF-81")
@pytest.mark.parametrize(
    "other",
    [
        replace(KEY, issuer="https://login.example.com/"),
        replace(KEY, client_id="Reader"),
        replace(KEY, resource="my-api"),
        replace(KEY, audience=None),
        replace(KEY, scopes=("a", "b")),
        replace(KEY, scopes=()),
    ],
)
def test_every_part_of_the_key_counts(other: CacheKey) -> None:
    cache = TokenCache()
    cache.keep(KEY, token(), NOW)
    assert cache.find(other, NOW) is None


@rule("R6749-5.1-03")
def test_a_token_without_a_life_is_not_kept() -> None:
    cache = TokenCache()
    cache.keep(KEY, token(), NOW)
    cache.keep(KEY, token(life=timedelta(0)), NOW)
    assert cache.find(KEY, NOW) is None


def test_a_refused_token_is_forgotten_and_its_successor_stays() -> None:
    cache = TokenCache()
    cache.keep(KEY, token("old"), NOW)
    cache.keep(KEY, token("new"), NOW)
    cache.forget("old")
    assert cache.find(KEY, NOW) == token("new")
    cache.forget("new")
    assert cache.find(KEY, NOW) is None


def test_a_postponed_token_is_fresh_until_then_and_expires_as_before() -> None:
    cache = TokenCache()
    kept = token()
    cache.keep(KEY, kept, NOW)
    cache.postpone(KEY, kept, NOW + 500 * SECOND)
    found = cache.find(KEY, NOW)
    assert found is not None
    assert (found.renew_at, found.expires_at) == (NOW + 500 * SECOND, kept.expires_at)


def test_a_token_that_was_replaced_meanwhile_is_not_postponed() -> None:
    cache = TokenCache()
    cache.keep(KEY, token("new"), NOW)
    cache.postpone(KEY, token("old"), NOW + 500 * SECOND)
    assert cache.find(KEY, NOW) == token("new")


def test_the_cache_is_bounded_and_those_that_end_first_give_way() -> None:
    cache = TokenCache()
    for number in range(MAX_ENTRIES + 10):
        life = timedelta(seconds=1000 + number)
        cache.keep(replace(KEY, client_id=f"c{number}"), token(f"t{number}", life), NOW)
    assert len(cache) <= MAX_ENTRIES
    assert cache.find(replace(KEY, client_id="c0"), NOW) is None
    assert cache.find(replace(KEY, client_id=f"c{MAX_ENTRIES + 9}"), NOW) is not None
