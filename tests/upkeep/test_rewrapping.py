"""The master key is replaced: the signing keys are under the new one, all else stays."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests import rule
from watchword.adapters.keys_file import FileSigner
from watchword.adapters.master_key import create_master_key
from watchword.adapters.sqlite import SqliteStore
from watchword.cli.app import run
from watchword.cli.exits import ExitCode
from watchword.compose import open_core
from watchword.config import load_settings
from watchword.errors import MasterKeyError
from watchword.ports.keys import SigningKey
from watchword.ports.store import Replace
from watchword.sealing import MASTER_KEY_FILE, find_master_key
from watchword.settings import ServerSettings
from watchword.stores import STORE_FILE
from watchword.testing.records import make_event
from watchword.upkeep.backup import back_up, put_back
from watchword.upkeep.doctor import examine
from watchword.upkeep.rewrapping import Rewrapped, rewrap


def settings_of(data: Path, **flags: object) -> ServerSettings:
    return load_settings({"data": data, **flags}).settings


def rewrapped(data: Path, target: Path | None, *, is_file_only: bool = False, **flags: object) -> Rewrapped:
    return asyncio.run(rewrap(settings_of(data, **flags), target, is_file_only=is_file_only))


def refusal(of: Callable[[], object]) -> MasterKeyError:
    with pytest.raises(MasterKeyError) as caught:
        of()
    return caught.value


def stored(data: Path, *changed: SigningKey) -> Sequence[SigningKey]:
    async def read() -> Sequence[SigningKey]:
        store = SqliteStore.open(data / STORE_FILE)
        if changed:
            await store.commit(make_event("key.rewrap"), [Replace(key) for key in changed])
        keys = await store.signing_keys()
        await store.close()
        return keys

    return asyncio.run(read())


def opened(data: Path, **flags: object) -> str:
    async def peppers() -> str:
        async with open_core(settings_of(data, **flags)) as core:
            return core.peppers.client_secret.hex() + core.peppers.operator_token.hex() + core.cursor_key.hex()

    return asyncio.run(peppers())


def findings(data: Path, **flags: object) -> dict[str, str]:
    found = asyncio.run(examine(settings_of(data, **flags), is_production=False)).findings
    return {one.check: one.command for one in found if "key" in one.check}


@rule("K9")
def test_signing_keys_move_at_once_and_all_else_stays(data: Path, tmp_path: Path) -> None:
    new, before = tmp_path / "new.key", opened(data)
    (key,) = stored(data)
    assert rewrapped(data, new) == Rewrapped(is_new_file=True, kids=(key.kid,))
    (moved,) = stored(data)
    assert replace(moved, sealed=key.sealed, version=key.version) == key
    assert opened(data, master_key_file=new) == before
    problem = refusal(lambda: opened(data))
    assert problem.reason == "master_key.wrong"
    assert "start with the file of the last `watchword key rewrap`" in problem.detail
    assert findings(data, master_key_file=new) == {}
    assert rewrapped(data, new) == Rewrapped(is_new_file=False), "the same again changes nothing"
    assert rewrapped(data, None, master_key_file=new) == Rewrapped(is_new_file=False)
    assert refusal(lambda: rewrapped(data, None)).reason == "master_key.wrong"


@rule("K9")
def test_a_file_alone_changes_nothing_and_opens_what_there_is(data: Path, tmp_path: Path) -> None:
    new, before, keys = tmp_path / "new.key", opened(data), stored(data)
    assert rewrapped(data, new, is_file_only=True) == Rewrapped(is_new_file=True)
    assert stored(data) == keys
    assert opened(data) == opened(data, master_key_file=new) == before
    command = f"watchword key rewrap --data {data}"
    assert (findings(data), findings(data, master_key_file=new)) == ({}, {"master-key-older": command})
    assert refusal(lambda: rewrapped(data, tmp_path / "newer", master_key_file=new)).reason == "master_key.unfinished"
    assert not (tmp_path / "newer").exists()
    assert rewrapped(data, new).kids == (keys[0].kid,)


@rule("K9")
def test_an_unrelated_or_useless_file_is_refused_and_nothing_changes(data: Path, tmp_path: Path) -> None:
    other, keys = tmp_path / "other.key", stored(data)
    find_master_key(settings_of(data)).replaced().write(tmp_path / "made")
    create_master_key(other)
    assert refusal(lambda: rewrapped(data, other)).reason == "master_key.unrelated"
    other.chmod(0o644)
    assert refusal(lambda: rewrapped(data, other)).reason == "master_key.mode"
    (tmp_path / "link").symlink_to(tmp_path / "made")
    assert refusal(lambda: rewrapped(data, tmp_path / "link")).reason == "master_key.symlink"
    assert refusal(lambda: rewrapped(data, tmp_path / "no" / "new")).reason == "master_key.unwritable"
    assert (
        refusal(lambda: rewrapped(data, tmp_path / "new", master_key_file=tmp_path / "made")).reason
        == "master_key.unfinished"
    )
    assert stored(data) == keys
    assert rewrapped(data, tmp_path / "made").kids == (keys[0].kid,)


@rule("K9")
def test_a_key_that_does_not_open_stops_it_and_none_is_changed(data: Path, tmp_path: Path) -> None:
    rewrapped(data, tmp_path / "new.key", is_file_only=True)
    (key,) = stored(data)
    altered = replace(key, sealed=key.sealed[:-1] + bytes([key.sealed[-1] ^ 1]), version=key.version + 1)
    before = stored(data, altered)
    assert refusal(lambda: rewrapped(data, tmp_path / "new.key")).reason == "master_key.wrong"
    assert stored(data) == before


@rule("K9")
def test_it_can_be_replaced_again_and_again(data: Path, tmp_path: Path) -> None:
    before = opened(data)
    (data / MASTER_KEY_FILE).rename(tmp_path / "0")
    for number in range(3):
        assert rewrapped(data, tmp_path / str(number + 1), master_key_file=tmp_path / str(number)).kids
    assert opened(data, master_key_file=tmp_path / "3") == before
    (key,) = stored(data)
    for number in range(3):
        assert not FileSigner(find_master_key(settings_of(data, master_key_file=tmp_path / str(number)))).is_newest(key)
        assert refusal(lambda n=number: opened(data, master_key_file=tmp_path / str(n))).reason == "master_key.wrong"


@rule("K9")
def test_a_copy_from_before_goes_on_with_the_new_master_key(data: Path, tmp_path: Path) -> None:
    """What it signs with from then on is under the new one; with the old one alone that start is refused."""
    before, new, again = opened(data), tmp_path / "new.key", tmp_path / "again"
    copy = asyncio.run(back_up(settings_of(data), tmp_path / "copy", with_master_key=False)).file
    rewrapped(data, new)
    asyncio.run(put_back(copy, again))
    assert opened(again, master_key_file=new) == before
    assert [key.state.value for key in stored(again)] == ["retired", "active"]
    assert findings(again, master_key_file=new) == {}
    shutil.copy(data / MASTER_KEY_FILE, again)
    assert refusal(lambda: opened(again)).reason == "master_key.wrong"


def test_a_copy_may_have_the_new_master_key_with_it(data: Path, tmp_path: Path) -> None:
    before, new, again = opened(data), tmp_path / "new.key", tmp_path / "again"
    rewrapped(data, new)
    settings = settings_of(data, master_key_file=new)
    copy = asyncio.run(back_up(settings, tmp_path / "copy", with_master_key=True)).file
    assert asyncio.run(put_back(copy, again)).has_master_key
    assert opened(again) == before


def test_the_command_says_what_to_do_next(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["key", "rewrap", "--data", str(data)]
    assert run([*command, "--file-only"]) == ExitCode.USAGE
    assert "name it with --new-master-key-file" in capsys.readouterr().err
    (key,) = stored(data)
    assert run([*command, "--new-master-key-file", str(tmp_path / "new"), "--file-only"]) == ExitCode.OK
    assert "Repeat this then." in capsys.readouterr().err
    assert run([*command, "--new-master-key-file", str(tmp_path / "new")]) == ExitCode.OK
    printed = capsys.readouterr()
    assert key.kid in printed.out
    assert "destroy the old master key" in printed.err
    assert run(command) == ExitCode.ERROR
    assert "start with the file of the last" in capsys.readouterr().err
