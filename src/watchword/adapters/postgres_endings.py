"""Credentials that come to an end, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, TypeVar

from watchword.adapters import postgres_rows as rows
from watchword.adapters.postgres_link import Row
from watchword.ports.agents import Credential

T = TypeVar("T")

# ruff: noqa: S608 -- column lists are constants of this adapter; every value is bound
_ENDING: Final = (
    f"SELECT {rows.CREDENTIAL} FROM credentials WHERE state = 'active' AND (expires_at, id) > ($1, $2) AND expires_at <= $3"
    " {} ORDER BY expires_at, id LIMIT $4"
)
_ALL: Final = _ENDING.format("")
_SILENT: Final = _ENDING.format("AND silence IS NOT NULL")


class EndingPart:
    """What ``PostgresStore`` says of credentials by their end."""

    async def _many(self, build: Callable[[Row], T], query: str, *values: rows.Value) -> list[T]:
        raise NotImplementedError

    async def ending_credentials(
        self, *, after: tuple[datetime, str], before: datetime, limit: int, silence: bool = False
    ) -> Sequence[Credential]:
        """Return a page of active credentials by end and id."""
        values = (rows.time_value(after[0]), rows.held(after[1]), rows.time_value(before), max(limit, 0))
        return await self._many(rows.build_credential, _SILENT if silence else _ALL, *values)
