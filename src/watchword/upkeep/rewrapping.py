"""Replacing the master key: a new one is made, and the signing keys are sealed under it. Nothing is issued anew."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from watchword.adapters.keys_file import FileSigner
from watchword.adapters.master_key import MasterKey, load_master_key
from watchword.clock import Clock, system_clock
from watchword.compose import build_core, local_context
from watchword.custodies import check_master_key, local_custody
from watchword.errors import MasterKeyError, NoSigningKey
from watchword.operations.signing_keys import RewrapSigningKeys, rewrap_signing_keys, sealed_here
from watchword.operations.store_identity import claim_issuer
from watchword.ports.keys import SigningKey
from watchword.ports.store import Store
from watchword.sealing import find_master_key
from watchword.settings import ServerSettings
from watchword.stores import check_place, open_store


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """``kids``: the keys that were sealed under an older master key, and are not any more."""

    is_new_file: bool
    kids: tuple[str, ...] = ()


async def rewrap(
    settings: ServerSettings, target: Path | None, *, is_file_only: bool = False, clock: Clock = system_clock
) -> Rewrapped:
    """Seal every signing key of a store under the master key in ``target``, made where it is not there; else of the settings.

    Servers may run meanwhile: those that know the old master key alone sign on with the keys that they have opened. After an
    interruption the same again finishes it.

    Raises:
        MasterKeyError: master_key.wrong, master_key.unrelated, master_key.unfinished, and those of its file.
        BadSettings: store.*
        StoreUnavailable
    """
    current = find_master_key(settings)
    store = await open_store(settings)
    try:
        await check_place(settings)
        await claim_issuer(
            local_context(build_core(settings.issuer, store, current, clock=clock)), place=str(settings.data)
        )
        master, is_new = await _find_newest(store, current, target)
        if is_file_only:
            return Rewrapped(is_new)
        signer = FileSigner(master)
        command = RewrapSigningKeys(rewrap=signer.rewrap, is_newest=signer.is_newest)
        context = local_context(build_core(settings.issuer, store, master, clock=clock))
        done = await rewrap_signing_keys(context, command)
        return Rewrapped(is_new, tuple(key.kid for key in done))
    except NoSigningKey as error:
        detail = f"this is not the master key that the store in {settings.data} was made with ({error.detail})"
        raise MasterKeyError("master_key.wrong", detail=detail) from error
    finally:
        await store.close()


async def under_older(store: Store, master: MasterKey) -> list[SigningKey]:
    """Return the keys of a store that are not sealed under the newest master key.

    Raises:
        StoreUnavailable
    """
    signer = FileSigner(master)
    return [key for key in sealed_here(await store.signing_keys()) if not signer.is_newest(key)]


async def _find_newest(store: Store, current: MasterKey, target: Path | None) -> tuple[MasterKey, bool]:
    """Return the master key that all is to be under, and if it was made now."""
    if target is None:
        return current, False
    if not os.path.lexists(target):  # noqa: ASYNC240 -- the command line has nothing else to do meanwhile
        await check_master_key(store, local_custody(current))
        if left := await under_older(store, current):
            detail = f"key {left[0].kid} is not sealed under the present master key: `watchword key rewrap` without a file first"
            raise MasterKeyError("master_key.unfinished", detail=detail)
        made = current.replaced()
        made.write(target)
        return made, True
    found = load_master_key(target, value=None, credentials_directory=None)
    if not found.comes_of(current):
        detail = (
            f"the master key in {target} was not made to replace the present one: name a file that is not there yet"
        )
        raise MasterKeyError("master_key.unrelated", detail=detail)
    return found, False
