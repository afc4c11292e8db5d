"""Reading all of a database that is to be moved, while nobody else may write to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

import apsw

from watchword.adapters import sqlite_issuers as issuers
from watchword.adapters import sqlite_revocations as revocations
from watchword.adapters import sqlite_rows as rows
from watchword.adapters.sqlite_file import check_file, connect, unavailable
from watchword.adapters.sqlite_values import Values
from watchword.errors import BadSettings

TABLES: Final = (
    ("identity", "id, issuer, generation, restored_at, version"),
    ("agents", rows.AGENT),
    ("resources", rows.RESOURCE),
    ("trusted_issuers", issuers.COLUMNS),
    ("credentials", rows.CREDENTIAL),
    ("permissions", rows.PERMISSION),
    ("operators", rows.OPERATOR),
    ("signing_keys", rows.SIGNING_KEY),
    ("revocations", revocations.COLUMNS),
    ("revocation_counters", revocations.COUNTERS),
    ("heads", "chain, position, hash"),
    ("audit", rows.EVENT),
)
"""All tables that say something, those that others refer to first, with their columns; the first is the key."""

_SOME: Final = 2_000


class Dump:
    """A database at one moment, which stays the last one until it is let go."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    def epoch(self) -> int:
        """Return how many commits have changed something."""
        found = self._db.execute("SELECT epoch FROM counters").get
        if not isinstance(found, int):
            raise TypeError("the counters are gone")
        return found

    def read(self, table: str, columns: str) -> Iterator[Sequence[Values]]:
        """Give all rows of a table by key, some at a time."""
        key = columns.partition(",")[0]
        found = self._db.execute(f"SELECT {columns} FROM {table} ORDER BY {key}")  # noqa: S608 -- constants of this adapter
        while some := list(islice(found, _SOME)):
            yield some


@contextmanager
def dumped(path: Path) -> Iterator[Dump]:
    """Open a sound database and keep everybody else from writing to it. Newer tables have what this program would leave behind.

    Raises:
        BadSettings, StoreUnavailable: as ``SqliteStore.open``; store.newer also where this program might work on the tables.
    """
    schema = check_file(path)
    if schema.is_newer:
        detail = f"the data directory has schema {schema.present}, this version knows {schema.known}: it would lose what is new"
        raise BadSettings("store.newer", detail=f"{detail}; upgrade watchword")
    db = connect(path)
    try:
        db.execute("BEGIN IMMEDIATE")
        yield Dump(db)
    except apsw.Error as error:
        raise unavailable(error) from error
    finally:
        db.close(True)
