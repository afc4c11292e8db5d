"""What the admin API gives of the audit trail and of the server, as pydantic models."""

from __future__ import annotations

import json

from pydantic import BaseModel

from watchword.ports.audit import StoredEvent
from watchword.server.audit_chain import Findings, Flaw


class EventView(BaseModel):
    """An event at its place in its chain; `hash` is hexadecimal."""

    cursor: int
    chain: str
    position: int
    hash: str
    event: dict[str, object]


class EventPage(BaseModel):
    """Some events; `next_after` is there when more follow."""

    items: list[EventView]
    next_after: int | None = None


class ChainView(BaseModel):
    """How far a chain was followed and found right; `hash` is hexadecimal."""

    chain: str
    events: int
    hash: str


class FindingView(BaseModel):
    """The first place where a chain is wrong."""

    chain: str
    position: int
    problem: Flaw


class VerificationView(BaseModel):
    """What following every chain found."""

    ok: bool
    events: int
    chains: list[ChainView]
    findings: list[FindingView]


class ServerView(BaseModel):
    """This server, and who you are to it."""

    issuer: str
    version: str
    token_endpoint: str
    jwks_uri: str
    metadata_uri: str
    actor: str
    role: str


def event_view(stored: StoredEvent) -> EventView:
    """Return an event as it is shown."""
    return EventView(
        cursor=stored.cursor,
        chain=stored.chain,
        position=stored.position,
        hash=stored.hash.hex(),
        event=json.loads(stored.payload),
    )


def verification_view(found: Findings) -> VerificationView:
    """Return what a verification found as it is shown."""
    return VerificationView(
        ok=found.is_sound,
        events=found.events,
        chains=[ChainView(chain=one.chain, events=one.events, hash=one.hash.hex()) for one in found.chains],
        findings=[FindingView(chain=one.chain, position=one.position, problem=one.problem) for one in found.findings],
    )
