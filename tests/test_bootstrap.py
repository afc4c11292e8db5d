"""Making a data directory: complete or not there at all, closed to others, its master key where it was told to be."""

import asyncio
import base64
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from tests import rule
from tests.postgres import new_database
from watchword.bootstrap import initialise, is_initialised
from watchword.clock import system_clock
from watchword.compose import open_core
from watchword.config import load_settings
from watchword.errors import BadSettings, MasterKeyError
from watchword.sharing import open_replay

ISSUER = "https://auth.example.com"


def test_a_made_directory_opens_with_one_active_key_and_one_operator(tmp_path: Path) -> None:
    made = asyncio.run(initialise(tmp_path / "data", ISSUER))

    async def look() -> tuple[list[str], list[str], str]:
        async with open_core(load_settings({"data": tmp_path / "data"}).settings) as core:
            keys = [f"{key.kid} {key.state}" for key in await core.store.signing_keys()]
            return keys, [f"{one.name} {one.role}" for one in await core.store.operators()], core.issuer

    assert asyncio.run(look()) == ([f"{made.kid} active"], ["admin admin"], ISSUER)
    assert made.algorithm == "ES256"
    assert is_initialised(tmp_path / "data")
    assert made.operator_token not in repr(made)


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_a_fresh_memory_is_sure_of_what_began_before_it(tmp_path: Path, store: str) -> None:
    """Nothing was ever presented there, so an agent need not wait for its first proof to be accepted."""
    database = new_database() if store == "postgresql" else None
    asyncio.run(initialise(tmp_path / "data", ISSUER, database=database))

    async def claim() -> tuple[str, str]:
        now = system_clock()
        settings = load_settings({"data": tmp_path / "data"}).settings
        async with open_core(settings) as core, open_replay(settings, None, core.store) as replay:
            times = {"since": now - timedelta(seconds=30), "until": now + timedelta(seconds=60)}
            return await replay.claim("dpop", "a", **times), await replay.claim("dpop", "a", **times)

    assert asyncio.run(claim()) == ("first", "repeated")


@rule("KF-106")
def test_two_fresh_installs_share_no_secret(tmp_path: Path) -> None:
    first = asyncio.run(initialise(tmp_path / "a", ISSUER))
    second = asyncio.run(initialise(tmp_path / "b", ISSUER))
    assert first.operator_token != second.operator_token
    assert first.kid != second.kid
    assert (tmp_path / "a/master.key").read_bytes() != (tmp_path / "b/master.key").read_bytes()


def test_no_other_user_can_read_it(tmp_path: Path) -> None:
    asyncio.run(initialise(tmp_path / "data", ISSUER))
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    for name in ("master.key", "watchword.db"):
        assert stat.S_IMODE((tmp_path / "data" / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("occupant", ["a store", "a file", "another thing"])
def test_what_is_there_already_is_left_alone(tmp_path: Path, occupant: str) -> None:
    data = tmp_path / "data"
    if occupant == "a store":
        asyncio.run(initialise(data, ISSUER))
    elif occupant == "a file":
        data.write_text("mine")
    else:
        data.mkdir()
        (data / "mine").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(BadSettings) as refused:
        asyncio.run(initialise(data, ISSUER))
    assert refused.value.reason == "init.occupied"
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("content", ["", "lost+found"])
def test_an_empty_directory_is_filled_where_it_stands(tmp_path: Path, content: str) -> None:
    data = tmp_path / "data"
    (data / content).mkdir(parents=True)
    before = data.stat().st_ino
    asyncio.run(initialise(data, ISSUER))
    assert is_initialised(data)
    assert data.stat().st_ino == before  # a volume's mount cannot be replaced, nor may its parent be written
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    made = {path.name for path in data.iterdir()} - {content}
    assert made == {
        "master.key",
        "replay.db",
        "watchword.db",
        "watchword.db-lock",
        "watchword.db-turn",
        "watchword.toml",
    }
    assert {path.name for path in data.iterdir() if stat.S_IMODE(path.stat().st_mode) & 0o077} <= {
        "watchword.toml",
        content,
    }


@rule("A13")
def test_of_two_who_fill_one_directory_one_wins_and_keeps_its_own_key(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()

    async def race() -> list[object]:
        return await asyncio.gather(*(initialise(data, ISSUER) for _ in range(2)), return_exceptions=True)

    results = asyncio.run(race())
    lost = [result for result in results if isinstance(result, BadSettings)]
    assert [result.reason for result in lost] == ["init.occupied"]

    async def look() -> None:
        async with open_core(load_settings({"data": data}).settings):
            pass

    asyncio.run(look())


def test_credentials_of_systemd_that_are_not_ours_do_not_stand_for_the_master_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/tls.key").write_text("x")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    asyncio.run(initialise(tmp_path / "data", ISSUER))
    assert (tmp_path / "data/master.key").exists()


def test_what_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHWORD_SERVER__MASTER_KEY_FILE", str(tmp_path / "no-such-file"))
    with pytest.raises(MasterKeyError) as refused:
        asyncio.run(initialise(tmp_path / "data", ISSUER))
    assert refused.value.reason == "master_key.missing"
    assert list(tmp_path.iterdir()) == []


def test_a_master_key_from_the_environment_is_not_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = base64.b64encode(bytes(range(32))).decode()
    monkeypatch.setenv("WATCHWORD_SERVER__MASTER_KEY", key)
    asyncio.run(initialise(tmp_path / "data", ISSUER))
    assert not (tmp_path / "data/master.key").exists()
    assert all(key.encode() not in path.read_bytes() for path in (tmp_path / "data").iterdir())


def test_a_directory_that_cannot_be_made_is_a_sentence() -> None:
    with pytest.raises(BadSettings) as refused:
        asyncio.run(initialise(Path("/proc/watchword"), ISSUER))
    assert refused.value.reason == "init.unwritable"
    assert "choose a directory" in refused.value.detail


@pytest.mark.parametrize(
    "issuer", ["http://auth.example.com", "https://auth.example.com/", "https://a.example?x=1", "auth.example.com"]
)
def test_an_issuer_that_cannot_be_one_is_refused(tmp_path: Path, issuer: str) -> None:
    with pytest.raises(BadSettings) as refused:
        asyncio.run(initialise(tmp_path / "data", issuer))
    assert refused.value.reason == "settings.issuer"
    assert list(tmp_path.iterdir()) == []
