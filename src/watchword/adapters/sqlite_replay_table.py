"""Claiming many ids in one transaction, and forgetting some of those that are over."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final, cast

import apsw

from watchword.errors import ReplayUnavailable
from watchword.ports.replay import Claim, Verdict

LEAST_SWEPT: Final = 256
"""Ids that are over and are forgotten with one batch, at most; with a large batch, four for each of its claims."""

_STATE: Final = "SELECT horizon, swept, claims FROM state"
_KNOWN: Final = "SELECT key FROM claims WHERE key IN (SELECT unhex(value) FROM json_each(?))"
_INSERT: Final = "INSERT INTO claims SELECT unhex(value ->> 0), value ->> 1 FROM json_each(?)"
_OVER: Final = (
    "DELETE FROM claims WHERE key IN (SELECT key FROM claims WHERE until < ? ORDER BY until LIMIT ?) RETURNING until"
)
_REMEMBER: Final = "UPDATE state SET claims = claims + ?, swept = max(swept, ?), seen = max(seen, ?)"

Answer = Verdict | ReplayUnavailable


def claim_all(db: apsw.Connection, claims: Sequence[Claim], *, now: int, capacity: int) -> list[Answer]:
    """Return the answers in order. ``now`` in milliseconds; beyond ``capacity`` ids nothing new is taken.

    Raises:
        apsw.Error: nothing was claimed.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        answers = _claim(db, claims, now, capacity)
        db.execute("COMMIT")
    except BaseException:
        with suppress(apsw.Error):  # it may have ended by itself
            db.execute("ROLLBACK")
        raise
    return answers


def _claim(db: apsw.Connection, claims: Sequence[Claim], now: int, capacity: int) -> list[Answer]:
    horizon, swept, count = cast("tuple[int, int, int]", db.execute(_STATE).fetchone())
    known = _known(db, claims)
    latest = _sweep(db, now, max(LEAST_SWEPT, 4 * len(claims)))
    room = capacity - count + len(latest)
    swept = max([swept, *latest])
    answers: list[Answer] = []
    added: dict[bytes, int] = {}
    for claim in claims:
        if claim.key in known or claim.key in added:
            answers.append(Verdict.REPEATED)
        elif not claim.is_remembered(now=now, horizon=horizon, swept=swept):
            answers.append(Verdict.UNSURE)
        elif len(added) >= room:
            answers.append(ReplayUnavailable("replay.full", detail=f"{capacity} ids are remembered"))
        else:
            added[claim.key] = claim.until
            answers.append(Verdict.FIRST)
    if added:
        db.execute(_INSERT, (json.dumps([(key.hex(), until) for key, until in added.items()]),))
    db.execute(_REMEMBER, (len(added) - len(latest), swept, now))
    return answers


def _known(db: apsw.Connection, claims: Iterable[Claim]) -> set[bytes]:
    found = db.execute(_KNOWN, (json.dumps([claim.key.hex() for claim in claims]),))
    return {cast("bytes", row[0]) for row in found}


def _sweep(db: apsw.Connection, now: int, most: int) -> list[int]:
    """Forget some of what is over; return when each was."""
    return [cast("int", row[0]) for row in db.execute(_OVER, (now, most)).fetchall()]
