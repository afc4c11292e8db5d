"""Crashes, full disks, other processes, damage: what was acknowledged stays, and nothing else is claimed."""

import ctypes
import errno
import fcntl
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from tests import rule
from watchword.adapters import sqlite_file, sqlite_writer
from watchword.adapters.sqlite import SqliteStore
from watchword.adapters.sqlite_upgrade import upgrade_file
from watchword.errors import BadSettings, Fault, StoreUnavailable
from watchword.ports.audit import StoredEvent
from watchword.ports.store import Create
from watchword.server.audit_chain import verify_chain
from watchword.testing.clock import FrozenClock
from watchword.testing.records import make_agent, make_event

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    path = tmp_path / "watchword.db"
    await SqliteStore.create(path, clock=FrozenClock()).close()
    return path


@pytest.fixture
async def store(path: Path) -> SqliteStore:
    store = SqliteStore.open(path)
    yield store
    await store.close()


def start(path: Path, name: str, *, commits: int, tasks: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.adapters.committing", str(path), name, str(commits), str(tasks)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True)


async def read_all(store: SqliteStore) -> list[StoredEvent]:
    return list(await store.events(limit=1_000_000))


async def check_whole(path: Path, acknowledged: set[str]) -> None:
    """Open the store and find: a sound file, a sound chain, all that was acknowledged, no effect without its event."""
    store = SqliteStore.open(path)
    assert verify_chain(await read_all(store), await store.heads()).is_sound
    agents = {agent.client_id for agent in await store.agents(after="", limit=1_000_000)}
    told = {event.payload.split(b'"client_id":"')[1].split(b'"')[0].decode() for event in await read_all(store)}
    assert acknowledged <= agents == told
    assert await store.epoch() == len(agents)
    await store.commit(make_event(client_id="after"), [Create(make_agent("after"))])
    await store.close()
    db = apsw.Connection(str(path))
    assert db.pragma("integrity_check") == "ok"
    db.execute("PRAGMA foreign_key_check").fetchall()
    db.close()


@rule("O1", "U6", "DR-9", "KF-123")
@pytest.mark.parametrize("lines", [1, 7, 60, 200])
async def test_what_was_acknowledged_survives_a_kill(path: Path, lines: int) -> None:
    with start(path, "agent", commits=100_000, tasks=16) as process:
        acknowledged = {process.stdout.readline().strip() for _ in range(lines)}
        process.kill()
        acknowledged |= {line.strip() for line in process.stdout if line.endswith("\n")}
    assert len(acknowledged) >= lines
    await check_whole(path, acknowledged)


@rule("U7", "DR-7", "KF-123")
async def test_two_processes_make_one_chain(path: Path) -> None:
    with start(path, "one", commits=300, tasks=8) as one, start(path, "two", commits=300, tasks=8) as two:
        acknowledged = {line.strip() for process in (one, two) for line in process.stdout}
    assert len(acknowledged) == 600
    await check_whole(path, acknowledged)


@rule("O1", "U7")
async def test_a_killed_process_disturbs_no_other(path: Path) -> None:
    with start(path, "one", commits=100_000, tasks=8) as one, start(path, "two", commits=300, tasks=8) as two:
        acknowledged = {one.stdout.readline().strip()}
        one.kill()
        acknowledged |= {line.strip() for line in two.stdout}
        acknowledged |= {line.strip() for line in one.stdout if line.endswith("\n")}
    assert len(acknowledged) >= 301
    await check_whole(path, acknowledged)


Pwrite = ctypes.CFUNCTYPE(
    ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long, use_errno=True
)


@contextmanager
def failing_writes(is_failing: Callable[[], bool], error: int) -> Iterator[None]:
    """Let SQLite's calls of pwrite(2) fail whenever ``is_failing``."""
    vfs = apsw.VFS("faults", "unix")
    original = vfs.xGetSystemCall("pwrite64")
    pwrite = Pwrite(original)

    def call(descriptor: int, buffer: int, size: int, offset: int) -> int:
        if is_failing():
            ctypes.set_errno(error)
            return -1
        return pwrite(descriptor, buffer, size, offset)

    replacement = Pwrite(call)
    vfs.xSetSystemCall("pwrite64", ctypes.cast(replacement, ctypes.c_void_p).value)
    try:
        yield
    finally:
        vfs.xSetSystemCall("pwrite64", original)


@rule("O3", "U5", "DR-9")
@pytest.mark.parametrize(
    ("error", "reason"),
    [(errno.ENOSPC, "store.full"), (errno.EDQUOT, "store.io"), (errno.EIO, "store.io"), (errno.EROFS, "store.io")],
)
async def test_a_full_or_broken_disk_refuses_and_recovers(
    store: SqliteStore, path: Path, error: int, reason: str
) -> None:
    await store.commit(make_event(client_id="before"), [Create(make_agent("before"))])
    with failing_writes(lambda: True, error):
        for refused in (
            store.commit(make_event()),
            store.commit(make_event(), [Create(make_agent("lost"))]),
            store.check(),
        ):
            with pytest.raises(StoreUnavailable) as caught:
                await refused
            assert caught.value.reason == reason
        assert await store.registration("before") is not None
        assert await store.registration("lost") is None
    await store.check()
    await store.commit(make_event(client_id="later"), [Create(make_agent("later"))])
    await store.close()
    await check_whole(path, {"before", "later"})


@rule("O3", "DR-9")
@pytest.mark.parametrize("nth", range(1, 13))
async def test_a_write_that_fails_anywhere_leaves_nothing_half_done(store: SqliteStore, path: Path, nth: int) -> None:
    calls = iter(range(1, 1_000_000))
    acknowledged = set()
    with failing_writes(lambda: next(calls) == nth, errno.ENOSPC):
        for number in range(6):
            name = f"agent-{number}"
            try:
                await store.commit(make_event(client_id=name), [Create(make_agent(name))])
            except StoreUnavailable:
                assert await store.registration(name) is None
            else:
                acknowledged.add(name)
    assert len(acknowledged) == 5 or next(calls) <= nth
    await store.close()
    await check_whole(path, acknowledged)


@rule("O3")
async def test_a_limit_of_the_file_size_refuses_and_recovers(path: Path) -> None:
    program = f"""
import asyncio, resource, sys
from pathlib import Path
from watchword.adapters.sqlite import SqliteStore
from watchword.errors import StoreUnavailable
from watchword.testing.records import make_event

async def main():
    store = SqliteStore.open(Path({str(path)!r}))
    before, acknowledged, refused = resource.getrlimit(resource.RLIMIT_FSIZE), 0, 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))
    while refused < 3:
        try:
            await store.commit(make_event(client_id="x" * 5000))
            acknowledged += 1
        except StoreUnavailable:
            refused += 1
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    await store.commit(make_event())
    print(acknowledged + 1, len(await store.events(limit=100_000)))
    await store.close()

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    acknowledged, stored = map(int, done.stdout.split())
    assert acknowledged == stored > 10
    store = SqliteStore.open(path)
    assert verify_chain(await read_all(store), await store.heads()).is_sound
    await store.close()


@rule("O5")
async def test_a_lock_held_for_too_long_refuses_and_recovers(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "_PATIENCE", 0.02)
    for held in ("-lock", "-turn"):
        with (
            path.with_name(path.name + "-lock").open("rb") as lock,
            path.with_name(path.name + held).open("rb") as other,
        ):
            fcntl.flock(lock, fcntl.LOCK_EX)  # waits until the writer has let go
            if held == "-turn":
                fcntl.flock(other, fcntl.LOCK_EX)
                fcntl.flock(lock, fcntl.LOCK_UN)
            with pytest.raises(StoreUnavailable) as caught:
                await store.commit(make_event())
        assert caught.value.reason == "store.busy"
        await store.commit(make_event())
    assert len(await read_all(store)) == 2


@rule("O5")
async def test_a_foreign_transaction_refuses_and_recovers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "_BUSY_MILLISECONDS", 20)
    store, other = SqliteStore.open(path), apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    for changes in ([], [Create(make_agent())]):
        with pytest.raises(StoreUnavailable) as caught:
            await store.commit(make_event(), changes)
        assert caught.value.reason == "store.busy"
    assert await store.registration("agent-1") is None
    other.execute("ROLLBACK")
    await store.commit(make_event(), [Create(make_agent())])
    assert await store.registration("agent-1") is not None
    other.close()
    await store.close()


async def test_a_file_that_was_replaced_is_not_written_to(store: SqliteStore, path: Path) -> None:
    await store.commit(make_event())
    kept = path.rename(path.with_name("kept"))
    for replacement in (None, b"other"):
        if replacement is not None:
            path.write_bytes(replacement)
        with pytest.raises(StoreUnavailable) as caught:
            await store.commit(make_event())
        assert caught.value.reason == "store.replaced"
    kept.rename(path)
    await store.commit(make_event())


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2 // 4096 * 4096]


def foreign_database(_: bytes) -> bytes:
    db = apsw.Connection(":memory:")
    db.execute("CREATE TABLE notes (text)")
    return db.serialize("main")


@rule("O4")
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda _: b"", "store.damaged"),
        (lambda content: content[:50], "store.damaged"),
        (lambda content: content[:100], "store.damaged"),
        (lambda content: content[:4096], "store.damaged"),
        (cut, "store.damaged"),
        (lambda content: content[:4096] + bytes(len(content) - 4096), "store.damaged"),
        (lambda _: b"a letter to a friend\n" * 1000, "store.foreign"),
        (lambda content: bytes(len(content)), "store.foreign"),
        (foreign_database, "store.foreign"),
        (lambda content: content[:68] + bytes(4) + content[72:], "store.foreign"),
    ],
)
async def test_a_damaged_or_foreign_file_is_refused_and_left_alone(
    path: Path, damage: Callable[[bytes], bytes], reason: str
) -> None:
    content = damage(path.read_bytes())
    path.write_bytes(content)
    for refused in (lambda: SqliteStore.open(path), lambda: upgrade_file(path, now=FrozenClock()())):
        with pytest.raises(Fault) as caught:
            refused()
        assert caught.value.reason == reason
        assert str(path) in caught.value.detail or "damaged" in caught.value.detail
    with pytest.raises(BadSettings):
        SqliteStore.create(path, clock=FrozenClock())
    assert path.read_bytes() == content


@rule("O4")
async def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name, reason in (("none", "missing"), ("link", "missing"), ("pipe", "foreign"), (".", "foreign")):
        with pytest.raises(BadSettings) as caught:
            SqliteStore.open(tmp_path / name)
        assert caught.value.reason == f"store.{reason}"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link", "pipe"]


@rule("O4")
@pytest.mark.parametrize("seed", range(40))
async def test_flipped_bits_are_refused_or_harmless(path: Path, seed: int) -> None:
    store = SqliteStore.open(path)
    await store.commit(make_event(), [Create(make_agent(f"agent-{n}")) for n in range(50)])
    await store.close()
    content, dice = bytearray(path.read_bytes()), random.Random(seed)
    for _ in range(30):
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)
    try:
        store = SqliteStore.open(path)
    except Fault:
        return
    for read in (store.agents(after="", limit=100), store.events(), store.epoch(), store.commit(make_event())):
        try:
            await read
        except Fault:
            continue
    await store.close()


@rule("O4")
async def test_a_log_that_was_taken_away_is_missed(path: Path) -> None:
    store = SqliteStore.open(path)
    await store.commit(make_event(client_id="kept"), [Create(make_agent("kept"))])
    beside = [path.with_name(path.name + end) for end in ("", "-wal", "-shm")]
    crashed = {name: name.read_bytes() for name in beside}
    await store.close()
    for name, content in crashed.items():
        name.write_bytes(content)
    beside[1].unlink()
    with pytest.raises(StoreUnavailable) as caught:
        SqliteStore.open(path)
    assert caught.value.reason == "store.wal"
    assert beside[0].read_bytes() == crashed[beside[0]]
    beside[1].write_bytes(crashed[beside[1]])
    await check_whole(path, {"kept"})


@rule("O4")
@pytest.mark.parametrize("is_moved_back", [False, True])
async def test_a_log_of_another_database_is_refused_and_nothing_is_changed(
    path: Path, tmp_path: Path, is_moved_back: bool
) -> None:
    other = tmp_path / "other" / "watchword.db"
    stranger = SqliteStore.create(other, clock=FrozenClock())
    await stranger.commit(make_event(), [Create(make_agent(f"stranger-{n}")) for n in range(200)])
    log = other.with_name(other.name + "-wal").read_bytes()
    store = SqliteStore.open(path)
    await store.commit(make_event(client_id="mine"), [Create(make_agent("mine"))])
    await store.close()
    beside, content = path.with_name(path.name + "-wal"), path.read_bytes()
    beside.write_bytes(log)
    for _ in range(2):
        with pytest.raises(StoreUnavailable) as caught:
            SqliteStore.open(path)
        assert caught.value.reason == "store.wal"
        assert (path.read_bytes(), beside.read_bytes()) == (content, log)
    if is_moved_back:
        beside.unlink()
        path.with_name(path.name + "-shm").unlink()
        await check_whole(path, {"mine"})
    await stranger.close()
