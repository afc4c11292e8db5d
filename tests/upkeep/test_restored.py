"""A database that was put back begins another generation, if it is whole and this store's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import rule
from tests.postgres import new_database, shared_server
from watchword.adapters.master_key import create_master_key
from watchword.adapters.postgres import was_put_back
from watchword.bootstrap import initialise
from watchword.compose import open_core
from watchword.config import load_settings
from watchword.errors import BadSettings, MasterKeyError, StoreUnavailable
from watchword.server.signing_keys import SigningKeys
from watchword.settings import ServerSettings
from watchword.upkeep.restored import go_on_from_copy

ISSUER = "https://auth.example.com"


@pytest.fixture
def url() -> str:
    return new_database()


@pytest.fixture
def settings(tmp_path: Path, url: str) -> ServerSettings:
    asyncio.run(initialise(tmp_path / "data", ISSUER, database=url))
    return load_settings({"data": tmp_path / "data"}, environ={}).settings


def sql(url: str, command: str) -> str:
    return shared_server().sql(command, urlsplit(url).path.lstrip("/"))


def test_a_store_that_was_never_away_is_not_taken_for_a_copy(settings: ServerSettings, url: str) -> None:
    assert asyncio.run(was_put_back(url)) is False


@rule("O13")
def test_a_copy_is_told_from_the_store_until_it_is_said_to_be_one(settings: ServerSettings, url: str) -> None:
    sql(url, "UPDATE watchword.home SET place = 'another cluster 1'")
    assert asyncio.run(was_put_back(url)) is True
    done = asyncio.run(go_on_from_copy(settings))
    assert (done.identity.generation, done.identity.issuer, done.has_master_key) == (2, ISSUER, True)
    assert done.events > 0
    assert asyncio.run(was_put_back(url)) is False
    assert asyncio.run(go_on_from_copy(settings)).identity.generation == 3


@rule("K14", "O13")
def test_no_key_of_a_copy_signs_before_it_is_said_to_be_one_nor_after(settings: ServerSettings, url: str) -> None:
    async def sign() -> str:
        async with open_core(settings) as core:
            return (await SigningKeys(core.store).active("ES256")).kid

    before = asyncio.run(sign())
    sql(url, "UPDATE watchword.home SET place = 'another cluster 1'")
    with pytest.raises(BadSettings) as refused:
        asyncio.run(sign())
    assert refused.value.reason == "store.copy"
    assert f"`watchword store restored --data {settings.data}`" in refused.value.detail
    assert sql(url, "SELECT generation FROM watchword.identity") == "1", "nothing was changed"
    asyncio.run(go_on_from_copy(settings))
    assert asyncio.run(sign()) != before


@rule("O13")
def test_a_copy_whose_trail_is_broken_is_not_gone_on_with(settings: ServerSettings, url: str) -> None:
    sql(url, "ALTER TABLE watchword.audit DISABLE TRIGGER ALL; UPDATE watchword.audit SET hash = ''")
    with pytest.raises(StoreUnavailable) as refused:
        asyncio.run(go_on_from_copy(settings))
    assert refused.value.reason == "backup.damaged"
    assert sql(url, "SELECT generation FROM watchword.identity") == "1"


def test_with_another_stores_master_key_it_is_not_gone_on_with(settings: ServerSettings, url: str) -> None:
    key = settings.data / "master.key"
    key.unlink()
    create_master_key(key)
    with pytest.raises(MasterKeyError) as refused:
        asyncio.run(go_on_from_copy(settings))
    assert refused.value.reason == "master_key.wrong"
    assert sql(url, "SELECT generation FROM watchword.identity") == "1"


def test_without_its_master_key_it_is_and_says_so(settings: ServerSettings) -> None:
    (settings.data / "master.key").unlink()
    done = asyncio.run(go_on_from_copy(settings))
    assert (done.identity.generation, done.has_master_key) == (2, False)


def test_a_store_in_a_file_has_another_command(tmp_path: Path) -> None:
    asyncio.run(initialise(tmp_path / "data", ISSUER))
    with pytest.raises(BadSettings) as refused:
        asyncio.run(go_on_from_copy(load_settings({"data": tmp_path / "data"}, environ={}).settings))
    assert refused.value.reason == "store.file"
