"""Credentials that were rotated end by themselves: at their time, or earlier, once nobody uses them any more.

The time needs nobody's work: it stands in the credential, and every login compares. Here is what ends them earlier.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Final

from watchword.errors import Conflict
from watchword.ports.agents import Credential
from watchword.ports.audit import format_time
from watchword.ports.store import RetireCredential
from watchword.server.offices import Job, Term

TOUCH_INTERVAL: Final = timedelta(hours=1)
"""How exact a credential's last use is."""

_FARTHEST: Final = timedelta(days=400)  # a silence is no longer than an overlap, and that has its limit elsewhere
_PAGE: Final = 200


def exactness(credential: Credential) -> timedelta:
    """Return how exact the last use of a credential is: one that a silence is to end is watched more closely."""
    return TOUCH_INTERVAL if credential.silence is None else min(TOUCH_INTERVAL, credential.silence / 4)


def is_over(old: Credential, new: Credential, now: datetime) -> bool:
    """Tell whether an old credential has been silent for long enough, and the new one has been used.

    A silence begins with the rotation at the earliest, and is longer by what a last use is inexact.
    """
    if old.silence is None or new.last_used_at is None:
        return False
    since = max(new.created_at, old.last_used_at or new.created_at)
    return now - since >= old.silence + exactness(old)


async def end_silent(term: Term) -> None:
    """End every rotated credential that is over before its time, each with an event of its own.

    Raises:
        Conflict: office.term
        StoreUnavailable
    """
    async for old in endings(term, within=_FARTHEST, silence=True):
        registered = await term.store.credentials(old.client_id) or ()
        new = next((one for one in registered if one.id == old.replaced_by), None)
        if new is None or not is_over(old, new, term.now):
            continue
        facts = {"replaced_by": new.id, "was_to_end": format_time(old.expires_at or term.now)}
        ended = RetireCredential(old.client_id, old.id, term.now, new.id, old.silence)
        try:
            await term.commit(
                "silent", ended, action="credential.end", details=facts, client_id=old.client_id, credential_id=old.id
            )
        except Conflict as conflict:
            if conflict.reason != "credential.missing":  # else somebody has revoked it in the moment between
                raise


async def endings(term: Term, *, within: timedelta, silence: bool = False) -> AsyncIterator[Credential]:
    """Give the usable credentials that end within this time, by their end."""
    now = term.now
    after = (now, "")
    while page := await term.store.ending_credentials(after=after, before=now + within, limit=_PAGE, silence=silence):
        for one in page:
            if one.expires_at is not None:
                after = (one.expires_at, one.id)
                if one.expires_at > now:
                    yield one


ENDING: Final = Job("end_credentials", timedelta(seconds=30), end_silent)
