"""A copy is of one moment, whole, and gives nothing away; a store that is put back says that it was."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest

from tests import rule
from tests.adapters.test_sqlite import LATER, NEWER, first_release
from tests.upkeep.conftest import ISSUER
from watchword.adapters.data_directory import in_use
from watchword.adapters.master_key import create_master_key
from watchword.adapters.sqlite import SqliteStore
from watchword.compose import open_core
from watchword.config import load_settings
from watchword.errors import Fault, MasterKeyError, StoreUnavailable, WatchwordError
from watchword.ports.agents import AgentState
from watchword.ports.keys import KeyState
from watchword.ports.store import Change, Create, Replace
from watchword.server.audit_chain import Findings, verify_chain
from watchword.server.signing_keys import SigningKeys
from watchword.stores import STORE_FILE
from watchword.testing.records import make_agent, make_event, make_signing_key
from watchword.upkeep import backup
from watchword.upkeep.backup import BackedUp, PutBack, back_up, put_back

NIGHT = datetime(2026, 11, 24, 3, 17, 0, tzinfo=UTC)


def copied(data: Path, target: Path, *, with_master_key: bool = False) -> BackedUp:
    settings = load_settings({"data": data}).settings
    return asyncio.run(back_up(settings, target, with_master_key=with_master_key, clock=lambda: NIGHT))


def restored(file: Path, data: Path) -> PutBack:
    return asyncio.run(put_back(file, data, clock=lambda: NIGHT))


def refusal(operation: Callable[..., object], *arguments: object, **named: object) -> str:
    with pytest.raises(WatchwordError) as caught:
        operation(*arguments, **named)
    assert caught.value.detail
    return caught.value.reason


def change(data: Path, *changes: Change) -> None:
    async def commit() -> None:
        store = SqliteStore.open(data / STORE_FILE)
        await store.commit(make_event(), changes)
        await store.close()

    asyncio.run(commit())


async def findings(store: SqliteStore) -> Findings:
    return verify_chain(await store.events(limit=1_000_000), await store.heads())


def trail(data: Path) -> list[dict[str, object]]:
    async def read() -> list[dict[str, object]]:
        store = SqliteStore.open(data / STORE_FILE)
        assert (await findings(store)).is_sound
        events = [json.loads(one.payload) for one in await store.events(limit=1_000_000)]
        await store.close()
        return events

    return asyncio.run(read())


@pytest.fixture
def file(data: Path, tmp_path: Path) -> Path:
    """A backup of ``data``, in a directory of its own."""
    (tmp_path / "backups").mkdir()
    return copied(data, tmp_path / "backups/a.backup").file


@rule("O13")
def test_what_was_copied_is_put_back_as_another_generation(data: Path, file: Path, tmp_path: Path) -> None:
    before = trail(data)
    done = restored(file, tmp_path / "again")
    assert (done.identity.issuer, done.identity.generation, done.identity.restored_at) == (ISSUER, 2, NIGHT)
    assert done.copied.events == len(before)
    assert done.copied.last_event == before[-1]["time"]
    *kept, last = trail(tmp_path / "again")
    assert kept == before
    assert (last["action"], last["reason"]) == ("store.restore", "restored")
    assert last["details"] == {"file": str(file), "last_event": before[-1]["time"], "generation": "2"}
    assert (tmp_path / "again/watchword.toml").read_bytes() == (data / "watchword.toml").read_bytes()
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "again").iterdir()}
    assert set(found.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "again").stat().st_mode) == 0o700


def test_a_copy_tells_of_itself(data: Path, file: Path) -> None:
    last = trail(data)[-1]
    assert (last["action"], last["details"]) == ("store.backup", {"file": str(file)})


def test_only_the_owner_reads_a_copy_and_nothing_else_is_left(file: Path) -> None:
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["a.backup"]


def test_in_a_directory_a_copy_is_named_after_the_time(data: Path, tmp_path: Path) -> None:
    assert copied(data, tmp_path).file == tmp_path / "watchword-20261124T031700Z.backup"
    assert refusal(copied, data, tmp_path) == "backup.exists"


@pytest.mark.parametrize("with_master_key", [False, True])
def test_the_master_key_is_in_it_only_when_it_is_asked_for(data: Path, tmp_path: Path, with_master_key: bool) -> None:
    key = (data / "master.key").read_bytes()
    done = copied(data, tmp_path / "a.backup", with_master_key=with_master_key)
    assert done.has_master_key is with_master_key
    content = done.file.read_bytes()
    assert (key.strip() in content) is with_master_key
    assert base64.b64decode(key) not in content
    assert restored(done.file, tmp_path / "again").has_master_key is with_master_key
    assert (tmp_path / "again/master.key").exists() is with_master_key
    if not with_master_key:
        shutil.copy(data / "master.key", tmp_path / "again")
    assert (tmp_path / "again/master.key").read_bytes() == key

    async def use() -> None:
        async with open_core(load_settings({"data": tmp_path / "again"}).settings) as core:
            assert core.issuer == ISSUER

    asyncio.run(use())


def test_a_master_key_from_the_environment_is_found(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHWORD_SERVER__MASTER_KEY_FILE", str(data / "master.key"))
    done = copied(data, tmp_path / "a.backup", with_master_key=True)
    monkeypatch.setenv("WATCHWORD_SERVER__MASTER_KEY_FILE", str(tmp_path / "nowhere"))
    assert restored(copied(data, tmp_path / "b.backup").file, tmp_path / "one").has_master_key is False
    monkeypatch.delenv("WATCHWORD_SERVER__MASTER_KEY_FILE")
    monkeypatch.setenv("WATCHWORD_SERVER__MASTER_KEY", (data / "master.key").read_text().strip())
    assert restored(done.file, tmp_path / "two").has_master_key is True
    monkeypatch.setenv("WATCHWORD_SERVER__MASTER_KEY", base64.b64encode(bytes(32)).decode())
    with pytest.raises(MasterKeyError) as caught:
        restored(done.file, tmp_path / "three")
    assert caught.value.reason == "master_key.wrong"
    assert not (tmp_path / "three").exists()


@rule("O13")
def test_a_copy_is_of_one_moment_while_others_write(data: Path, tmp_path: Path) -> None:
    async def write(store: SqliteStore, stop: asyncio.Event) -> int:
        count = 0
        while not stop.is_set():
            names = [f"a{count + number}" for number in range(16)]
            await asyncio.gather(
                *(store.commit(make_event(client_id=name), [Create(make_agent(name))]) for name in names)
            )
            count += 16
        return count

    async def run() -> tuple[BackedUp, int, int]:
        store, stop = SqliteStore.open(data / STORE_FILE), asyncio.Event()
        writing = asyncio.create_task(write(store, stop))
        while (before := len(await store.agents(after="", limit=10_000))) < 64:
            await asyncio.sleep(0)
        settings = load_settings({"data": data}).settings
        done = await back_up(settings, tmp_path / "a.backup", with_master_key=False)
        stop.set()
        written = await writing
        await store.close()
        return done, before, written

    done, before, written = asyncio.run(run())
    restored(done.file, tmp_path / "again")
    events = trail(tmp_path / "again")

    async def look() -> set[str]:
        store = SqliteStore.open(tmp_path / "again" / STORE_FILE)
        agents = {one.client_id for one in await store.agents(after="", limit=10_000)}
        await store.close()
        return agents

    agents = asyncio.run(look())
    assert before <= len(agents) <= written
    assert agents == {
        event["client_id"] for event in events if event["action"] == "token.issue" and "client_id" in event
    }


def test_what_is_there_is_not_overwritten(data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    events = len(trail(data))
    assert refusal(copied, data, tmp_path / "mine") == "backup.exists"
    assert (tmp_path / "mine").read_text() == "mine"
    assert len(trail(data)) == events


def test_a_copy_that_cannot_be_written_leaves_nothing(data: Path, tmp_path: Path) -> None:
    assert refusal(copied, data, tmp_path / "nowhere/a.backup") == "backup.unwritable"
    assert not (tmp_path / "nowhere").exists()


def test_a_copy_is_made_when_nothing_can_be_recorded_any_more(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise StoreUnavailable("store.full", detail="the disk is full")

    monkeypatch.setattr(backup, "record_backup", full)
    done = copied(data, tmp_path / "a.backup")
    assert done.problem == "the disk is full"
    assert restored(done.file, tmp_path / "again").copied.events == done.copied.events


@rule("O4")
def test_a_store_that_is_damaged_gives_no_backup(data: Path, tmp_path: Path) -> None:
    db = apsw.Connection(str(data / STORE_FILE))
    db.execute("DROP TRIGGER audit_no_update; UPDATE audit SET payload = replace(payload, 'created', 'crested')")
    db.close()
    assert refusal(copied, data, tmp_path / "a.backup") == "backup.damaged"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


@rule("O13")
def test_no_server_starts_on_a_backup(data: Path, file: Path) -> None:
    shutil.copy(file, data / STORE_FILE)
    assert refusal(SqliteStore.open, data / STORE_FILE) == "store.backup_copy"


@rule("K14")
def test_what_is_retired_in_a_backup_stays_retired(data: Path, tmp_path: Path) -> None:
    keys = {
        state: replace(make_signing_key(f"key-{state}"), state=state)
        for state in (KeyState.RETIRED, KeyState.COMPROMISED)
    }
    change(data, *map(Create, keys.values()))
    restored(copied(data, tmp_path / "a.backup").file, tmp_path / "again")

    async def look() -> None:
        store = SqliteStore.open(tmp_path / "again" / STORE_FILE)
        states = {key.kid: key.state for key in await store.signing_keys()}
        assert {key.kid: states[key.kid] for key in keys.values()} == {key.kid: key.state for key in keys.values()}
        published = str(await SigningKeys(store).jwks())
        assert not any(key.kid in published for key in keys.values())
        await store.close()

    asyncio.run(look())


@rule("K14", "O13", "K2")
def test_no_key_of_a_backup_signs_or_is_published_again(data: Path, tmp_path: Path) -> None:
    """Whatever became of it since: the backup cannot know."""
    change(data, Create(replace(make_signing_key("ready"), state=KeyState.PREPARED)))
    again = tmp_path / "again"
    restored(copied(data, tmp_path / "a.backup").file, again)
    shutil.copy(data / "master.key", again / "master.key")

    async def begin() -> list[tuple[str, KeyState, bool]]:
        async with open_core(load_settings({"data": again}).settings) as core:
            keys = await core.store.signing_keys()
            shown = json.loads((await SigningKeys(core.store).jwks()).body)["keys"]
            assert [key["kid"] for key in shown] == [key.kid for key in keys if key.state is KeyState.ACTIVE]
            last = json.loads((await core.store.events(limit=1, newest_first=True))[0].payload)
            assert (last["action"], last["reason"]) == ("key.renew", "renewed")
            return [(key.kid, key.state, bool(key.sealed)) for key in keys]

    first = asyncio.run(begin())
    assert sorted((state, has_key) for _, state, has_key in first) == [
        (KeyState.ACTIVE, True),
        (KeyState.RETIRED, False),
        (KeyState.RETIRED, False),
    ]
    assert asyncio.run(begin()) == first


@rule("K14")
def test_the_wrong_master_key_is_told_by_a_key_that_will_never_sign(data: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    restored(copied(data, tmp_path / "a.backup").file, again)
    create_master_key(again / "master.key")

    async def begin() -> None:
        async with open_core(load_settings({"data": again}).settings):
            pass

    with pytest.raises(MasterKeyError) as caught:
        asyncio.run(begin())
    assert caught.value.reason == "master_key.wrong"


@rule("O13")
def test_what_came_after_the_backup_is_not_known(data: Path, tmp_path: Path) -> None:
    change(data, Create(make_agent()))
    file = copied(data, tmp_path / "a.backup").file
    change(data, Replace(replace(make_agent(), state=AgentState.SUSPENDED, version=2)), Create(make_agent("later")))
    restored(file, tmp_path / "again")

    async def look() -> None:
        store = SqliteStore.open(tmp_path / "again" / STORE_FILE)
        assert [one.state for one in await store.agents(after="", limit=9)] == [AgentState.ACTIVE]
        assert (await store.identity()).generation == 2
        await store.close()

    asyncio.run(look())


def test_a_copy_made_by_other_means_is_taken(data: Path, tmp_path: Path) -> None:
    db = apsw.Connection(str(data / STORE_FILE))
    db.execute("VACUUM INTO ?", (str(tmp_path / "plain"),))
    db.close()
    plain = (tmp_path / "plain").read_bytes()
    assert restored(tmp_path / "plain", tmp_path / "again").identity.generation == 2
    assert load_settings({"data": tmp_path / "again"}).settings.issuer == ISSUER
    assert (tmp_path / "plain").read_bytes() == plain


@rule("O14")
def test_a_backup_of_an_older_version_is_brought_forward(tmp_path: Path) -> None:
    first_release(tmp_path / "old", "admin")
    done = restored(tmp_path / "old", tmp_path / "again")
    assert (done.identity.generation, done.has_master_key) == (2, False)
    assert not (tmp_path / "again/watchword.toml").exists()


def test_an_empty_directory_is_filled(file: Path, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    inode = (tmp_path / "again").stat().st_ino
    restored(file, tmp_path / "again")
    assert (tmp_path / "again").stat().st_ino == inode
    assert not [path.name for path in (tmp_path / "again").iterdir() if path.name.startswith(".")]


def test_what_is_there_is_not_filled(data: Path, file: Path) -> None:
    before = {path.name: path.read_bytes() for path in data.iterdir()}
    assert refusal(restored, file, data) == "init.occupied"
    assert {path.name: path.read_bytes() for path in data.iterdir()} == before


def test_a_directory_is_not_filled_under_a_server_that_still_runs(file: Path, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()

    async def run() -> None:
        async with in_use(tmp_path / "again"):
            with pytest.raises(Fault) as caught:
                await put_back(file, tmp_path / "again")
            assert caught.value.reason == "store.in_use"
        await put_back(file, tmp_path / "again")

    asyncio.run(run())


def other_database(_: bytes) -> bytes:
    db = apsw.Connection(":memory:")
    db.execute("CREATE TABLE notes (text)")
    return db.serialize("main")


def newer(content: bytes) -> bytes:
    db = apsw.Connection(":memory:")
    db.deserialize("main", content)
    db.execute(NEWER)
    return db.serialize("main")


@rule("O4", "O14")
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda _: b"", "backup.foreign"),
        (lambda content: content[:60], "backup.foreign"),
        (lambda content: bytes(len(content)), "backup.foreign"),
        (lambda _: b"a letter to a friend\n" * 1000, "backup.foreign"),
        (other_database, "backup.foreign"),
        (lambda content: content[:4096], "backup.damaged"),
        (lambda content: content[: len(content) // 2 // 4096 * 4096], "backup.damaged"),
        (lambda content: content.replace(b'"reason":"created"', b'"reason":"crested"'), "backup.damaged"),
        (newer, "store.newer"),
    ],
)
def test_what_is_no_sound_backup_is_not_put_back(
    file: Path, tmp_path: Path, damage: Callable[[bytes], bytes], reason: str
) -> None:
    content = damage(file.read_bytes())
    file.write_bytes(content)
    before = sorted(tmp_path.iterdir())
    assert refusal(restored, file, tmp_path / "again") == reason
    assert file.read_bytes() == content
    assert sorted(tmp_path.iterdir()) == before
    assert [path.name for path in file.parent.iterdir()] == ["a.backup"]
    assert refusal(restored, tmp_path / "nowhere", tmp_path / "again") == "backup.missing"


@rule("O4")
@pytest.mark.parametrize("seed", range(12))
def test_flipped_bits_are_refused_or_harmless(file: Path, tmp_path: Path, seed: int) -> None:
    content, dice = bytearray(file.read_bytes()), random.Random(seed)
    for _ in range(4):
        content[dice.randrange(100, len(content))] ^= 1 << dice.randrange(8)
    file.write_bytes(content)
    try:
        restored(file, tmp_path / "again")
    except Fault:
        assert not (tmp_path / "again").exists()
    else:
        assert trail(tmp_path / "again")[-1]["action"] == "store.restore"


@rule("N9", "O14")
def test_a_backup_of_a_later_version_that_lets_this_one_go_on_is_put_back(file: Path, tmp_path: Path) -> None:
    db = apsw.Connection(":memory:")
    db.deserialize("main", file.read_bytes())
    db.execute(LATER)
    file.write_bytes(db.serialize("main"))
    restored(file, tmp_path / "again")
    db = apsw.Connection(str(tmp_path / "again" / STORE_FILE))
    assert db.execute("SELECT count(*) FROM agents WHERE remark = ''").get is not None
    db.close()
