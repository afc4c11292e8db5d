"""The status lists say of every token whether it is revoked, whichever process is asked and whenever it was started."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests import rule
from watchword.adapters.keys_file import FileSigner
from watchword.adapters.master_key import MasterKey
from watchword.errors import NotFound
from watchword.ports.audit import AuditEvent, Outcome
from watchword.ports.keys import KeyState
from watchword.ports.revocations import Revoke
from watchword.ports.store import Create
from watchword.protocol import jose
from watchword.protocol.revocation import Revocation, RevocationKind
from watchword.protocol.status_list import LIST_SIZE, StatusList, check_status_list, parse_status_list
from watchword.server.revocations import until
from watchword.server.signing_keys import SigningKeys
from watchword.server.status_lists import SETTLING, StatusLists, StatusRules
from watchword.testing.clock import FrozenClock
from watchword.testing.memory import MemoryStore
from watchword.testing.records import make_event

ISSUER = "https://as.example"
SECOND = timedelta(seconds=1)


class World:
    """A store with tokens in its trail, and any number of processes that answer for the lists."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.clock = FrozenClock()
        self.signer = FileSigner(MasterKey(bytes(32)))
        self.issued = 0

    async def begin(self, blocks: int = 1) -> "World":
        key = await self.signer.generate("ES256", now=self.clock())
        await self.store.commit(make_event(), [Create(replace(key, state=KeyState.ACTIVE))])
        for _ in range(blocks):
            await self.store.take_status_block()
        return self

    def process(self) -> StatusLists:
        keys = SigningKeys(self.store)
        return StatusLists(ISSUER, self.store, keys, self.signer, self.clock, "ES256", StatusRules())

    async def issue(self, place: int, *, client_id: str = "reader", at: datetime | None = None, **more: object) -> None:
        at = at or self.clock()
        facts = {
            "time": at,
            "action": "token.issue",
            "outcome": Outcome.SUCCESS,
            "reason": "issued",
            "actor": f"agent:{client_id}",
            "client_id": client_id,
            "credential_id": f"credential of {client_id}",
            "resource": "my-api",
            "scope": "read:data",
            "jti": f"token {place}",
            "kid": "kid-1",
            "expires_at": at + timedelta(minutes=10),
            "details": {"status": str(place)},
        }
        self.issued += 1
        await self.store.commit(AuditEvent(id=f"{self.issued:032x}", **(facts | more)))

    async def revoke(self, kind: RevocationKind, target: str, *, status: int | None = None) -> None:
        now = self.clock()
        made = Revocation(kind=kind, target=target, cutoff=now, created_at=now, expires_at=until(now), status=status)
        await self.store.commit(make_event(), [Revoke(made)])

    async def read(self, process: StatusLists, number: int = 0) -> StatusList:
        document = await process.signed_list(number)
        (key,) = await self.store.signing_keys()
        return check_status_list(
            parse_status_list(document.body.decode()),
            key=jose.import_public_jwk(key.public_jwk),
            issuer=ISSUER,
            uri=process.uri(number),
            algorithms=frozenset({"ES256"}),
            now=self.clock(),
            leeway=timedelta(0),
        )

    async def revoked(self, process: StatusLists, number: int = 0) -> set[int]:
        found = await self.read(process, number)
        return {index for index in range(4096) if found.status(index)}


TARGETS = {
    RevocationKind.AGENT: "reader",
    RevocationKind.PERMISSION: "reader my-api",
    RevocationKind.CREDENTIAL: "credential of reader",
    RevocationKind.RESOURCE: "my-api",
    RevocationKind.SCOPE: "my-api read:data",
    RevocationKind.SIGNING_KEY: "kid-1",
    RevocationKind.EVERYTHING: "",
}
OTHERS = {"client_id": "writer", "resource": "other", "scope": "write:data", "kid": "kid-2"}


@rule("TSL-01", "R4", "DR-8")
@pytest.mark.parametrize("kind", list(TARGETS))
def test_every_kind_of_revocation_marks_the_tokens_that_it_hits(kind):
    async def story() -> None:
        world = await World().begin()
        before = world.process()
        assert await world.revoked(before) == set()
        await world.issue(7)
        await world.issue(8, **OTHERS)
        await world.issue(9, details={})
        world.clock.advance(5 * SECOND)
        await world.revoke(kind, TARGETS[kind])
        hit = {7, 8} if kind is RevocationKind.EVERYTHING else {7}
        for process in (before, world.process()):
            assert await world.revoked(process) == hit
        world.clock.advance(SETTLING + SECOND)
        await world.issue(10)
        for process in (before, world.process()):
            assert await world.revoked(process) == hit

    asyncio.run(story())


def test_a_single_token_is_marked_where_it_stands():
    async def story() -> None:
        world = await World().begin(blocks=257)
        await world.revoke(RevocationKind.TOKEN, "token 1", status=LIST_SIZE + 5)
        process = world.process()
        assert (await world.revoked(process, 0), await world.revoked(process, 1)) == (set(), {5})

    asyncio.run(story())


@rule("R8")
def test_a_token_that_is_recorded_after_the_revocation_but_dated_before_is_marked():
    async def story() -> None:
        world = await World().begin()
        process = world.process()
        await world.revoke(RevocationKind.EVERYTHING, "")
        assert await world.revoked(process) == set()
        await world.issue(3, at=world.clock() - SECOND)
        await world.issue(4, details={"status": "4", "iat": str(int(world.clock().timestamp()) + 1)})
        world.clock.advance(SECOND)
        await world.issue(5)
        for one in (process, world.process()):
            assert await world.revoked(one) == {3}

    asyncio.run(story())


def test_a_place_is_clear_again_when_its_token_is_over():
    async def story() -> None:
        world = await World().begin()
        process = world.process()
        await world.issue(3)
        await world.revoke(RevocationKind.AGENT, "reader")
        assert await world.revoked(process) == {3}
        world.clock.advance(timedelta(minutes=12))
        assert await world.revoked(process) == set()

    asyncio.run(story())


def test_many_tokens_are_found_page_by_page():
    async def story() -> None:
        world = await World().begin()
        for place in range(1200):
            await world.issue(place, client_id="reader" if place % 3 else "writer")
        await world.revoke(RevocationKind.AGENT, "reader")
        await world.revoke(RevocationKind.RESOURCE, "elsewhere")
        assert await world.revoked(world.process()) == {place for place in range(1200) if place % 3}

    asyncio.run(story())


@rule("TSL-04")
def test_only_lists_with_places_in_them_are_there():
    async def story() -> None:
        world = await World().begin(blocks=257)
        process = world.process()
        assert (
            b'["https://as.example/oauth/status/0","https://as.example/oauth/status/1"]'
            in (await process.aggregation()).body
        )
        with pytest.raises(NotFound) as refused:
            await process.signed_list(2)
        assert refused.value.reason == "status.list"
        assert await world.revoked(process, 1) == set()

    asyncio.run(story())


def test_an_unchanged_list_is_signed_once_and_in_time_anew():
    async def story() -> None:
        world = await World().begin()
        process = world.process()
        first = await process.signed_list(0)
        assert await process.signed_list(0) is first
        world.clock.advance(process.rules.ttl / 2)
        assert await process.signed_list(0) is not first
        assert (await world.read(process)).issued_at == world.clock().replace(microsecond=0)

    asyncio.run(story())
