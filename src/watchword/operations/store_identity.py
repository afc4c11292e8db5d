"""Whose store this is: one issuer's, for agents and APIs know it by that name alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

from watchword.errors import BadSettings
from watchword.operations.context import OperationContext, details
from watchword.operations.operation import operation
from watchword.ports import store
from watchword.ports.keys import GONE_STATES
from watchword.ports.store import StoreIdentity
from watchword.server import key_schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class SetIssuer:
    """``issuer`` is a checked one, as the settings hold it."""

    issuer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordBackup:
    """``file`` is where the copy goes."""

    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginGeneration:
    """``file`` is the backup that was put back, ``last_event`` the moment of the newest event in it."""

    file: str
    last_event: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordMove:
    """``database`` is where the store came to, without its password."""

    database: str


@operation("store.issuer")
async def set_issuer(context: OperationContext, command: SetIssuer) -> StoreIdentity:
    """Remember the issuer, whoever's the store was before. Remembering it again changes nothing."""
    before = await context.store.identity()
    if before.issuer == command.issuer:
        return before
    identity = replace(before, issuer=command.issuer, version=before.version + 1)
    facts = details(issuer=command.issuer, before=before.issuer)
    await context.commit("remembered", store.Replace(identity), details=facts)
    return identity


@operation("store.backup")
async def record_backup(context: OperationContext, command: RecordBackup) -> None:
    """Record that a copy of everything is taken away, before it is: the copy tells of itself."""
    await context.commit("copied", details=details(file=command.file))


@operation("store.move")
async def record_move(context: OperationContext, command: RecordMove) -> None:
    """Record that the store has come into this database, with all that it held."""
    await context.commit("moved", details=details(database=command.database))


@operation("store.restore")
async def begin_generation(context: OperationContext, command: BeginGeneration) -> StoreIdentity:
    """Begin another life of a store that was put back from a backup. None of its keys is in it: each may have been retired, or
    compromised, since the backup was made.
    """
    before = await context.store.identity()
    identity = replace(before, generation=before.generation + 1, restored_at=context.now, version=before.version + 1)
    facts = details(file=command.file, last_event=command.last_event, generation=identity.generation)
    living = [key for key in await context.store.signing_keys() if key.state not in GONE_STATES]
    discarded = [store.Replace(key_schedule.discard(key, now=context.now)) for key in living]
    await context.commit("restored", store.Replace(identity), *discarded, details=facts)
    return identity


async def claim_issuer(context: OperationContext, *, place: str) -> None:
    """Return if the store is that of the context's issuer; one that is nobody's yet becomes so.

    Raises:
        BadSettings: store.wrong_issuer
        StoreUnavailable
    """
    identity = await context.store.identity()
    if not identity.issuer:
        identity = await set_issuer(context, SetIssuer(issuer=context.issuer))
    if identity.issuer != context.issuer:
        detail = (
            f"the store in {place} is that of the issuer {identity.issuer}, not of {context.issuer}: correct the setting "
            f"issuer; or, if it is to move, stop its server and run `watchword config set-issuer {context.issuer} --data {place}`"
        )
        raise BadSettings("store.wrong_issuer", detail=detail)
