"""Killed in the middle of its work: what was acknowledged is there and told, what was not is whole or not there."""

import asyncio
from pathlib import Path

from tests import rule
from watchword.adapters.sqlite import SqliteStore
from watchword.ports.store import Create
from watchword.testing.kill import Acknowledged, Killer
from watchword.testing.process import FAIL_AT_WILL, ServerProcess
from watchword.testing.records import make_agent, make_event

KILLS = 5
SEED = 20_261_124


@rule("O1", "FI-1", "U6", "DR-9")
def test_a_server_killed_at_any_moment_has_lost_nothing_and_left_nothing_half_done(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, environment=FAIL_AT_WILL) as server:
        killer = Killer(server, seed=SEED)
        rounds = [killer.round(0.7) for _ in range(KILLS)]
        assert [one.problems for one in rounds] == [()] * KILLS
        assert sum(one.tokens for one in rounds) > 20
        assert sum(one.changes for one in rounds) > 5
        assert server.admin("GET", "/audit/verify")[1]["ok"] is True


def test_what_is_lost_or_half_done_is_found(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        killer = Killer(server, seed=SEED)
        server.stop()

        async def look(heard: Acknowledged) -> list[str]:
            return await killer._look(heard)

        async def spoil() -> None:
            store = SqliteStore.open(server.data / "watchword.db")
            await store.commit(make_event("other"), [Create(make_agent("untold"))])
            await store.commit(make_event("agent.suspend", client_id="untold"))
            await store.close()

        assert asyncio.run(look(Acknowledged())) == []
        assert asyncio.run(look(Acknowledged(tokens=["lost"]))) == ["token.issue without event: ['lost']"]
        assert asyncio.run(look(Acknowledged(refused=[500]))) == ["answered 500"]
        asyncio.run(spoil())
        assert set(asyncio.run(look(Acknowledged()))) == {
            "agents and their events differ",
            "suspensions and their events differ",
            "half an agent: untold",
        }
