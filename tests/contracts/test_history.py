"""One random history of 10,000 operations: every store gives the same answers, to the byte."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tests import rule
from tests.contracts.history import Answers, Commit, history
from tests.postgres import new_database
from watchword.adapters.postgres import PostgresStore
from watchword.adapters.sqlite import SqliteStore
from watchword.ports.store import Store
from watchword.server.audit_chain import verify_chain
from watchword.testing.clock import FrozenClock
from watchword.testing.memory import MemoryStore

SEED = 20_261_124
OPERATIONS = 10_000

HISTORY = history(SEED, OPERATIONS)


async def new_store(kind: str, folder: Path) -> Store:
    if kind == "sqlite":
        return SqliteStore.create(folder / "watchword.db", clock=FrozenClock())
    return await PostgresStore.create(new_database(), clock=FrozenClock())


async def answers(store: Store) -> list[object]:
    try:
        told = await Answers(store).ask(HISTORY)
        assert verify_chain(await store.events(limit=OPERATIONS), await store.heads()).is_sound
        return told
    finally:
        await store.close()


@pytest.fixture(scope="module")
def expected() -> list[object]:
    return asyncio.run(answers(MemoryStore()))


def test_the_history_meets_everything(expected: list[object]) -> None:
    outcomes = Counter(answer for answer in expected if isinstance(answer, str))
    assert outcomes["done"] > 1000
    assert len(outcomes) > 20, outcomes
    assert sum(isinstance(one, Commit) and bool(one.changes) for one in HISTORY) > 4000
    assert sum(answer is not None and not isinstance(answer, str) for answer in expected) > 2000


@rule("U1", "DR-13", "FI-27")
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_every_store_answers_as_the_reference_does(kind: str, tmp_path: Path, expected: list[object]) -> None:
    async def ask() -> list[object]:
        return await answers(await new_store(kind, tmp_path))

    told = asyncio.run(ask())
    assert len(told) == len(expected) <= OPERATIONS
    differing = [place for place, pair in enumerate(zip(told, expected, strict=True)) if pair[0] != pair[1]]
    assert [(place, told[place], expected[place]) for place in differing[:3]] == []
