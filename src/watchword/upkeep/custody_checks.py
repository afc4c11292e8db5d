"""What can be wrong with those who hold the signing keys outside: out of reach, refusing, not configured, not used."""

from __future__ import annotations

from watchword.custodies import open_custodies
from watchword.errors import CustodyUnavailable, Fault, MasterKeyError, NoSigningKey
from watchword.ports.keys import LOCAL, KeyState, SigningKey
from watchword.ports.store import Store
from watchword.sealing import find_master_key
from watchword.server.custody import Custodies
from watchword.settings import ServerSettings
from watchword.upkeep.findings import Finding, error, note


async def check_custody(store: Store, settings: ServerSettings) -> list[Finding]:
    """Every key that signs does so in its custody, and new ones are made where the others are."""
    active = [key for key in await store.signing_keys() if key.state is KeyState.ACTIVE]
    if settings.custody == LOCAL and all(key.custody == LOCAL for key in active):
        return []
    try:
        with open_custodies(settings, find_master_key(settings)) as custodies:
            findings = [await _sign(custodies, key, settings) for key in active if key.custody != LOCAL]
    except MasterKeyError:
        return []  # said already
    except Fault as fault:
        return [error("custody", fault.detail or fault.reason, f"watchword config show --data {settings.data}")]
    found = [one for one in findings if one is not None]
    for key in active:
        if key.custody != settings.custody:
            finding = f"{key.algorithm} is signed in the custody {key.custody}, new keys are made in {settings.custody}"
            found.append(note("custody", finding, f"watchword key rotate --alg {key.algorithm}"))
    return found


async def _sign(custodies: Custodies, key: SigningKey, settings: ServerSettings) -> Finding | None:
    try:
        await custodies.sign(key, b"readiness")
    except (NoSigningKey, CustodyUnavailable) as problem:
        finding = f"key {key.kid} does not sign in the custody {key.custody}: {problem.detail or problem.reason}"
        return error("custody", finding, f"watchword config show --data {settings.data}")
    return None
