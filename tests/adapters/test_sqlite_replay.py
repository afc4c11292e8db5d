"""The file of presented ids: what is lost when, and that it is known."""

import random
import shutil
import signal
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from tests import rule
from tests.contracts.replay_node import begin, node, race, read_verdicts
from watchword.adapters import sqlite_replay
from watchword.adapters.sqlite_replay import SqliteReplay
from watchword.adapters.sqlite_writer import Gate
from watchword.clock import system_clock
from watchword.errors import BadSettings, ReplayUnavailable
from watchword.ports.replay import Verdict
from watchword.testing.clock import FrozenClock
from watchword.testing.replay_contract import MINUTE, SECOND, claim

PAIRS = 10_000

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "replay.db"


async def used_once(path: Path, clock: FrozenClock) -> None:
    """Make the file, claim one id well after that, and close it properly."""
    replay = SqliteReplay.open(path, clock=clock)
    clock.advance(MINUTE)
    assert await claim(replay, clock) is Verdict.FIRST
    await replay.close()


@rule("N1", "KF-45", "FI-5")
def test_of_ten_thousand_pairs_in_two_processes_each_has_one_winner(path: Path) -> None:
    first, second = race("sqlite", [str(path)] * 2, PAIRS)
    pairs = [sorted((first[number], second[number])) for number in range(PAIRS)]
    assert [pair for pair in pairs if pair != ["first", "repeated"]] == []
    assert set(first.values()) == {"first", "repeated"}, "they did not race"


@rule("KF-44", "O1", "TRAP-04")
def test_what_a_killed_process_was_told_is_not_accepted_by_the_next(path: Path) -> None:
    for _ in range(5):
        path.unlink(missing_ok=True)
        with node("sqlite", path, 100_000) as killed:
            since = system_clock()
            begin(killed, since)
            assert killed.stdout is not None
            seen = [killed.stdout.readline() for _ in range(random.randrange(1, 2000))]
            killed.send_signal(signal.SIGKILL)
            told = read_verdicts(killed)
        winners = {int(line.split()[0]) for line in seen} | {
            number for number, verdict in told.items() if verdict == "first"
        }
        with node("sqlite", path, max(winners) + 200) as later:
            begin(later, since)
            verdicts = read_verdicts(later)
        assert {verdicts[number] for number in winners} == {"repeated"}
        assert set(verdicts.values()) == {"repeated", "unsure"}, "it is known that some may be lost"


@rule("KF-44")
async def test_a_proper_end_loses_nothing_and_refuses_nobody(path: Path, clock: FrozenClock) -> None:
    await used_once(path, clock)
    replay = SqliteReplay.open(path, clock=clock)
    assert await claim(replay, clock) is Verdict.REPEATED
    assert await claim(replay, clock, "another") is Verdict.FIRST
    await replay.close()


@rule("DR-6", "KF-44")
async def test_after_an_end_that_was_not_proper_nothing_from_before_the_start_is_accepted(
    path: Path, clock: FrozenClock, tmp_path: Path
) -> None:
    replay = SqliteReplay.open(path, clock=clock)
    clock.advance(MINUTE)
    assert await claim(replay, clock) is Verdict.FIRST
    (tmp_path / "after").mkdir()
    for file in tmp_path.glob("replay.db*"):
        shutil.copyfile(file, tmp_path / "after" / file.name)
    await replay.close()
    again = SqliteReplay.open(tmp_path / "after" / "replay.db", clock=clock)
    assert await claim(again, clock) is Verdict.REPEATED
    assert await claim(again, clock, "another") is Verdict.UNSURE
    clock.advance(2 * SECOND)
    assert await claim(again, clock, "another") is Verdict.FIRST
    await again.close()


@rule("O13")
async def test_a_copy_is_the_same_as_a_loss(path: Path, clock: FrozenClock, tmp_path: Path) -> None:
    await used_once(path, clock)
    shutil.copyfile(path, tmp_path / "copy.db")
    replay = SqliteReplay.open(tmp_path / "copy.db", clock=clock)
    assert await claim(replay, clock, "claimed since then") is Verdict.UNSURE
    await replay.close()


@rule("O13")
async def test_a_file_made_anew_is_the_same_as_a_loss(path: Path, clock: FrozenClock) -> None:
    await used_once(path, clock)
    path.unlink()
    replay = SqliteReplay.open(path, clock=clock)
    assert await claim(replay, clock) is Verdict.UNSURE
    await replay.close()


async def test_a_clock_that_was_ahead_before_an_unclean_end_leaves_no_gap(path: Path, clock: FrozenClock) -> None:
    replay = SqliteReplay.open(path, clock=clock)
    clock.advance(60 * MINUTE)
    assert await claim(replay, clock) is Verdict.FIRST
    await replay.close()
    with_state = apsw.Connection(str(path))
    with_state.execute("UPDATE state SET closed_as = 0; DELETE FROM claims")
    with_state.close()
    clock.advance(-30 * MINUTE)
    again = SqliteReplay.open(path, clock=clock)
    clock.advance(30 * MINUTE)
    assert await claim(again, clock) is Verdict.UNSURE
    await again.close()


