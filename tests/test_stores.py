"""Which store the settings mean; and all that is done to a store, done to one in PostgreSQL."""

from __future__ import annotations

import asyncio
import stat
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.postgres import new_database, shared_server
from watchword.bootstrap import initialise, is_initialised
from watchword.compose import open_core
from watchword.config import load_settings
from watchword.errors import BadSettings, StoreUnavailable
from watchword.settings import ServerSettings
from watchword.stores import find_database, newest_schema, open_store, plan_upgrade, upgrade_store
from watchword.testing.clock import FrozenClock
from watchword.upkeep.backup import back_up
from watchword.upkeep.doctor import examine
from watchword.upkeep.issuer import move_store

ISSUER = "https://auth.example.com"
URL = "postgresql://app:s3cret@db.example.com/ww"


def load(tmp_path: Path, environ: dict[str, str] | None = None, **flags: object) -> ServerSettings:
    given = {"issuer": ISSUER, "data": tmp_path / "data", **flags}
    return load_settings(given, environ=environ or {}, directory=tmp_path).settings


def private_file(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def settings_of(data: Path) -> ServerSettings:
    return load_settings({"data": data}).settings


@pytest.fixture
def data(tmp_path: Path) -> Path:
    asyncio.run(initialise(tmp_path / "data", ISSUER, database=new_database()))
    return tmp_path / "data"


def test_without_a_database_the_store_is_a_file(tmp_path: Path) -> None:
    assert find_database(load(tmp_path)) is None


def test_a_database_is_named_by_flag_environment_or_file(tmp_path: Path) -> None:
    assert find_database(load(tmp_path, database=URL)) == URL
    assert find_database(load(tmp_path, {"WATCHWORD_SERVER__DATABASE": URL})) == URL
    file = private_file(tmp_path / "url", f"{URL}\n")
    assert find_database(load(tmp_path, {"WATCHWORD_SERVER__DATABASE_FILE": str(file)})) == URL
    assert (
        find_database(load(tmp_path, {"WATCHWORD_SERVER__DATABASE_FILE": str(file)}, database=URL + "2")) == URL + "2"
    )


def test_the_url_is_in_no_text_of_the_settings(tmp_path: Path) -> None:
    settings = load(tmp_path, database=URL)
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in settings.model_dump_json()


@pytest.mark.parametrize("text", ["mysql://app:s3cret@host/ww", "s3cret"])
def test_what_is_no_database_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadSettings) as refused:
        load(tmp_path, database=text)
    assert refused.value.reason == "settings.database"
    assert "s3cret" not in str(refused.value)
    file = private_file(tmp_path / "url", text)
    with pytest.raises(BadSettings) as refused:
        find_database(load(tmp_path, database_file=file))
    assert refused.value.reason == "settings.database"
    assert "s3cret" not in str(refused.value)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = private_file(tmp_path / "url", URL, 0o644)
    for path in (file, tmp_path / "missing"):
        with pytest.raises(BadSettings) as refused:
            find_database(load(tmp_path, database_file=path))
        assert refused.value.reason == "settings.database"


def test_a_password_stands_in_no_settings_file(tmp_path: Path) -> None:
    (tmp_path / "watchword.toml").write_text(f'[server]\ndatabase = "{URL}"\n')
    with pytest.raises(BadSettings) as refused:
        load(tmp_path)
    assert refused.value.reason == "settings.file"
    assert "s3cret" not in str(refused.value)
    (tmp_path / "watchword.toml").write_text('[server]\ndatabase = "postgresql://app@db/ww"\n')
    assert find_database(load(tmp_path)) == "postgresql://app@db/ww"


def test_without_its_library_a_database_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("watchword.adapters.postgres")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(BadSettings) as refused:
        asyncio.run(open_store(load(tmp_path, database=URL)))
    assert refused.value.reason == "settings.database"
    assert "watchword[postgres]" in refused.value.detail


def test_a_store_in_a_database_is_made_with_its_directory(data: Path) -> None:
    assert sorted(path.name for path in data.iterdir()) == ["database.url", "master.key", "watchword.toml"]
    assert stat.S_IMODE((data / "database.url").stat().st_mode) == 0o600
    assert is_initialised(data)

    async def look() -> tuple[int, list[str], str]:
        async with open_core(settings_of(data)) as core:
            keys = await core.store.signing_keys()
            return len(keys), [one.name for one in await core.store.operators()], (await core.store.identity()).issuer

    assert asyncio.run(look()) == (1, ["admin"], ISSUER)


def test_a_database_that_has_a_store_is_not_made_one_again(data: Path, tmp_path: Path) -> None:
    url = (data / "database.url").read_text().strip()
    with pytest.raises(BadSettings) as refused:
        asyncio.run(initialise(tmp_path / "again", ISSUER, database=url))
    assert refused.value.reason == "store.exists"
    assert not (tmp_path / "again").exists()

    async def look() -> int:
        async with open_core(settings_of(data)) as core:
            return len(await core.store.operators())

    assert asyncio.run(look()) == 1


def test_what_could_not_be_finished_leaves_nothing_in_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("watchword.bootstrap._write_settings", fail)
    with pytest.raises(BadSettings) as refused:
        asyncio.run(initialise(tmp_path / "data", ISSUER, database=url))
    assert refused.value.reason == "init.unwritable"
    monkeypatch.undo()
    asyncio.run(initialise(tmp_path / "data", ISSUER, database=url))


def test_a_database_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable) as refused:
        asyncio.run(initialise(tmp_path / "data", ISSUER, database="postgresql://a@127.0.0.1:1/ww"))
    assert refused.value.reason == "store.unreachable"
    assert not (tmp_path / "data").exists()


def test_its_schema_is_brought_forward(data: Path) -> None:
    database = find_database(settings_of(data))
    assert asyncio.run(plan_upgrade(data, database, clock=FrozenClock())).missing == ()
    assert asyncio.run(upgrade_store(data, database, clock=FrozenClock())) == 0
    assert newest_schema(database) >= 1


def test_it_moves_to_another_issuer(data: Path) -> None:
    assert asyncio.run(move_store(data, "https://other.example.com")) == ISSUER
    assert find_database(settings_of(data)) is not None


def test_it_is_not_copied_as_a_file(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BadSettings) as refused:
        asyncio.run(back_up(settings_of(data), tmp_path / "x.backup", with_master_key=False, clock=FrozenClock()))
    assert refused.value.reason == "backup.database"


def test_the_doctor_looks_at_the_database(data: Path, tmp_path: Path) -> None:
    found = asyncio.run(examine(settings_of(data), is_production=True))
    told = {one.check: one for one in found.findings}
    assert "fsync" in told["database"].finding  # the tests' own server: nobody takes its power away
    assert "integrity" not in told
    assert "store" not in told
    name = urlsplit((data / "database.url").read_text()).path.strip("/ \n").partition("?")[0]
    shared_server().sql("DROP SCHEMA watchword CASCADE", name)
    found = asyncio.run(examine(settings_of(data), is_production=False))
    assert "no store" in {one.check: one for one in found.findings}["store"].finding


def test_the_doctor_says_that_the_way_is_open(tmp_path: Path) -> None:
    asyncio.run(initialise(tmp_path / "data", ISSUER))
    settings = load(tmp_path, database="postgresql://app:s3cret@192.0.2.1.invalid/ww")
    found = asyncio.run(examine(settings, is_production=False))
    told = {one.check: one.finding for one in found.findings}
    assert "TLS" in told["database"]
    assert "cannot be reached" in told["store"]
    assert not any("s3cret" in one.finding + one.command for one in found.findings)
