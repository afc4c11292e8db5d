"""The audit trail: one event for every issuance, refusal and administrative change; chained, so that altering shows.

The canonical bytes of an event are stored as they were hashed. Position ``n`` of a chain holds
``hash(n) = SHA-256(hash(n-1) || canonical bytes)``; the hash before position 1 is 32 zero bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol

GENESIS = bytes(32)


class Outcome(StrEnum):
    """How it ended."""

    SUCCESS = "success"
    DENIED = "denied"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """What happened. Empty members are left out of the canonical form; there are no nulls.

    ``actor`` is ``agent:<client_id>``, ``operator:<id>``, ``local:<user>``, ``node:<id>`` or ``anonymous``. ``client_id``,
    ``resource`` and ``scope`` of a refusal are what was claimed, bounded and redacted; they are facts only when the outcome is
    a success. ``resource`` is the identifier (``aud``).
    """

    id: str
    time: datetime
    action: str
    outcome: Outcome
    reason: str
    actor: str
    request_id: str = ""
    peer: str = ""
    client_id: str = ""
    credential_id: str = ""
    grant_type: str = ""
    client_auth: str = ""
    resource: str = ""
    scope: str = ""
    jti: str = ""
    kid: str = ""
    expires_at: datetime | None = None
    details: Mapping[str, str] = field(default_factory=dict)

    def canonical_bytes(self) -> bytes:
        """Return the event as UTF-8 JSON: members sorted, no white space, ASCII only, times in RFC 3339 UTC."""
        members = []
        for name in _FIELDS:
            value = getattr(self, name)
            if isinstance(value, datetime):
                members.append(f'"{name}":"{format_time(value)}"')
            elif name == "details" and value:
                members.append(f'"details":{_CANONICAL.encode(dict(value))}')
            elif value:
                members.append(f'"{name}":{_quote(str(value))}')
        return ("{" + ",".join(members) + "}").encode("ascii")


_FIELDS = tuple(sorted(AuditEvent.__dataclass_fields__))
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)
_quote = json.encoder.encode_basestring_ascii


def format_time(moment: datetime) -> str:
    """Return RFC 3339 in UTC with microseconds: ``2026-11-24T05:31:33.000000Z``."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event at its place. ``cursor`` orders all events of a store; ``chain`` and ``position`` place it in its chain."""

    cursor: int
    chain: str
    position: int
    payload: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The last place of a chain, as the store remembers it apart from the events: a cut tail shows."""

    chain: str
    position: int
    hash: bytes


def link(previous: bytes, payload: bytes) -> bytes:
    """Return the hash of a place from the hash before it and the event's canonical bytes."""
    return hashlib.sha256(previous + payload).digest()


class AuditReader(Protocol):
    """Reads of the trail.

    Raises:
        StoreUnavailable: the store cannot be read.
    """

    async def events(
        self, *, after: int = 0, limit: int = 100, filters: Mapping[str, str] | None = None, newest_first: bool = False
    ) -> Sequence[StoredEvent]:
        """Return events with a cursor above ``after`` (below it, when newest first and ``after`` is not 0).

        ``filters`` are exact values of the members ``action``, ``outcome``, ``reason``, ``actor``, ``client_id``,
        ``request_id``, ``jti``; others are refused with ``ValueError``.
        """
        ...

    async def heads(self) -> Sequence[ChainHead]:
        """Return the head of every chain, by name."""
        ...