async def test_one_of_several_that_ends_badly_loses_nothing(path: Path, clock: FrozenClock) -> None:
    first = SqliteReplay.open(path, clock=system_clock)
    with node("sqlite", path, 10) as killed:
        begin(killed, system_clock())
        assert killed.stdout is not None
        killed.stdout.readline()
    second = SqliteReplay.open(path, clock=system_clock)
    now = system_clock()
    assert await second.claim("jti", "id", since=now, until=now + MINUTE) is Verdict.FIRST
    await first.close()
    await second.close()
    third = SqliteReplay.open(path, clock=system_clock)
    assert await third.claim("jti", "another", since=now, until=now + MINUTE) is Verdict.FIRST
    await third.close()


@rule("KF-44")
async def test_one_that_leaves_properly_does_not_speak_for_another_that_is_killed(path: Path) -> None:
    with node("sqlite", path, 1_000_000) as killed:
        since = system_clock()
        begin(killed, since)
        assert killed.stdout is not None
        killed.stdout.readline()
        await SqliteReplay.open(path).close()
    replay = SqliteReplay.open(path)
    assert await replay.claim("jti", "id", since=since, until=since + MINUTE) is Verdict.UNSURE
    await replay.close()


@rule("KF-43")
async def test_a_full_file_accepts_nothing_new_forgets_nothing_and_goes_on_when_there_is_room(
    path: Path, clock: FrozenClock
) -> None:
    replay = SqliteReplay.open(path, clock=clock, capacity=1000)
    clock.advance(MINUTE)
    for number in range(1000):
        assert await claim(replay, clock, f"id-{number}") is Verdict.FIRST
    with pytest.raises(ReplayUnavailable, match=r"replay\.full"):
        await claim(replay, clock, "one more")
    assert await claim(replay, clock, "id-0") is Verdict.REPEATED
    await replay.check()
    clock.advance(MINUTE + SECOND)
    assert await claim(replay, clock, "one more") is Verdict.FIRST
    await replay.close()
    db = apsw.Connection(str(path))
    assert db.execute("SELECT count(*), (SELECT claims FROM state) FROM claims").fetchone() == (745, 745)
    db.close()


async def test_the_file_is_nobody_elses_to_read(path: Path) -> None:
    replay = SqliteReplay.open(path)
    await replay.check()
    assert {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {
        f"replay.db{end}": 0o600 for end in ("", "-lock", "-open", "-shm", "-turn", "-wal")
    }
    await replay.close()


@pytest.mark.parametrize("content", [b"", b"not a database", b"SQLite format 3\x00" + bytes(200)])
def test_a_file_that_is_something_else_is_refused_and_kept(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(BadSettings, match=r"replay\.foreign"):
        SqliteReplay.open(path)
    assert path.read_bytes() == content


def test_a_file_of_another_version_is_refused(path: Path) -> None:
    SqliteReplay.open(path)
    db = apsw.Connection(str(path))
    db.pragma("user_version", 99)
    db.close()
    with pytest.raises(BadSettings, match=r"replay\.foreign"):
        SqliteReplay.open(path.rename(path.with_name("moved.db")))


async def test_a_file_that_was_taken_away_accepts_nothing(path: Path, clock: FrozenClock) -> None:
    replay = SqliteReplay.open(path, clock=clock)
    clock.advance(MINUTE)
    path.unlink()
    with pytest.raises(ReplayUnavailable, match="replaced or removed"):
        await claim(replay, clock)
    await replay.close()


def test_a_directory_that_cannot_be_written_is_out_of_reach(tmp_path: Path) -> None:
    with pytest.raises(ReplayUnavailable, match=r"replay\.unavailable"):
        SqliteReplay.open(tmp_path / "missing" / "replay.db")


@rule("O5")
async def test_a_file_that_another_process_holds_for_too_long_is_out_of_reach(
    path: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    replay = SqliteReplay.open(path, clock=clock)
    clock.advance(MINUTE)
    monkeypatch.setattr(sqlite_replay, "_PATIENCE", 0.05)
    gate = Gate(path)
    gate.acquire(0)
    with pytest.raises(ReplayUnavailable, match=r"replay\.unavailable"):
        await claim(replay, clock)
    gate.release()
    assert await claim(replay, clock) is Verdict.FIRST
    gate.close()
    await replay.close()


@rule("O4")
async def test_a_damaged_file_accepts_nothing(path: Path, clock: FrozenClock) -> None:
    replay = SqliteReplay.open(path, clock=clock)
    clock.advance(MINUTE)
    for number in range(500):
        await claim(replay, clock, f"id-{number}")
    await replay.close()
    content = bytearray(path.read_bytes())
    content[8192:] = bytes(len(content) - 8192)
    path.write_bytes(content)
    replay = SqliteReplay.open(path, clock=clock)
    with pytest.raises(ReplayUnavailable, match=r"replay\.unavailable"):
        await claim(replay, clock, "id-499")
    await replay.close()


@rule("FI-7")
async def test_what_is_over_makes_room_for_what_comes(path: Path) -> None:
    clock = FrozenClock()
    replay = SqliteReplay.open(path, clock=clock, capacity=600)
    clock.advance(MINUTE)
    for number in range(4000):
        clock.advance(timedelta(milliseconds=150))
        assert await claim(replay, clock, f"id-{number}") is Verdict.FIRST
    await replay.close()
    assert path.stat().st_size < 200_000
