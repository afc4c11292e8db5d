"""A store is one issuer's, and moves only when it is told to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.upkeep.conftest import ISSUER
from watchword.adapters.data_directory import in_use
from watchword.compose import open_core
from watchword.config import load_settings, read_file
from watchword.errors import BadSettings, MasterKeyError
from watchword.settings import ServerSettings
from watchword.upkeep.issuer import move_store

OTHER = "https://login.example.com"


def settings(data: Path, issuer: str | None = None) -> ServerSettings:
    return load_settings({"data": data, "issuer": issuer}).settings


async def identity(settings: ServerSettings) -> tuple[str, str]:
    async with open_core(settings) as core:
        (newest,) = await core.store.events(limit=1, newest_first=True)
        return (await core.store.identity()).issuer, newest.payload.decode()


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_another_issuer_is_refused_with_the_command_that_moves_the_store(data: Path) -> None:
    before = contents(data)
    with pytest.raises(BadSettings) as refused:
        asyncio.run(identity(settings(data, OTHER)))
    assert refused.value.reason == "store.wrong_issuer"
    assert f"`watchword config set-issuer {OTHER} --data {data}`" in refused.value.detail
    assert ISSUER in refused.value.detail
    assert contents(data) == before


def test_a_moved_store_is_the_other_issuers(data: Path) -> None:
    assert asyncio.run(move_store(data, OTHER)) == ISSUER
    issuer, newest = asyncio.run(identity(settings(data)))
    assert issuer == OTHER
    assert '"action":"store.issuer"' in newest
    assert f'"before":"{ISSUER}"' in newest
    assert asyncio.run(move_store(data, ISSUER)) == OTHER
    assert asyncio.run(identity(settings(data)))[0] == ISSUER


def test_the_rest_of_the_settings_stays(data: Path) -> None:
    file = data / "watchword.toml"
    lines = [
        "# ours",
        "[server]",
        'listen = "127.0.0.1:9"  # a comment',
        f'issuer = "{ISSUER}"',
        'log_level = "debug"',
        "",
    ]
    file.write_text("\n".join(lines))
    asyncio.run(move_store(data, OTHER))
    assert file.read_text() == "\n".join(lines).replace(ISSUER, OTHER)


@pytest.mark.parametrize("text", [None, "", "[server]\n", '[server] # here\nlog_level = "debug"'])
def test_an_issuer_that_stood_elsewhere_is_written_down(data: Path, text: str | None) -> None:
    file = data / "watchword.toml"
    file.unlink()
    if text is not None:
        file.write_text(text)
    if text == "":
        with pytest.raises(BadSettings) as refused:
            asyncio.run(move_store(data, OTHER))
        assert refused.value.reason == "settings.file"
        assert file.read_text() == ""
    else:
        asyncio.run(move_store(data, OTHER))
        assert read_file(file).values["issuer"] == OTHER
    assert sorted(path.name for path in data.iterdir() if path.name.startswith(".")) == []


def test_a_store_is_not_moved_under_a_running_server(data: Path) -> None:
    async def move() -> None:
        async with in_use(data), in_use(data):
            with pytest.raises(BadSettings) as refused:
                await move_store(data, OTHER)
            assert refused.value.reason == "store.in_use"
        await move_store(data, OTHER)

    asyncio.run(move())


def test_what_cannot_be_moved_stays(data: Path) -> None:
    before = contents(data)
    with pytest.raises(BadSettings):
        asyncio.run(move_store(data, "http://auth.example.com"))
    (data / "master.key").chmod(0o644)
    with pytest.raises(MasterKeyError):
        asyncio.run(move_store(data, OTHER))
    assert contents(data) == before
