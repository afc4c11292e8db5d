"""Making a data directory: the store, its master key, the first signing key, the first operator. All of it, or nothing."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from watchword.adapters.master_key import CREDENTIAL_NAME, MasterKey, create_master_key
from watchword.clock import Clock, system_clock
from watchword.compose import Core, build_core, local_context
from watchword.config import FILE_NAME, load_settings
from watchword.custodies import open_custodies
from watchword.errors import BadSettings
from watchword.operations.operators import CreateOperator, create_operator
from watchword.operations.signing_keys import CreateSigningKey, create_signing_key
from watchword.operations.store_identity import SetIssuer, set_issuer
from watchword.ports.agents import Role
from watchword.ports.store import Store
from watchword.sealing import MASTER_KEY_FILE, find_master_key
from watchword.settings import ServerSettings
from watchword.sharing import begin_replay
from watchword.stores import DATABASE_FILE, STORE_FILE, create_store, find_database, remove_database
from watchword.upkeep.placing import find_place, publish

FIRST_OPERATOR = "admin"


@dataclass(frozen=True, slots=True)
class Initialised:
    """What ``init`` made. ``operator_token`` exists nowhere else."""

    kid: str
    algorithm: str
    operator_token: str = field(repr=False)


def is_initialised(data: Path) -> bool:
    """Tell whether a store stands in this directory."""
    return (data / STORE_FILE).exists() or (data / FILE_NAME).exists()


async def initialise(
    data: Path, issuer: str, *, database: str | None = None, clock: Clock = system_clock
) -> Initialised:
    """Make a data directory that is not there yet, or fill an empty one. The store appears only when all is complete.

    The store is a file in it, or stands in the database that is named here or in the settings; one that is named here is
    remembered in a file of the directory.
    The master key is the one that the settings name, else a new file ``master.key``.

    Raises:
        BadSettings: init.occupied, init.unwritable, settings.*
        MasterKeyError: the named master key cannot be used.
    """
    unfinished, target = find_place(data)
    settings = load_settings({"data": data, "issuer": issuer, "database": database}).settings
    try:
        unfinished.mkdir(mode=0o700, parents=True)
        made = await _fill(unfinished, settings, clock, database)
        await _publish(unfinished, target, find_database(settings))
    except FileExistsError as error:
        raise BadSettings(
            "init.occupied",
            detail=f"{data} was filled by somebody else meanwhile: use theirs, or choose another directory.",
        ) from error
    except OSError as error:
        detail = f"{data} cannot be made: {error.strerror}; choose a directory that you may write to."
        raise BadSettings("init.unwritable", detail=detail) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return made


async def _publish(unfinished: Path, target: Path, database: str | None) -> None:
    try:
        publish(unfinished, target)
    except OSError:
        if database is not None:
            await remove_database(database)
        raise


async def _fill(directory: Path, settings: ServerSettings, clock: Clock, database: str | None) -> Initialised:
    master, found = _master_key(directory, settings), find_database(settings)
    store = await create_store(directory, found, clock=clock)
    try:
        made = await _begin(settings, store, master, clock)
        await begin_replay(directory, found, clock=clock)
        _write_settings(directory, settings.issuer, database)
    except BaseException:
        await store.close()
        if found is not None:
            await remove_database(found)
        raise
    await store.close()
    return made


async def _begin(settings: ServerSettings, store: Store, master: MasterKey, clock: Clock) -> Initialised:
    with open_custodies(settings, master) as custodies:
        return await _fill_store(settings, build_core(settings.issuer, store, master, clock=clock, signer=custodies))


async def _fill_store(settings: ServerSettings, core: Core) -> Initialised:
    context = local_context(core)
    await set_issuer(context, SetIssuer(issuer=core.issuer))
    key = await create_signing_key(context, CreateSigningKey(algorithm=settings.signing_algorithm))
    operator = await create_operator(context, CreateOperator(name=FIRST_OPERATOR, role=Role.ADMIN))
    return Initialised(key.kid, key.algorithm, operator.token)


def _write_settings(directory: Path, issuer: str, database: str | None) -> None:
    lines = ["[server]", f"issuer = {json.dumps(issuer)}"]
    if database is not None:
        descriptor = os.open(directory / DATABASE_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{database}\n")
        lines.append(f"database_file = {json.dumps(DATABASE_FILE)}")
    (directory / FILE_NAME).write_text("\n".join([*lines, ""]), encoding="utf-8")


def _master_key(directory: Path, settings: ServerSettings) -> MasterKey:
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    is_handed_over = credentials is not None and os.path.lexists(Path(credentials) / CREDENTIAL_NAME)
    is_elsewhere = settings.master_key or settings.master_key_file or is_handed_over
    return find_master_key(settings) if is_elsewhere else create_master_key(directory / MASTER_KEY_FILE)
