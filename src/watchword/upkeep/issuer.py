"""Moving a store to another issuer, which is never done by chance: its agents and APIs know it by the old one."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from watchword.adapters.data_directory import alone
from watchword.compose import Core, build_core, find_master_key, local_context
from watchword.config import FILE_NAME, load_settings, read_file
from watchword.errors import BadSettings
from watchword.operations.store_identity import SetIssuer, set_issuer
from watchword.settings import ServerSettings
from watchword.stores import open_store


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
        _write_issuer(data / FILE_NAME, issuer)
    return before


def _write_issuer(file: Path, issuer: str) -> None:
    """Change the one line, or add it; whatever else stands in the file stays as it is."""
    if read_file(file).values.get("issuer") == issuer:
        return
    line = f"issuer = {json.dumps(issuer)}"
    before = file.read_text(encoding="utf-8") if file.exists() else "[server]\n"
    after, count = re.subn(r"^[ \t]*issuer[ \t]*=.*$", lambda _: line, before, count=1, flags=re.MULTILINE)
    if not count:
        after = re.sub(r"^\[server\][^\n]*$", lambda found: f"{found[0]}\n{line}", before, count=1, flags=re.MULTILINE)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as written:
            written.write(after)
        if read_file(draft).values.get("issuer") != issuer:
            raise BadSettings("settings.file", detail=f"{file} cannot be changed by a program: write {line} into it.")
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
