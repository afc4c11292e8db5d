from datetime import UTC, datetime, timedelta

import pytest

from tests import rule
from watchword.errors import UseDpopNonce
from watchword.protocol.dpop_nonces import LIFETIME, Nonces

NOW = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINE = Nonces(b"k" * 32, "https://auth.example/", SECOND * 5)


def refusal(nonce: str | None, now: datetime = NOW, nonces: Nonces = MINE) -> str:
    with pytest.raises(UseDpopNonce) as caught:
        nonces.check(nonce, now)
    assert nonces.check(caught.value.nonce, now) == now - nonces.skew, "the refusal brings one that is accepted"
    return caught.value.reason


@rule("D29", "D31", "R9449-8-02")
def test_a_nonce_is_good_at_every_holder_of_the_key_until_it_is_too_old() -> None:
    nonce = MINE.make(NOW)
    other_node = Nonces(b"k" * 32, "https://auth.example/", SECOND * 5)
    assert other_node.check(nonce, NOW + LIFETIME) == NOW - SECOND * 5
    assert other_node.check(nonce, NOW - SECOND * 5) == NOW - SECOND * 5
    assert refusal(nonce, NOW + LIFETIME + SECOND) == "dpop.nonce_stale"
    assert refusal(nonce, NOW - SECOND * 6) == "dpop.nonce_stale"


@rule("R9449-8-02")
def test_a_nonce_tells_nothing_of_the_next_one() -> None:
    one, next_one = MINE.make(NOW), MINE.make(NOW + timedelta(microseconds=1))
    assert (len(one), one.isascii()) == (32, True)
    assert one[11:] != next_one[11:]


@rule("D29", "D30")
def test_a_nonce_of_another_key_or_purpose_is_unknown() -> None:
    assert refusal(Nonces(b"x" * 32, MINE.purpose).make(NOW)) == "dpop.nonce_unknown"
    assert refusal(Nonces(MINE.key, "https://other.example/").make(NOW)) == "dpop.nonce_unknown"


@rule("D29")
def test_a_forged_nonce_is_unknown() -> None:
    nonce = MINE.make(NOW)
    for index, character in enumerate(nonce):
        forged = nonce[:index] + ("A" if character != "A" else "B") + nonce[index + 1 :]
        assert refusal(forged) == "dpop.nonce_unknown"
    for text in ("", "x", nonce[:-1], nonce + "A", nonce + "=", nonce[:-1] + "+", "\u00e9" * 32, "A" * 100_000):
        assert refusal(text) == "dpop.nonce_unknown"
    assert refusal(None) == "dpop.nonce_missing"
    assert MINE.check(nonce, NOW) == NOW - SECOND * 5


def test_the_key_is_not_shown() -> None:
    assert "kkk" not in repr(MINE)
