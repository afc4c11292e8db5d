"""Making a data directory: the store, its master key, the first signing key, the first operator. All of it, or nothing."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from watchword.adapters.master_key import CREDENTIAL_NAME, MasterKey, create_master_key
from watchword.adapters.sqlite import SqliteStore
from watchword.clock import Clock, system_clock
from watchword.compose import MASTER_KEY_FILE, STORE_FILE, build_core, find_master_key, local_context
from watchword.config import FILE_NAME, load_settings
from watchword.errors import BadSettings
from watchword.operations.operators import CreateOperator, create_operator
from watchword.operations.signing_keys import CreateSigningKey, create_signing_key
from watchword.operations.store_identity import SetIssuer, set_issuer
from watchword.ports.agents import Role
from watchword.settings import ServerSettings
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
    return (data / STORE_FILE).exists()


async def initialise(data: Path, issuer: str, *, clock: Clock = system_clock) -> Initialised:
    """Make a data directory that is not there yet, or fill an empty one. The store appears only when all is complete.

    The master key is the one that the settings name, else a new file ``master.key`` in the directory.

    Raises:
        BadSettings: init.occupied, init.unwritable, settings.*
        MasterKeyError: the named master key cannot be used.
    """
    unfinished, target = find_place(data)
    settings = load_settings({"data": data, "issuer": issuer}).settings
    try:
        unfinished.mkdir(mode=0o700, parents=True)
        made = await _fill(unfinished, settings, clock)
        publish(unfinished, target)
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


async def _fill(directory: Path, settings: ServerSettings, clock: Clock) -> Initialised:
    master = _master_key(directory, settings)
    store = SqliteStore.create(directory / STORE_FILE, clock=clock)
    try:
        core = build_core(settings.issuer, store, master, clock=clock)
        context = local_context(core)
        await set_issuer(context, SetIssuer(issuer=core.issuer))
        key = await create_signing_key(context, CreateSigningKey(algorithm=settings.signing_algorithm))
        operator = await create_operator(context, CreateOperator(name=FIRST_OPERATOR, role=Role.ADMIN))
    finally:
        await store.close()
    (directory / FILE_NAME).write_text(f"[server]\nissuer = {json.dumps(settings.issuer)}\n")
    return Initialised(key.kid, key.algorithm, operator.token)


def _master_key(directory: Path, settings: ServerSettings) -> MasterKey:
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    is_handed_over = credentials is not None and os.path.lexists(Path(credentials) / CREDENTIAL_NAME)
    is_elsewhere = settings.master_key or settings.master_key_file or is_handed_over
    return find_master_key(settings) if is_elsewhere else create_master_key(directory / MASTER_KEY_FILE)
