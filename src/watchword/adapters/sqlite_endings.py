"""Credentials that come to an end, in the SQLite store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from watchword.adapters import sqlite_rows as rows
from watchword.adapters.sqlite_reader import Reader
from watchword.adapters.sqlite_values import time_value
from watchword.ports.agents import Credential

# ruff: noqa: S608 -- column lists are constants of this adapter; every value is bound
_ENDING: Final = (
    f"SELECT {rows.CREDENTIAL} FROM credentials WHERE state = 'active' AND (expires_at, id) > (?1, ?2) AND expires_at <= ?3"
    " {} ORDER BY expires_at, id LIMIT ?4"
)
_ALL: Final = _ENDING.format("")
_SILENT: Final = _ENDING.format("AND silence IS NOT NULL")


class EndingPart:
    """What ``SqliteStore`` says of credentials by their end."""

    _reader: Reader

    async def ending_credentials(
        self, *, after: tuple[datetime, str], before: datetime, limit: int, silence: bool = False
    ) -> Sequence[Credential]:
        """Return a page of active credentials by end and id."""
        values = (time_value(after[0]), after[1], time_value(before), max(limit, 0))
        with self._reader as db:
            return [rows.build_credential(row) for row in db.execute(_SILENT if silence else _ALL, values)]
