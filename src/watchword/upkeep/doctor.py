"""Examining a deployment: every check, in the order in which one would mend what it finds. Nothing is changed."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from watchword.adapters.sqlite_upgrade import integrity_problems
from watchword.clock import Clock, system_clock
from watchword.custodies import check_master_key, local_custody
from watchword.errors import Fault, MasterKeyError, NoSigningKey
from watchword.ports.agents import Registration
from watchword.ports.store import Store
from watchword.sealing import find_master_key
from watchword.server.audit_chain import ChainVerifier
from watchword.server.schema import describe, heard_of
from watchword.settings import ServerSettings
from watchword.stores import STORE_FILE, find_database, open_store
from watchword.upkeep import machine_checks, registry_checks
from watchword.upkeep.cache_checks import check_cache
from watchword.upkeep.custody_checks import check_custody
from watchword.upkeep.database_checks import check_database
from watchword.upkeep.findings import Finding, Severity, error, note, some, warning
from watchword.upkeep.key_checks import check_keys
from watchword.upkeep.mutual_tls_checks import check_mutual_tls
from watchword.upkeep.registry_checks import RegistryFacts
from watchword.upkeep.rewrapping import under_older

BACKUP_AGE: Final = timedelta(days=7)
_BATCH: Final = 500

_OF_REGISTRY: Final[tuple[Callable[[RegistryFacts], Iterator[Finding]], ...]] = (
    registry_checks.check_owners,
    registry_checks.check_endless,
    registry_checks.check_expiring,
    registry_checks.check_old,
    registry_checks.check_unused_credentials,
    registry_checks.check_unused_permissions,
    registry_checks.check_shared_secrets,
    registry_checks.check_admins,
)


@dataclass(slots=True)
class _Trail:
    newest: datetime | None = None
    backup: datetime | None = None
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found."""

    findings: tuple[Finding, ...]

    @property
    def is_well(self) -> bool:
        """Nothing has to be mended; notes may be there."""
        return all(one.severity is Severity.NOTE for one in self.findings)


async def examine(settings: ServerSettings, *, is_production: bool, clock: Clock = system_clock) -> Examination:
    """Return what is wrong with a deployment; in production more is asked for."""
    now, findings = clock(), list(_of_machine(settings, clock(), is_production=is_production))
    findings += await check_cache(settings)
    try:
        database = find_database(settings)
        if database is None:
            findings += await asyncio.to_thread(_of_file, settings.data)
        else:
            findings += await check_database(database, settings.data, is_production=is_production)
        async with _opened(settings) as store:
            findings += await _of_store(store, settings, now, is_production=is_production)
    except Fault as fault:
        findings.append(error("store", fault.detail or fault.reason, _mend(fault, settings.data)))
    return Examination(tuple(findings))


def _of_machine(settings: ServerSettings, now: datetime, *, is_production: bool) -> Iterator[Finding]:
    yield from some(machine_checks.check_modes(settings.data))
    yield from machine_checks.check_master_key(settings, is_production=is_production)
    yield from machine_checks.check_exposure(settings)
    yield from machine_checks.check_certificate(settings, now)
    yield from check_mutual_tls(settings, now)
    yield from machine_checks.check_disk(settings.data)
    if is_production:
        yield from machine_checks.check_issuer(settings)
        yield from machine_checks.check_limits()


def _of_file(data: Path) -> list[Finding]:
    path, findings = data / STORE_FILE, list(machine_checks.check_sqlite())
    with suppress(Fault):  # it does not open, which the next check says
        command = f"watchword restore BACKUP --data {data}.restored"
        findings += [error("integrity", f"{path}: {problem}", command) for problem in integrity_problems(path)]
    return findings


@asynccontextmanager
async def _opened(settings: ServerSettings) -> AsyncIterator[Store]:
    store = await open_store(settings)
    try:
        yield store
    finally:
        await store.close()


def _mend(fault: Fault, data: Path) -> str:
    if fault.reason == "store.older":
        return f"watchword migrate --data {data}"
    if fault.reason == "store.newer":
        return "python -m pip install --upgrade watchword"
    if fault.reason == "store.read_only":
        return f"chown -R {os.geteuid()} {data} && chmod -R u+rwX {data}"
    if fault.reason in {"store.unreachable", "store.credentials", "store.stale", "settings.database"}:
        return 'psql "$WATCHWORD_SERVER__DATABASE" -c "SELECT 1"'
    if fault.reason in {"store.busy", "store.full", "store.io", "store.permission"}:
        return f"ls -la {data} && df -h {data}"
    return f"watchword restore BACKUP --data {data}.restored"


