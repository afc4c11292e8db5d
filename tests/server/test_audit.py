"""The trail: one event whatever happens, durable before the block is left."""

import asyncio
from datetime import timedelta

import pytest

from tests import rule
from watchword.errors import InvalidScope, NoSigningKey, RateLimited, StoreUnavailable
from watchword.ports.audit import AuditEvent, Outcome
from watchword.protocol.client_secret import SecretKind, generate_secret
from watchword.server.audit import Audit, claimed
from watchword.server.entry import Peer, Request
from watchword.testing.clock import FrozenClock
from watchword.testing.memory import MemoryStore

CLOCK = FrozenClock()
REQUEST = Request(
    id="r1", method="POST", path="/", query=b"", headers=(), body=b"", peer=Peer("192.0.2.1"), received_at=CLOCK()
)


def run(store: MemoryStore, error: Exception | None, observed: list[AuditEvent] | None = None) -> None:
    async def walk() -> None:
        audit = Audit(store, CLOCK, (lambda event, _: (observed if observed is not None else []).append(event),))
        async with audit.trail(REQUEST, "test.walk") as trail:
            trail.note(client_id="a")
            if error is not None:
                raise error
            trail.succeed("done", jti="j")

    asyncio.run(walk())


@rule("DR-9")
def test_success_is_one_event() -> None:
    store, observed = MemoryStore(), []  # type: tuple[MemoryStore, list[AuditEvent]]
    run(store, None, observed)
    (event,) = store.trail
    assert (event.action, event.outcome, event.reason, event.client_id, event.jti) == (
        "test.walk",
        Outcome.SUCCESS,
        "done",
        "a",
        "j",
    )
    assert observed == [event]


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (InvalidScope("scope.unknown", detail="why"), Outcome.DENIED, "scope.unknown"),
        (NoSigningKey("keys.none_active", detail="why"), Outcome.FAILED, "keys.none_active"),
        (ZeroDivisionError("secret text"), Outcome.FAILED, "internal"),
    ],
)
def test_whatever_escapes_is_one_event_and_escapes_still(error: Exception, outcome: Outcome, reason: str) -> None:
    store = MemoryStore()
    with pytest.raises(type(error)):
        run(store, error)
    (event,) = store.trail
    assert (event.outcome, event.reason) == (outcome, reason)
    assert "secret text" not in event.canonical_bytes().decode()


def test_a_block_that_says_nothing_has_failed() -> None:
    store = MemoryStore()

    async def silent() -> None:
        async with Audit(store, CLOCK).trail(REQUEST, "test.silent"):
            pass

    asyncio.run(silent())
    assert (store.trail[0].outcome, store.trail[0].reason) == (Outcome.FAILED, "internal")


@rule("DR-9", "DR-10", "U5")
@pytest.mark.parametrize("error", [None, InvalidScope("scope.unknown")])
def test_what_cannot_be_recorded_is_unavailable(error: Exception | None) -> None:
    store, observed = MemoryStore(), []  # type: tuple[MemoryStore, list[AuditEvent]]
    store.fail_next(commits=1)
    with pytest.raises(StoreUnavailable):
        run(store, error, observed)
    assert (store.trail, observed) == ([], [])


@rule("U3", "KF-95")
def test_a_claimed_value_is_bounded_and_redacted() -> None:
    secret = generate_secret(SecretKind.CLIENT)
    assert claimed(f"x {secret} y") == "x [redacted] y"
    assert claimed("a" * 300) == "a" * 256 + "...[300 characters]"
    assert claimed(None) == ""


@rule("E11")
def test_of_a_flood_the_limit_says_which_refusal_has_an_event() -> None:
    store, observed = MemoryStore(), []  # type: tuple[MemoryStore, list[AuditEvent]]
    second = timedelta(seconds=1)
    for error in (
        RateLimited("limit.peer", retry_after=second),
        RateLimited("limit.peer", retry_after=second, is_recorded=False),
        RateLimited("limit.peer", retry_after=second, unrecorded=7),
    ):
        with pytest.raises(RateLimited):
            run(store, error, observed)
    assert observed == store.trail
    assert [(event.outcome, event.reason, event.details) for event in store.trail] == [
        (Outcome.DENIED, "limit.peer", {}),
        (Outcome.DENIED, "limit.peer", {"unrecorded": "7"}),
    ]
