"""Writing: a set of changes and the one event that tells of it, durable together or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol, runtime_checkable

from watchword.ports.agents import Agent, AgentStore, Credential, Operator, Permission, Registration, Resource
from watchword.ports.audit import AuditEvent, AuditReader
from watchword.ports.cluster import Cluster, ForgetNode, InTerm, NeedsStep
from watchword.ports.issuers import DeleteTrustedIssuer, TrustedIssuer, TrustedIssuers
from watchword.ports.keys import KeyStore, SigningKey
from watchword.ports.revocations import PruneRevocations, Revocations, Revoke
from watchword.ports.schema import Schema

LONGEST_LAG: Final = timedelta(seconds=1)
"""How late, at the very most, the ``epoch`` of a store that several machines share may hear of a change made on another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreIdentity:
    """Whose store this is. There is exactly one, from the beginning.

    ``issuer`` is empty until it is remembered. ``generation`` counts lives: it begins at 1 and goes up whenever a backup is
    put back, at ``restored_at``: what was issued in an earlier life, and is not in the backup, is not known here.
    """

    issuer: str = ""
    generation: int = 1
    restored_at: datetime | None = None
    version: int = 1


@dataclass(frozen=True, slots=True)
class Create:
    """Store a record that must not exist yet: no row with its key, nor (agents) a not deleted one with its name,
    nor (resources) one with its identifier, nor (operators) one with its name or credential, nor (trusted issuers) one with its
    issuer, nor (signing keys) another of its algorithm that is active, or published, as it is. A credential's, permission's or
    key's owner must exist, and so must the issuer that a credential trusts."""

    record: Agent | Credential | Permission | Resource | Operator | SigningKey | TrustedIssuer


@dataclass(frozen=True, slots=True)
class Replace:
    """Store a versioned record over the one it was made from: the stored version must be ``record.version - 1``.

    An operator's name stays, no two have one credential, and one admin who is not disabled is always left
    (``operator.last_admin``). A store's generation never goes down. Of an algorithm one signing key is active, and one
    published, at most (``signing_key.taken``).
    """

    record: Agent | Permission | Resource | SigningKey | Operator | StoreIdentity | TrustedIssuer


@dataclass(frozen=True, slots=True)
class RevokeCredential:
    """Revoke one credential for ever; revoking a revoked one is no conflict, a missing one is."""

    client_id: str
    credential_id: str


@dataclass(frozen=True, slots=True)
class RetireCredential:
    """Say when an active credential ends, what comes after it, and how long a silence ends it earlier."""

    client_id: str
    credential_id: str
    expires_at: datetime
    replaced_by: str | None = None
    silence: timedelta | None = None


@dataclass(frozen=True, slots=True)
class DeletePermission:
    """Remove one permission; it must exist."""

    client_id: str
    permission_id: str


@dataclass(frozen=True, slots=True)
class DeleteResource:
    """Remove a resource; it must exist at this version and no permission may name it."""

    name: str
    version: int


@dataclass(frozen=True, slots=True)
class TouchCredential:
    """Remember when and from where a credential was last used, and ``uses`` more of them. Never a conflict, never a change of the
    epoch."""

    credential_id: str
    at: datetime
    network: str
    uses: int = 1


Change = (
    Create
    | Replace
    | RevokeCredential
    | RetireCredential
    | Revoke
    | PruneRevocations
    | DeletePermission
    | DeleteResource
    | DeleteTrustedIssuer
    | TouchCredential
    | InTerm
    | ForgetNode
    | NeedsStep
)


_NO_CHANGE: Final = (TouchCredential, PruneRevocations, InTerm, ForgetNode, NeedsStep)


def moves_epoch(changes: Sequence[Change]) -> bool:
    """Tell whether a commit of these counts for the epoch."""
    return any(not isinstance(change, _NO_CHANGE) for change in changes)


@dataclass(frozen=True, slots=True)
class Basis:
    """What a decision was made on: what was registered of one client when the store stood at ``epoch``, or later."""

    epoch: int
    registration: Registration


@runtime_checkable
class TellsEpochAtOnce(Protocol):
    """A store that need not wait to tell its epoch: for who cannot wait."""

    def epoch_now(self) -> int:
        """Return what ``Store.epoch`` would return.

        Raises:
            StoreUnavailable
        """
        ...


class Store(AgentStore, KeyStore, TrustedIssuers, Revocations, AuditReader, Cluster, Protocol):
    """State and audit in one place. Adapters pass ``watchword.testing.store_contract``."""

    async def commit(self, event: AuditEvent, changes: Sequence[Change] = (), *, basis: Basis | None = None) -> None:
        """Apply the changes and append the event, in one transaction, durable when this returns.

        With a ``basis``, only while that is still what is registered, last uses aside: no event of a token comes behind the one
        that suspended its agent, whichever process or node wrote it.

        Concurrent commits may share one disk flush; each still succeeds or fails alone. A caller that is cancelled
        while waiting disturbs no other, and its own commit may or may not have happened.

        Raises:
            Conflict: a change does not fit what is stored; nothing of this commit was applied.
            Superseded: store.superseded; the basis is no longer so, nothing of this commit was applied.
            StoreUnavailable: not durable, and will not become so; but for ``store.uncertain``: the database was lost while it
                committed, and did not come back in time to say whether it had.
        """
        ...

    async def epoch(self) -> int:
        """Return the number of commits so far that changed anything (``moves_epoch``).

        Who compares two answers learns whether anything has changed between them. Read anew in every turn of the event loop:
        it counts at least what was acknowledged when the present turn began, by any process of this machine. A store that
        several machines share counts what this process has acknowledged and what any of its reads has seen,
        ``credentials`` above all, and of the rest at least what was acknowledged ``LONGEST_LAG`` ago. After such a store was
        lost and found again it begins anew, with numbers that it had not given before.

        Raises:
            StoreUnavailable: also where nothing was heard of a shared store for ``LONGEST_LAG``: nobody can say what holds.
        """
        ...

    async def schema(self) -> Schema:
        """Return how the tables stand to this program, now: another may have brought them forward.

        Once they are such that this program may not work on them, every commit and ``epoch`` fail with ``StoreUnavailable``
        (store.newer), and nothing is done.

        Raises:
            BadSettings: store.newer, store.checksum
            StoreUnavailable
        """
        ...

    async def identity(self) -> StoreIdentity:
        """Return whose store this is.

        Raises:
            StoreUnavailable
        """
        ...

    async def check(self) -> None:
        """Return when the store can be read and written now; used by readiness.

        Raises:
            StoreUnavailable
        """
        ...

    async def close(self) -> None:
        """Finish what is under way and release everything. Idempotent."""
        ...
