import asyncio

import pytest

from watchword.adapters.keys_bearer import BearerTokens, Lent, lifetime
from watchword.errors import CustodyUnavailable


class Lender:
    """Lends a token that lives for an hour, unless it is away. ``now`` is the steady clock."""

    def __init__(self) -> None:
        self.lent, self.now, self.is_away = 0, 0.0, False
        self.tokens = BearerTokens(self.fetch, lambda: self.now)

    async def fetch(self) -> Lent:
        await asyncio.sleep(0)
        if self.is_away:
            raise CustodyUnavailable("custody.unreachable")
        self.lent += 1
        return Lent(str(self.lent), 3600)

    async def token(self) -> str:
        return (await self.tokens.headers())["authorization"]


def test_a_token_is_kept_until_shortly_before_its_end() -> None:
    async def use() -> list[str]:
        lender, seen = Lender(), []
        for lender.now in (0.0, 3299.0, 3301.0, 6600.0, 6602.0):
            seen.append(await lender.token())
        return seen

    assert asyncio.run(use()) == ["Bearer 1", "Bearer 1", "Bearer 2", "Bearer 2", "Bearer 3"]


def test_all_who_come_at_once_share_one() -> None:
    async def use() -> set[str]:
        lender = Lender()
        return set(await asyncio.gather(*(lender.token() for _ in range(10))))

    assert asyncio.run(use()) == {"Bearer 1"}


def test_while_nobody_lends_the_last_one_is_used_to_its_end_and_no_longer() -> None:
    async def use() -> str:
        lender = Lender()
        await lender.token()
        lender.is_away, lender.now = True, 3599.0
        assert await lender.token() == "Bearer 1"
        lender.now = 3600.0
        with pytest.raises(CustodyUnavailable) as caught:
            await lender.token()
        lender.is_away = False
        assert await lender.token() == "Bearer 2"
        return caught.value.reason

    assert asyncio.run(use()) == "custody.unreachable"


@pytest.mark.parametrize(("said", "seconds"), [(3600, 3600), ("3599", 3599), (None, 60), ("soon", 60), (-5, 60)])
def test_a_lifetime_is_a_number_or_text(said: object, seconds: float) -> None:
    assert lifetime(said) == seconds


def test_no_token_is_in_a_repr() -> None:
    assert "a secret" not in repr(Lent("a secret", 1))
