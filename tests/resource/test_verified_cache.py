"""Remembered tokens: bounded, least recently used first, one verifier's never another's."""

from __future__ import annotations

import threading
from typing import cast

import pytest

from tests import rule
from watchword.resource.verified_cache import Verified, VerifiedCache


def entry() -> Verified:
    return cast("Verified", object())


def test_what_was_put_is_found_until_it_is_dropped():
    cache, verified = VerifiedCache("a"), entry()
    digest = cache.digest("token")
    assert cache.get(digest) is None
    cache.put(digest, verified)
    assert cache.get(digest) is verified
    cache.drop(digest)
    cache.drop(digest)
    assert cache.get(digest) is None


def test_the_least_recently_used_leaves_first():
    cache = VerifiedCache("a", capacity=2)
    first, second, third = (cache.digest(text) for text in ("1", "2", "3"))
    cache.put(first, entry())
    cache.put(second, entry())
    cache.get(first)
    cache.put(third, entry())
    assert [cache.get(digest) is not None for digest in (first, second, third)] == [True, False, True]
    assert len(cache) == 2


def test_no_capacity_remembers_nothing():
    cache = VerifiedCache("a", capacity=0)
    cache.put(cache.digest("1"), entry())
    assert len(cache) == 0


@rule("KF-72")
def test_the_same_token_has_another_place_for_another_verifier():
    assert VerifiedCache("issuer\nmy-api").digest("token") != VerifiedCache("issuer\nmy-api2").digest("token")


def test_the_token_is_not_kept():
    cache = VerifiedCache("a")
    cache.put(cache.digest("secret-token"), entry())
    assert "secret-token" not in repr(vars(cache))


@pytest.mark.parametrize("text", ["", "\x00", "\udc80", "é" * 100, "a" * 1_000_000])
@rule("KF-32")
def test_any_text_has_a_digest(text):
    assert len(VerifiedCache("a").digest(text)) == 32


def test_a_long_text_has_no_digest_of_a_token():
    cache = VerifiedCache("a")
    assert cache.digest("a" * 8192) != cache.digest("a" * 8193)


def test_threads_keep_the_bound():
    cache = VerifiedCache("a", capacity=10)
    barrier = threading.Barrier(8)

    def churn(number):
        barrier.wait(10)
        for index in range(500):
            digest = cache.digest(f"{number}-{index % 20}")
            cache.put(digest, entry())
            cache.get(digest)
            cache.drop(cache.digest(f"{number}-{index % 7}"))

    threads = [threading.Thread(target=churn, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(cache) <= 10
