"""A database copied by pg_dump while tokens are issued from it, put back elsewhere, and gone on with."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests import rule
from tests.postgres import new_database, shared_server
from tests.whole.asking import DATABASE, Load
from watchword.adapters.postgres_replay import PostgresReplay
from watchword.clock import system_clock
from watchword.config import load_settings
from watchword.ports.replay import Verdict
from watchword.testing.process import FAIL_AT_WILL, ServerProcess
from watchword.upkeep.doctor import examine

MINUTE = timedelta(minutes=1)


def run(program: str, *arguments: str) -> None:
    command = [str(shared_server().programs / program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def exported(server: ServerProcess) -> list[dict[str, Any]]:
    lines = server.command("--data", str(server.data), "audit", "export", "--format", "jsonl").splitlines()
    return [json.loads(line) for line in lines]


def places(rows: list[dict[str, Any]]) -> set[tuple[str, int, str]]:
    return {(row["chain"], row["position"], row["hash"]) for row in rows}


def doctors_checks(server: ServerProcess, url: str) -> set[str]:
    settings = load_settings({"data": server.data, "database": url}, environ={}).settings
    return {one.check for one in asyncio.run(examine(settings, is_production=False)).findings}


async def claim(url: str) -> Verdict:
    """Claim what is five minutes old."""
    replay = await PostgresReplay.open(url)
    since = system_clock() - 5 * MINUTE
    try:
        return await replay.claim("drill", "jti", since=since, until=since + 20 * MINUTE)
    finally:
        await replay.close()


@rule("O13", "DR-9")
def test_a_copy_of_a_database_that_serves_is_put_back_and_gone_on_with(tmp_path: Path) -> None:
    url, back = new_database(), new_database()
    (tmp_path / "second").mkdir()
    with ServerProcess(tmp_path, environment=FAIL_AT_WILL | {DATABASE: url}) as first:
        agent, other = first.create_agent("reader"), first.create_agent("other")
        shared_server().sql("UPDATE watchword.replay_state SET horizon = 1", url.rpartition("/")[2].partition("?")[0])
        assert asyncio.run(claim(url)) is Verdict.FIRST
        with Load(first, agent) as load:
            while len(load.tokens) < 20:
                time.sleep(0.01)
            acknowledged = set(load.tokens)
            run("pg_dump", "--format", "custom", "--schema", "watchword", "--file", str(tmp_path / "dump"), url)
            enough = len(load.tokens) + 20
            while len(load.tokens) < enough:
                time.sleep(0.01)
        assert load.wrong == []
        assert first.admin("POST", f"/agents/{other.client_id}/suspend", {})[0] == 200
        assert first.token(other)[0] == 401
        original = exported(first)
    run("pg_restore", "--exit-on-error", "--no-owner", "--dbname", back, str(tmp_path / "dump"))

    second = ServerProcess(tmp_path / "second", environment=FAIL_AT_WILL | {DATABASE: back}, beside=first)
    assert "restored" in doctors_checks(second, back)
    told = json.loads(second.command("--data", str(second.data), "-o", "json", "store", "restored"))
    assert (told["generation"], told["master_key"], told["database"]) == (2, True, back)
    assert "restored" not in doctors_checks(second, back)
    with second:
        assert second.admin("GET", "/audit/verify")[1]["ok"] is True
        kept = exported(second)
        copied, told_of_it = kept[: told["events"]], kept[told["events"]]["event"]
        assert (told_of_it["action"], told_of_it["details"]["generation"]) == ("store.restore", "2")
        assert places(copied) < places(original)
        issued = {row["event"].get("jti") for row in kept}
        assert acknowledged <= issued
        assert not set(load.tokens) <= issued
        assert asyncio.run(claim(back)) is Verdict.UNSURE
        assert second.token(agent)[0] == second.token(other)[0] == 200  # its suspension is newer than the copy
        assert second.admin("POST", f"/agents/{other.client_id}/suspend", {})[0] == 200
        assert second.token(other)[0] == 401
