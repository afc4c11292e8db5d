"""What is said of credentials before they lock an agent out: once, however many nodes there are, however often they start."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from watchword.ports.agents import AgentState, Credential, CredentialState
from watchword.ports.audit import format_time
from watchword.ports.store import Store
from watchword.server.credential_ends import endings
from watchword.server.credential_rules import CredentialRules
from watchword.server.offices import Job, Term

_PAGE: Final = 200
_TRAIL: Final = 200  # events of one agent in which it is looked for whether it was said already


class Alarm(StrEnum):
    """What is said."""

    EXPIRING = "expiring"
    OLD = "old"


@dataclass(frozen=True, slots=True)
class Warned:
    """One warning, durable by now. ``ends_at`` is when the credential ends, if it does."""

    alarm: Alarm
    client_id: str
    credential_id: str
    ends_at: datetime | None


class CredentialWitness(Protocol):
    """Told of every warning. Must not raise."""

    # ruff: noqa: D102 -- the name says it

    def warned(self, warned: Warned) -> None: ...


class CredentialWarnings:
    """Warns before a credential ends, once for each threshold that its life is longer than, and of secrets that are too old.

    The audit trail is the memory of what was said.
    """

    def __init__(self, rules: CredentialRules, witness: CredentialWitness | None = None) -> None:
        self._rules = rules
        self._witness = witness
        self._said: set[tuple[str, str]] = set()

    @property
    def jobs(self) -> tuple[Job, ...]:
        """What is done again and again."""
        ends = Job("warn_of_ends", timedelta(minutes=30), self.warn_of_ends)
        return (
            (ends,) if self._rules.max_age is None else (ends, Job("report_old", timedelta(hours=6), self.report_old))
        )

    async def warn_of_ends(self, term: Term) -> None:
        """Say which credentials end soon.

        Raises:
            Conflict: office.term
            StoreUnavailable
        """
        within = max(self._rules.warnings, default=timedelta(0))
        async for one in endings(term, within=within):
            threshold = await self._threshold(term, one)
            if threshold is not None and one.expires_at is not None and await _may_log_in(term.store, one):
                await self._say(
                    term, Alarm.EXPIRING, one, f"{int(threshold.total_seconds())} {format_time(one.expires_at)}"
                )

    async def _threshold(self, term: Term, one: Credential) -> timedelta | None:
        """Return the threshold that is passed. One that was rotated ends on purpose: unless nobody uses the new one."""
        left = (one.expires_at or term.now) - term.now
        if one.replaced_by is None:
            life = left + (term.now - one.created_at)
            return min((limit for limit in self._rules.warnings if left <= limit < life), default=None)
        registered = await term.store.credentials(one.client_id) or ()
        new = next((other for other in registered if other.id == one.replaced_by), None)
        if new is None or new.last_used_at is not None:
            return None
        last_quarter = (left + (term.now - new.created_at)) / 4
        return last_quarter if left <= last_quarter else None

    async def report_old(self, term: Term) -> None:
        """Say which secrets are older than they are to become.

        Raises:
            Conflict: office.term
            StoreUnavailable
        """
        after = ""
        while page := await term.store.agents(after=after, limit=_PAGE):
            after = page[-1].client_id
            for agent in page:
                for one in await term.store.credentials(agent.client_id) or ():
                    if one.is_usable(term.now) and self._rules.is_old(one, term.now):
                        await self._say(term, Alarm.OLD, one, str(self._rules.max_age))

    async def _say(self, term: Term, alarm: Alarm, one: Credential, mark: str) -> None:
        """Record it, unless it was: ``mark`` is what tells one warning of a credential from another."""
        key = (one.id, mark)
        if key in self._said:
            return
        action = f"credential.{alarm}"
        if not await _was_said(term.store, action, one, mark):
            details = {"kind": str(one.kind), "label": one.label, "mark": mark}
            if one.expires_at is not None:
                details["expires_at"] = format_time(one.expires_at)
            told = {name: value for name, value in details.items() if value}
            await term.commit(str(alarm), action=action, details=told, client_id=one.client_id, credential_id=one.id)
            if self._witness is not None:
                self._witness.warned(Warned(alarm, one.client_id, one.id, one.expires_at))
        self._said.add(key)


async def _may_log_in(store: Store, one: Credential) -> bool:
    agent = await store.find_agent(one.client_id)
    return agent is not None and agent.state is not AgentState.DELETED and one.state is CredentialState.ACTIVE


async def _was_said(store: Store, action: str, one: Credential, mark: str) -> bool:
    filters = {"action": action, "client_id": one.client_id}
    for stored in await store.events(limit=_TRAIL, filters=filters, newest_first=True):
        event = json.loads(stored.payload)
        if event.get("credential_id") == one.id and event.get("details", {}).get("mark") == mark:
            return True
    return False
