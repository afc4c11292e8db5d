"""Taking a copy of everything, while a server goes on working, and putting one back."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from watchword.adapters.data_directory import alone
from watchword.adapters.local_user import local_user
from watchword.adapters.sqlite import SqliteStore
from watchword.adapters.sqlite_backup import Copied, copy_file, take_out
from watchword.adapters.sqlite_upgrade import renew_mark, upgrade_file
from watchword.clock import Clock, system_clock
from watchword.config import FILE_NAME, load_settings
from watchword.custodies import check_master_key, local_custody
from watchword.errors import BadSettings, MasterKeyError, NoSigningKey, StoreUnavailable
from watchword.operations.context import OperationContext, Peppers, Principal
from watchword.operations.store_identity import BeginGeneration, RecordBackup, begin_generation, record_backup
from watchword.ports.agents import Role
from watchword.ports.store import Store, StoreIdentity
from watchword.sealing import MASTER_KEY_FILE, find_master_key
from watchword.settings import ServerSettings
from watchword.stores import STORE_FILE, find_database
from watchword.upkeep.placing import find_place, publish

_KEYLESS: Final = Peppers(b"", b"")
"""Taking and putting back a copy needs no secret: the master key may be far away."""


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A copy. ``size`` in bytes. ``problem`` says why the trail does not tell of it, if so."""

    file: Path
    size: int
    copied: Copied
    has_master_key: bool
    problem: str


@dataclass(frozen=True, slots=True)
class PutBack:
    """A store that was put back. ``has_master_key``: its master key was found, and is the right one."""

    identity: StoreIdentity
    copied: Copied
    has_master_key: bool


async def back_up(
    settings: ServerSettings, target: Path, *, with_master_key: bool, clock: Clock = system_clock
) -> BackedUp:
    """Copy the store, as of one moment, to a file, or into a directory under a name that tells the time.

    The copy is recorded before it is made, so that it tells of itself; where nothing can be written any more it is made all
    the same.

    Raises:
        BadSettings: backup.exists, backup.database, store.*
        StoreUnavailable: backup.*, store.*
        MasterKeyError: it is asked for and cannot be had.
    """
    if find_database(settings) is not None:
        detail = "the store is in PostgreSQL: copy it with pg_dump, and the data directory with it"
        raise BadSettings("backup.database", detail=detail)
    file = _name(target, clock())
    enclosed = _enclosed(settings, with_master_key=with_master_key)
    problem = await _record(settings.data / STORE_FILE, file, clock)
    copied = await asyncio.to_thread(copy_file, settings.data / STORE_FILE, file, enclosed)
    return BackedUp(file, file.stat().st_size, copied, with_master_key, problem)


def _name(target: Path, now: datetime) -> Path:
    named = target / f"watchword-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.backup" if target.is_dir() else target
    if os.path.lexists(named):
        raise BadSettings(
            "backup.exists", detail=f"{named} exists already, and is never overwritten: name another file"
        )
    return named.absolute()


def _enclosed(settings: ServerSettings, *, with_master_key: bool) -> dict[str, bytes]:
    file = settings.data / FILE_NAME
    enclosed = {FILE_NAME: file.read_bytes()} if file.exists() else {}
    if with_master_key:
        find_master_key(settings)  # that what is enclosed is a key
        if settings.master_key is not None:
            enclosed[MASTER_KEY_FILE] = settings.master_key.get_secret_value().encode()
        elif os.environ.get("CREDENTIALS_DIRECTORY") and settings.master_key_file is None:
            detail = "the master key comes from the service manager: copy it from where that has it"
            raise MasterKeyError("master_key.elsewhere", detail=detail)
        else:
            enclosed[MASTER_KEY_FILE] = (settings.master_key_file or settings.data / MASTER_KEY_FILE).read_bytes()
    return enclosed


async def _record(path: Path, file: Path, clock: Clock) -> str:
    store = SqliteStore.open(path)
    try:
        await record_backup(keyless_context(store, clock), RecordBackup(file=str(file)))
    except StoreUnavailable as error:
        return error.detail
    finally:
        await store.close()
    return ""


async def put_back(file: Path, data: Path, *, clock: Clock = system_clock) -> PutBack:
    """Make a data directory, which is not there yet or empty, from a backup. It appears when it is proved whole.

    The store begins another generation: what was issued or changed after the backup is not known to it.

    Raises:
        BadSettings: backup.missing, backup.foreign, init.occupied, init.unwritable, store.in_use, store.newer
        StoreUnavailable: backup.damaged, store.*
        MasterKeyError: a master key was found, and is not the one of this backup.
    """
    with _alone_if_there(data):
        unfinished, target = find_place(data)
        try:
            unfinished.mkdir(mode=0o700, parents=True)
            put = await _fill(unfinished, file, clock)
            publish(unfinished, target)
        except OSError as error:
            detail = f"{data} cannot be made: {error.strerror}; choose a directory that you may write to."
            raise BadSettings("init.unwritable", detail=detail) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return put


@contextmanager
def _alone_if_there(data: Path) -> Iterator[None]:
    """A server whose files were removed under it may still be running on the empty directory."""
    if data.is_dir():
        with alone(data):
            yield
    else:
        yield


async def _fill(directory: Path, file: Path, clock: Clock) -> PutBack:
    path = directory / STORE_FILE
    copied = await asyncio.to_thread(take_out, file, path)
    upgrade_file(path, now=clock())
    renew_mark(path)
    store = SqliteStore.open(path)
    try:
        command = BeginGeneration(file=str(file), last_event=copied.last_event)
        identity = await begin_generation(keyless_context(store, clock), command)
        _write_enclosed(directory, copied, identity)
        has_master_key = await _check_master_key(directory, store)
    finally:
        await store.close()
    return PutBack(identity, copied, has_master_key)


def _write_enclosed(directory: Path, copied: Copied, identity: StoreIdentity) -> None:
    settings = f"[server]\nissuer = {json.dumps(identity.issuer)}\n".encode() if identity.issuer else b""
    for name, content in ((FILE_NAME, settings), (MASTER_KEY_FILE, b"")):
        if found := copied.enclosed.get(name, content):
            descriptor = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as written:
                written.write(found)


async def _check_master_key(directory: Path, store: Store) -> bool:
    """Tell whether the master key is there; one that is there has to be the right one."""
    issuer = (await store.identity()).issuer or None
    try:
        settings = load_settings({"data": directory, "issuer": issuer}).settings
    except BadSettings as error:
        if error.reason == "settings.missing":
            return False
        raise
    return await opens_with_master_key(settings, store)


async def opens_with_master_key(settings: ServerSettings, store: Store) -> bool:
    """Tell whether the master key is there; one that is there has to be the right one.

    Raises:
        MasterKeyError: master_key.wrong, or it cannot be used.
    """
    try:
        master = find_master_key(settings)
    except MasterKeyError as error:
        if error.reason == "master_key.missing":
            return False
        raise
    try:
        await check_master_key(store, local_custody(master))
    except NoSigningKey as error:
        detail = f"this is not the master key that the backup was made with ({error.detail})"
        raise MasterKeyError("master_key.wrong", detail=detail) from error
    return True


def keyless_context(store: Store, clock: Clock) -> OperationContext:
    """Return the context of whoever takes and puts back copies."""
    principal = Principal(f"local:{local_user()}", Role.ADMIN)
    return OperationContext(store=store, clock=clock, issuer="", peppers=_KEYLESS, principal=principal)