async def _of_store(store: Store, settings: ServerSettings, now: datetime, *, is_production: bool) -> list[Finding]:
    findings = [*await _of_identity(store, settings), *await check_custody(store, settings)]
    findings += [*await _of_schema(store, settings, now), *await check_keys(store, settings, now)]
    facts = RegistryFacts(str(settings.data), now, rules=settings.credential_rules)
    trail = await _read_trail(store, facts)
    findings += trail.findings
    findings += machine_checks.check_clock(now, trail.newest)
    if is_production and find_database(settings) is None and (trail.backup is None or trail.backup < now - BACKUP_AGE):
        when = (
            f"the last backup is of {trail.backup:%Y-%m-%d}" if trail.backup else "the audit trail tells of no backup"
        )
        command = f"watchword backup --data {settings.data} DIR"
        findings.append(warning("backup", when, command))
    facts.operators = tuple(await store.operators())
    facts.registrations = await _registrations(store)
    for check in _OF_REGISTRY:
        findings += some(check(facts))
    return findings


async def _of_schema(store: Store, settings: ServerSettings, now: datetime) -> list[Finding]:
    """Say who works on the tables of another version: side by side is for as long as an upgrade takes."""
    schema, findings = await store.schema(), []
    if schema.is_newer:
        finding = f"the store has schema {schema.present}, this version knows {schema.known}: it may go on, for the time being"
        findings.append(warning("schema", finding, "python -m pip install --upgrade watchword"))
    for node in heard_of(await store.nodes(), now=now):
        if node.schema < schema.present:
            finding = f"an older version works on the store: {describe(node)}"
            findings.append(note("schema", finding, f"watchword node list --data {settings.data}"))
    return findings


async def _of_identity(store: Store, settings: ServerSettings) -> list[Finding]:
    findings, data = [], settings.data
    remembered = (await store.identity()).issuer
    if remembered and remembered != settings.issuer:
        finding = f"the store is that of the issuer {remembered}, the settings say {settings.issuer}"
        command = f"watchword config set-issuer {settings.issuer} --data {data}"
        findings.append(error("issuer", finding, command))
    try:
        master = find_master_key(settings)
        await check_master_key(store, local_custody(master))
        findings += [_left_behind(key.kid, settings) for key in await under_older(store, master)]
    except NoSigningKey as problem:
        finding = f"this is not the master key of this store ({problem.detail})"
        findings.append(error("master-key", finding, "set WATCHWORD_SERVER__MASTER_KEY_FILE to the right one"))
    except MasterKeyError:
        pass  # said already
    return findings


def _left_behind(kid: str, settings: ServerSettings) -> Finding:
    finding = f"key {kid} is sealed under an older master key than the present one: who has that one can open it"
    return warning("master-key-older", finding, f"watchword key rewrap --data {settings.data}")


async def _read_trail(store: Store, facts: RegistryFacts) -> _Trail:
    """Follow the trail once: whole? who was given what? when was the last backup?"""
    trail, verifier, after = _Trail(), ChainVerifier(await store.heads()), 0
    newest = await store.events(limit=1, newest_first=True)
    last = newest[0].cursor if newest else 0
    while after < last and (rows := await store.events(after=after, limit=_BATCH)):
        for row in rows:
            if row.cursor <= last:
                verifier.add(row)
                _note_event(row.payload, trail, facts)
        after = rows[-1].cursor
    for flaw in verifier.finish(await store.heads()).findings:
        finding = f"position {flaw.position} of the chain {flaw.chain} of the audit trail is {flaw.problem}"
        trail.findings.append(error("audit", finding, f"watchword audit verify --data {facts.place}"))
    return trail


def _note_event(payload: bytes, trail: _Trail, facts: RegistryFacts) -> None:
    try:
        event = json.loads(payload)
        trail.newest = datetime.fromisoformat(event["time"])
    except (ValueError, KeyError, TypeError):
        return  # altered: the chain says so
    if event.get("outcome") != "success":
        return
    if event.get("action") == "token.issue":
        facts.issued.add((str(event.get("client_id")), str(event.get("resource"))))
    elif event.get("action") == "store.backup":
        trail.backup = trail.newest


async def _registrations(store: Store) -> list[Registration]:
    found, after = [], ""
    while page := await store.agents(after=after, limit=_BATCH):
        for agent in page:
            registration = await store.registration(agent.client_id)
            if registration is not None:
                found.append(registration)
        after = page[-1].client_id
    return found
