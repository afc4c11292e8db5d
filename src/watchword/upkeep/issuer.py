"""Moving a store to another issuer, which is never done by chance: its agents and APIs know it by the old one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from watchword.adapters.data_directory import alone
from watchword.compose import Core, build_core, local_context
from watchword.config import FILE_NAME, load_settings, read_file
from watchword.operations.store_identity import SetIssuer, set_issuer
from watchword.sealing import find_master_key
from watchword.settings import ServerSettings
from watchword.stores import open_store
from watchword.upkeep.settings_file import write_setting


@asynccontextmanager
async def open_unclaimed(settings: ServerSettings) -> AsyncIterator[Core]:
    """Open a store whoever's it is: for who asks just that, or changes it.

    Raises:
        MasterKeyError, BadSettings, StoreUnavailable
    """
    master = find_master_key(settings)
    store = await open_store(settings)
    try:
        yield build_core(settings.issuer, store, master)
    finally:
        await store.close()


async def move_store(data: Path, issuer: str) -> str:
    """Make a store that of another issuer, and let its ``watchword.toml`` say so; return the issuer before.

    Raises:
        BadSettings: store.in_use, settings.file (the file cannot be changed; the store is moved, so repeat), settings.*
        MasterKeyError, StoreUnavailable
    """
    settings = load_settings({"data": data, "issuer": issuer}).settings
    with alone(data):
        async with open_unclaimed(settings) as core:
            before = (await core.store.identity()).issuer
            await set_issuer(local_context(core), SetIssuer(issuer=issuer))
        if read_file(data / FILE_NAME).values.get("issuer") != issuer:
            write_setting(data / FILE_NAME, "issuer", json.dumps(issuer))
    return before
